"""What every engine is: open, stream, close."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec


@dataclass(frozen=True)
class ChatRequest:
    """One turn asked of the model. The deadline is the cancel token's.

    ``tools`` empty means that the model may only answer in words. ``max_thinking_tokens``
    bounds the reasoning by itself, 0 leaves it to ``max_tokens``; an engine that has no such
    bound refuses any other. ``constrained`` holds the model to the tools' schemas where the
    engine can; it is for measurements to let it go.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int = 0
    thinking: bool = False
    max_thinking_tokens: int = 0
    constrained: bool = True


@dataclass(frozen=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class ReasoningDelta:
    """A piece of the model's reasoning; never part of the answer."""

    text: str


@dataclass(frozen=True)
class CallDelta:
    """A whole tool call, sent as soon as its last character has come."""

    call: ToolCall


@dataclass(frozen=True)
class UsageDelta:
    """What the turn cost; the last delta of a stream."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


Delta = TextDelta | ReasoningDelta | CallDelta | UsageDelta


@dataclass(frozen=True)
class ModelInfo:
    """What an engine has loaded."""

    engine: str
    model: str
    context_tokens: int


class EngineState(IntEnum):
    """How an engine is. The numbers are those of ``nemotron_msgs/msg/EngineStatus``."""

    CLOSED = 0
    LOADING = 1
    READY = 2
    RESTARTING = 3
    FAILED = 4


class EngineError(Exception):
    """The engine could not do what was asked. The message says what to do."""


class ModelFileError(EngineError):
    """The model file is absent, cut short, or not what it should be."""


class EngineDied(EngineError):
    """The engine's process ended in mid-stream; it is brought up again for the next request."""


class OutputError(EngineError):
    """The model's output is not a tool call nor an answer: cut short, or not in the format."""


class PromptTooLong(EngineError):
    """The prompt does not fit into the context. Nothing of an answer has come."""


class ContextFull(OutputError):
    """The answer was cut off by the end of the context, and not by ``max_tokens``."""


Progress = Callable[[float, str], None]
"""Called while a model loads, with a fraction from 0 to 1 and what is going on."""


class Engine(Protocol):
    """An inference runtime with a model. ``stream`` may be called from any thread."""

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        """Load the model and read the prompt that every command begins with; may take minutes.

        :param warm: the messages (system turn and examples) and tools that later
            requests share as their beginning, so that the engine keeps them read.

        :raise EngineError: with nothing left behind.
        """

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        """Yield the deltas of one turn.

        Ends early, without an error, when ``cancel`` ends. Closing the
        generator cancels too.

        :raise EngineError: if the turn cannot be finished.
        """

    def close(self) -> None:
        """Free everything. May be called at any time, and more than once."""
