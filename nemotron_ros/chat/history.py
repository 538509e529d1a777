"""Sessions: what was said before, its bounds, and what to leave out first."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nemotron_ros.chat.messages import Message

Turns = tuple[Message, ...]
"""The turns of one command: the person's, then the model's and the tools' in order."""

BYTES_PER_TOKEN = 3
"""Fewer than tokenizers take on average, so that a count errs to the safe side."""
TOKENS_PER_TURN = 8
"""The marks around a turn."""
SHORT_VALUE_CHARS = 200
"""What is kept of a result's value where the context is full."""
CUT = ' (cut short: no room)'


@dataclass(frozen=True)
class History:
    """How much of sessions is kept.

    :param max_sessions: the one unused for longest goes first.
    :param max_commands: commands of a session, each with all its turns.
    :param max_tokens: of a session, by :func:`tokens_at_most`; 0 remembers nothing.
    :param max_age_s: how long a session is kept after its last command.
    """

    max_sessions: int = 16
    max_commands: int = 4
    max_tokens: int = 1024
    max_age_s: float = 3600.0


@dataclass
class _Session:
    used_s: float = 0.0
    commands: list[Turns] = field(default_factory=list)


class Sessions:
    """The turns of each session. Safe from any thread."""

    def __init__(
        self, history: History | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._history = history or History()
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def commands(self, session_id: str) -> tuple[Turns, ...]:
        """Return the commands so far, oldest first; none for a session not known."""
        with self._lock:
            self._forget_old()
            return tuple(self._sessions.get(session_id, _Session()).commands)

    def add(self, session_id: str, turns: Turns) -> None:
        """Append one finished command's turns."""
        with self._lock:
            self._forget_old()
            session = self._sessions.setdefault(session_id, _Session())
            session.used_s = self._clock()
            session.commands.append(turns)
            del session.commands[: -self._history.max_commands]
            while sum(map(tokens_at_most, session.commands)) > self._history.max_tokens:
                del session.commands[0]
            self._sessions.move_to_end(session_id)
            while len(self._sessions) > self._history.max_sessions:
                self._sessions.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._sessions.clear()

    def _forget_old(self) -> None:
        oldest_s = self._clock() - self._history.max_age_s
        for session_id, session in list(self._sessions.items()):
            if session.used_s >= oldest_s:  # they stand in the order of their use
                return
            del self._sessions[session_id]


@dataclass(frozen=True)
class Conversation:
    """What a prompt says after its opening: earlier commands, and the one that runs."""

    before: tuple[Turns, ...]
    said: Turns

    @property
    def turns(self) -> Turns:
        """All of it in order."""
        return (*(turn for turns in self.before for turn in turns), *self.said)

    def shorter(self) -> Conversation | None:
        """Return it without its oldest part; None where there is nothing to leave out.

        Earlier commands go first, then what tools have returned, the oldest first. That a call
        of this command was made, and how it ended, always stays: a model that does not know it
        would make it again.
        """
        if self.before:
            return replace(self, before=self.before[1:])
        newest = max((i for i, turn in enumerate(self.said) if turn.tool_calls), default=0)
        for index, turn in enumerate(self.said):
            short = _short(turn, 0 if index < newest else SHORT_VALUE_CHARS)
            if short != turn:
                said = (*self.said[:index], short, *self.said[index + 1 :])
                return replace(self, said=said)
        return None


def tokens_at_most(turns: Turns) -> int:
    """Return a count of tokens that turns hardly exceed, whatever the tokenizer."""
    return sum(
        TOKENS_PER_TURN
        + len(turn.content.encode()) // BYTES_PER_TOKEN
        + sum(
            TOKENS_PER_TURN
            + len(f'{call.name}{json.dumps(dict(call.arguments), default=str)}'.encode()) // 2
            for call in turn.tool_calls
        )
        for turn in turns
    )


def new_session_id() -> str:
    """Return an id that no other session has."""
    return uuid.uuid4().hex[:12]


def _short(turn: Message, value_chars: int) -> Message:
    """Return a tool's turn with at most so many characters of its value, another as it is."""
    if turn.role != 'tool':
        return turn
    result = json.loads(turn.content)
    if 'value' not in result:
        return turn
    told = json.dumps(result['value'], ensure_ascii=False)
    if value_chars == 0:
        del result['value']
    elif len(told) > value_chars and not str(result['value']).endswith(CUT):
        result['value'] = told[:value_chars] + CUT
    return replace(turn, content=json.dumps(result, ensure_ascii=False))
