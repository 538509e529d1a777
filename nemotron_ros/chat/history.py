"""Sessions: what was said before, bounded in number and length."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict

from nemotron_ros.chat.messages import Message


class Sessions:
    """The turns of each session. Safe from any thread.

    :param max_sessions: sessions kept; the one unused for longest goes first.
    :param max_commands: commands kept per session, each with all its turns.
    """

    def __init__(self, max_sessions: int = 16, max_commands: int = 4) -> None:
        self._max_sessions = max_sessions
        self._max_commands = max_commands
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, list[tuple[Message, ...]]] = OrderedDict()

    def turns(self, session_id: str) -> tuple[Message, ...]:
        """Return the turns so far; none for a session not known."""
        with self._lock:
            commands = self._sessions.get(session_id, [])
            return tuple(turn for command in commands for turn in command)

    def add(self, session_id: str, turns: tuple[Message, ...]) -> None:
        """Append one finished command's turns."""
        with self._lock:
            commands = self._sessions.setdefault(session_id, [])
            commands.append(turns)
            del commands[: -self._max_commands]
            self._sessions.move_to_end(session_id)
            while len(self._sessions) > self._max_sessions:
                self._sessions.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._sessions.clear()


def new_session_id() -> str:
    """Return an id that no other session has."""
    return uuid.uuid4().hex[:12]
