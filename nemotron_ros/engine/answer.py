"""Reads what an OpenAI-compatible server streams: text, reasoning, tool calls and usage.

Content is always read by the model's own text format: a call that the server has left in
it is found, and reasoning that it has left in it is set apart. Calls that the server has
read itself come in pieces, their arguments as JSON text.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats import strict_json
from nemotron_ros.chat.formats.protocol import (
    Format,
    FormatError,
    Parser,
    Piece,
    Reasoning,
    no_such_tool,
)
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.engine.deltas import delta_of
from nemotron_ros.engine.protocol import (
    ChatRequest,
    ContextFull,
    Delta,
    EngineError,
    OutputError,
    UsageDelta,
)

MAX_CHARS_PER_TOKEN = 256
"""No token is longer; a server that sends more text does not keep to max_tokens."""
MAX_CALLS = 64

_ENDS = frozenset({'stop', 'tool_calls', 'length'})
_REASONS = {
    'content_filter': "the server's content filter ended the answer",
    'error': 'the engine came to a dead end in the answer',
    '': 'the server did not say how the answer ended',
}
# Servers do not agree on the name.
_REASONING = ('reasoning_content', 'reasoning')


def deltas(
    chunks: Generator[dict[str, Any], None, None],
    form: Format,
    request: ChatRequest,
    cancel: CancelToken,
) -> Generator[Delta, None, None]:
    """Yield the deltas of one turn.

    :param form: the format in which the model itself writes calls.
    :raise ContextFull: if the context ended before ``max_tokens`` did.
    :raise OutputError: if the turn is cut short, or can't be read.
    :raise EngineError: if the server does not keep to the protocol.
    """
    reader = _Reader(form, request)
    meter = _Meter()
    ended_by = ''
    try:
        with closing(chunks):
            for chunk in chunks:
                meter.read(chunk)
                for choice in _objects(chunk, 'choices'):
                    ended_by = choice.get('finish_reason') or ended_by
                    yield from map(delta_of, reader.feed(_object(choice, 'delta')))
        if cancel.ended:
            return
        if ended_by not in _ENDS:
            raise OutputError(_REASONS.get(ended_by, f'the server ended the answer: {ended_by}'))
        yield from map(delta_of, reader.finish(truncated=ended_by == 'length'))
    except FormatError as error:
        kind = _kind_of_cut(ended_by, meter, request)
        raise kind(f"the model's output can not be used: {error}") from error
    yield meter.usage()
    if ended_by == 'length':
        kind = _kind_of_cut(ended_by, meter, request)
        raise kind(f'the answer was cut off after {meter.completion} tokens')


def _kind_of_cut(ended_by: str, meter: _Meter, request: ChatRequest) -> type[OutputError]:
    by_context = ended_by == 'length' and 0 < meter.completion < request.max_tokens
    return ContextFull if by_context else OutputError


class _Reader:
    """Turns the pieces that a server sends into those of a turn."""

    def __init__(self, form: Format, request: ChatRequest) -> None:
        self._form = form
        self._request = request
        self._parser: Parser | None = None
        self._calls = _Calls([tool.name for tool in request.tools])
        self._called_in_text = False
        self._reasoned = False
        self._answered = False
        self._contents = _WholeCharacters()
        self._thoughts = _WholeCharacters()
        self._chars_left = (request.max_tokens + 1) * MAX_CHARS_PER_TOKEN

    def feed(self, delta: Mapping[str, Any]) -> list[Piece]:
        pieces: list[Piece] = []
        reasoning = next((text for key in _REASONING if (text := _string(delta, key))), '')
        if reasoning:
            if self._calls.begun:
                raise FormatError('reasoning after a tool call: the call may have been part of it')
            self._count(reasoning)
            self._reasoned = True
            pieces.append(Reasoning(self._thoughts.push(reasoning)))
        content = _string(delta, 'content')
        if content:
            self._count(content)
            pieces += self._read(self._contents.push(content))
        for call in _objects(delta, 'tool_calls'):
            self._count(self._calls.add(call))
        return pieces

    def finish(self, truncated: bool) -> list[Piece]:
        pieces = self._read(self._contents.finish())
        if self._parser is not None:
            pieces += self._note(self._parser.finish(truncated))
        calls = self._calls.finish(truncated)
        if calls and self._called_in_text:
            raise FormatError('tool calls in the text and beside it')
        if self._reasoned and not (calls or self._answered or self._request.thinking):
            raise FormatError(
                'all of the answer came as reasoning, though none was asked for; start the '
                'server without its reasoning parser, or with one that heeds enable_thinking'
            )
        return [*pieces, *calls]

    def _read(self, content: str) -> list[Piece]:
        if not content or (self._parser is None and content.isspace()):
            return []
        if self._parser is None:
            # A server that sets reasoning apart sends the answer alone as content.
            inside = self._request.thinking and not self._reasoned
            self._parser = self._form.parser(self._request.tools, inside)
        return self._note(self._parser.feed(content))

    def _note(self, pieces: list[Piece]) -> list[Piece]:
        for piece in pieces:
            self._called_in_text |= isinstance(piece, ToolCall)
            self._answered |= not isinstance(piece, Reasoning)
        return pieces

    def _count(self, text: str) -> None:
        self._chars_left -= len(text)
        if self._chars_left < 0:
            raise EngineError(
                f'the server sent more text than {self._request.max_tokens} tokens can hold'
            )


@dataclass
class _Call:
    """What has come of a call."""

    id: str
    name: str = ''
    arguments: list[str] = field(default_factory=list)
    length: int = 0


class _Calls:
    """Puts together the calls that a server sends in pieces."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}

    @property
    def begun(self) -> bool:
        return bool(self._calls)

    def add(self, piece: Mapping[str, Any]) -> str:
        """Take a piece of a call; return the text that it adds."""
        index = piece.get('index', 0)
        if isinstance(index, bool) or not isinstance(index, int):
            raise FormatError(f'tool call: index: expected an integer, got {index!r:.40}')
        function = _object(piece, 'function')
        name, arguments = _string(function, 'name'), _string(function, 'arguments')
        call = self._call_at(index, _string(piece, 'id'), name)
        # Some send the name with every piece, as it is and not in pieces.
        if name and call.name not in ('', name):
            raise FormatError(f'tool call: is named {call.name} at first and {name} then')
        call.name = call.name or name
        call.arguments.append(arguments)
        call.length += len(arguments)
        if call.length > strict_json.MAX_CALL_CHARS:
            raise FormatError(f'{call.name}: longer than {strict_json.MAX_CALL_CHARS} characters')
        return name + arguments

    def finish(self, truncated: bool) -> list[ToolCall]:
        """Return the whole calls, in the order in which they began."""
        if self._calls and truncated:
            raise FormatError(f'{self._calls[-1].name or "tool call"}: cut short')
        return [self._read(call, number) for number, call in enumerate(self._calls, 1)]

    def _call_at(self, index: int, call_id: str, name: str) -> _Call:
        call = self._at.get(index)
        # Some number all their calls alike, and tell them apart by their ids.
        is_new = call is None or (name and call_id and call.id and call_id != call.id)
        if call is not None and not is_new:
            return call
        if len(self._calls) == MAX_CALLS:
            raise FormatError(f'more than {MAX_CALLS} tool calls in one turn')
        call = self._at[index] = _Call(call_id)
        self._calls.append(call)
        return call

    def _read(self, call: _Call, number: int) -> ToolCall:
        name = call.name
        if name not in self._names:
            raise no_such_tool(name or 'a call without a name', self._names)
        text = ''.join(call.arguments)
        # Nothing at all is how some write that there are none.
        arguments = strict_json.loads(text) if text.strip() else {}
        if not isinstance(arguments, dict):
            raise FormatError(f'{name}.arguments: expected an object, got {text[:60]!r}')
        return ToolCall(f'call_{number}', name, arguments)


class _WholeCharacters:
    """Joins halves of a character that came in two pieces; a lone half is replaced."""

    def __init__(self) -> None:
        self._half = ''

    def push(self, text: str) -> str:
        text = self._half + text
        self._half = text[-1] if '\ud800' <= text[-1] <= '\udbff' else ''
        return _whole(text[: len(text) - len(self._half)])

    def finish(self) -> str:
        return _whole(self._half)


def _whole(text: str) -> str:
    return text.encode('utf-16-le', 'surrogatepass').decode('utf-16-le', 'replace')


@dataclass
class _Meter:
    """Counts tokens from what the server tells in its chunks."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def read(self, chunk: Mapping[str, Any]) -> None:
        usage = chunk.get('usage')
        if isinstance(usage, Mapping):
            self.prompt = _tokens(usage, 'prompt_tokens') or self.prompt
            self.completion = _tokens(usage, 'completion_tokens') or self.completion
            details = usage.get('prompt_tokens_details')
            if isinstance(details, Mapping):
                self.cached = _tokens(details, 'cached_tokens') or self.cached
        timings = chunk.get('timings')
        if isinstance(timings, Mapping):
            self.cached = _tokens(timings, 'cache_n')

    def usage(self) -> UsageDelta:
        return UsageDelta(self.prompt, self.cached, self.completion)


def _objects(holder: Mapping[str, Any], key: str) -> Iterable[Mapping[str, Any]]:
    values = holder.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise EngineError(f'the server sent {key} that are not objects: {values!r:.80}')
    return values


def _object(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = holder.get(key) or {}
    if not isinstance(value, Mapping):
        raise EngineError(f'the server sent a {key} that is not an object: {value!r:.80}')
    return value


def _string(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    if value is None:
        return ''
    if not isinstance(value, str):
        raise EngineError(f'the server sent a {key} that is not a text: {value!r:.80}')
    return value


def _tokens(holder: Mapping[str, Any], key: str) -> int:
    value = holder.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
