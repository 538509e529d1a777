"""What the conformance suite asks of every engine, and how it reads the answers."""

from __future__ import annotations

import time

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    Engine,
    OutputError,
    ReasoningDelta,
    TextDelta,
)


def tool(name: str, required: list[str], **properties: object) -> ToolSpec:
    """Return a tool without examples."""
    parameters = {
        'type': 'object',
        'properties': properties,
        'required': required,
        'additionalProperties': False,
    }
    return ToolSpec(name, f'To {name}.', parameters)


TOOLS = (
    tool(
        'drive',
        ['direction', 'distance_m'],
        direction={'enum': ['forward', 'backward']},
        distance_m={'type': 'number', 'exclusiveMinimum': 0, 'maximum': 2.5},
        times={'type': 'integer', 'minimum': 1, 'maximum': 12},
    ),
    tool('say', ['text'], text={'type': 'string', 'minLength': 1, 'maxLength': 12}),
    tool('stop', []),
)
SYSTEM = Message('system', 'You control a robot.')
WARM = ChatRequest((SYSTEM,), TOOLS)


def asked(text: str, **changes: object) -> ChatRequest:
    """Return a request with the suite's tools."""
    return ChatRequest((SYSTEM, Message('user', text)), TOOLS, **changes)  # type: ignore[arg-type]


def ignored(*_args: object) -> None:
    pass


def deltas(engine: Engine, request: ChatRequest, timeout_s: float = 30.0) -> list[Delta]:
    return list(engine.stream(request, CancelToken(timeout_s)))


def cut_off(engine: Engine, request: ChatRequest) -> tuple[list[Delta], OutputError]:
    """Return what an answer that is cut off says, and the error that ends it."""
    said = []
    try:
        for delta in engine.stream(request, CancelToken(30.0)):
            said.append(delta)
    except OutputError as error:
        return said, error
    raise AssertionError('it was not cut off')


def text_of(said: list[Delta]) -> str:
    return ''.join(delta.text for delta in said if isinstance(delta, TextDelta))


def reasoning_of(said: list[Delta]) -> str:
    return ''.join(delta.text for delta in said if isinstance(delta, ReasoningDelta))


def calls_of(said: list[Delta]) -> list[ToolCall]:
    return [delta.call for delta in said if isinstance(delta, CallDelta)]


def runs(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False


def serves(engine: Engine) -> float:
    """Return how long the engine takes to begin another answer."""
    began = time.monotonic()
    stream = engine.stream(asked('Hi'), CancelToken(30.0))
    next(stream)
    took_s = time.monotonic() - began
    stream.close()
    return took_s
