"""An engine that says what a file tells it to: for tests, demonstrations and replay.

The file is a YAML list, read from the top; the first reply whose ``when`` stands in
the newest turn is given::

    - when: turn round          # a text the newest turn contains; left out: any turn
      text: I will.             # words of the answer
      calls: [{name: turn, arguments: {direction: left, angle_deg: 180}}]
      reasoning: It wants ...   # reasoning text
      delay_s: 0.5              # how long the words take to come, seconds

Words stand for tokens: a prompt of more words than its context holds is refused, as other
engines do. Nothing is checked against the tools: what a script says is as little trusted as
what a model says.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    EngineError,
    ModelFileError,
    ModelInfo,
    Progress,
    PromptTooLong,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)

MAX_DELAY_S = 600.0
_KEYS = frozenset({'when', 'text', 'calls', 'reasoning', 'delay_s'})


@dataclass(frozen=True)
class Reply:
    """One reply, and the text that the newest turn must contain for it."""

    when: str = ''
    text: str = ''
    reasoning: str = ''
    calls: tuple[ToolCall, ...] = ()
    delay_s: float = 0.0


class ScriptedEngine:
    """Replies from a file, word by word.

    :param context_tokens: words that a prompt may have; 0 sets no limit.
    """

    def __init__(self, script: Path, context_tokens: int = 0) -> None:
        self._path = Path(script)
        self._context_tokens = context_tokens
        self._replies: tuple[Reply, ...] | None = None
        self._running: set[CancelToken] = set()

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        """Read the file."""
        self._replies = load_script(self._path)
        progress(1.0, 'ready')
        return ModelInfo('scripted', self._path.name, self._context_tokens)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        """Yield the deltas of the reply to the newest turn; see :class:`Engine`."""
        if self._replies is None:
            raise EngineError('the engine is not open')
        words = sum(len(message.content.split()) for message in request.messages)
        if 0 < self._context_tokens < words:
            raise PromptTooLong(
                f'the prompt has {words} words and the context holds {self._context_tokens}; use '
                'fewer tools or examples, or a larger context_tokens'
            )
        newest = request.messages[-1].content
        reply = next((reply for reply in self._replies if reply.when in newest), None)
        if reply is None:
            raise EngineError(f'{self._path}: has no reply to {newest!r:.200}')
        deltas: list[Delta] = [
            *map(ReasoningDelta, _words(reply.reasoning)),
            *map(TextDelta, _words(reply.text)),
            *map(CallDelta, reply.calls),
        ]
        until = cancel.child()
        self._running.add(until)
        try:
            for delta in deltas:
                if until.wait(reply.delay_s / len(deltas)):
                    if not cancel.ended:
                        raise EngineError('the engine was closed while it answered')
                    return
                yield delta
        finally:
            self._running.discard(until)
        yield UsageDelta(words, 0, len(deltas))

    def close(self) -> None:
        """Forget the file, and end what is being said."""
        self._replies = None
        for until in tuple(self._running):
            until.cancel()


def load_script(path: Path) -> tuple[Reply, ...]:
    """Read the replies of a script.

    :raise ModelFileError: saying what is wrong, and in which reply.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelFileError(f'{path}: the script can not be read: {error}') from error
    if not isinstance(data, list):
        raise ModelFileError(f'{path}: expected a list of replies')
    return tuple(_reply(item, f'{path}: reply {number}') for number, item in enumerate(data, 1))


def _reply(item: Any, where: str) -> Reply:
    if not isinstance(item, Mapping) or not set(item) <= _KEYS:
        raise ModelFileError(f'{where}: expected {", ".join(sorted(_KEYS))}, got {item!r:.100}')
    texts = {key: item.get(key, '') for key in ('when', 'text', 'reasoning')}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ModelFileError(f'{where}: when, text and reasoning are texts')
    delay_s = item.get('delay_s', 0.0)
    is_number = isinstance(delay_s, (int, float)) and not isinstance(delay_s, bool)
    if not is_number or not 0 <= delay_s <= MAX_DELAY_S:
        raise ModelFileError(f'{where}: delay_s: expected seconds from 0 to {MAX_DELAY_S:g}')
    calls = item.get('calls', [])
    if not isinstance(calls, list):
        raise ModelFileError(f'{where}: calls: expected a list')
    read = tuple(_call(call, f'call_{i}', f'{where}: calls') for i, call in enumerate(calls, 1))
    return Reply(calls=read, delay_s=float(delay_s), **texts)


def _call(item: Any, call_id: str, where: str) -> ToolCall:
    if (
        not isinstance(item, Mapping)
        or set(item) != {'name', 'arguments'}
        or not isinstance(item['name'], str)
        or not isinstance(item['arguments'], Mapping)
    ):
        raise ModelFileError(f'{where}: expected {{name: ..., arguments: {{...}}}}, got {item!r}')
    for name in item['arguments']:
        if not isinstance(name, str):  # YAML reads the bare words on, off, yes and no as booleans
            raise ModelFileError(f'{where}: {item["name"]}: put the name {name!r} in quotes')
    return ToolCall(call_id, item['name'], dict(item['arguments']))


def _words(text: str) -> list[str]:
    """Cut a text before each blank; joined, the pieces are the text again."""
    head, *rest = text.split(' ')
    return [piece for piece in (head, *(f' {word}' for word in rest)) if piece]
