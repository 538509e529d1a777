"""An engine that tells what it is asked and what a turn cost, and is otherwise the one inside."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message
from nemotron_ros.engine.protocol import (
    ChatRequest,
    Delta,
    Engine,
    ModelInfo,
    Progress,
    UsageDelta,
)


@dataclass(frozen=True)
class TurnCost:
    """What one turn cost: tokens, seconds to the first delta, seconds from it to the last one."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_s: float
    writing_s: float

    @property
    def tokens_per_s(self) -> float:
        """How fast it wrote; 0 where too little came to tell."""
        if self.completion_tokens < 2 or self.writing_s <= 0:
            return 0.0
        return (self.completion_tokens - 1) / self.writing_s


class TappedEngine:
    """Passes everything on as it is.

    :param on_prompt: gets what a turn asks, as JSON, in the thread that asks.
    :param on_cost: gets what it cost, in the same thread.
    """

    def __init__(
        self,
        engine: Engine,
        on_prompt: Callable[[Mapping[str, Any]], None],
        on_cost: Callable[[TurnCost], None],
    ) -> None:
        self._engine = engine
        self._on_prompt = on_prompt
        self._on_cost = on_cost
        self.opening: tuple[Message, ...] = ()
        """What every prompt begins with, which is told by its length alone."""

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        """Open the engine inside."""
        self.opening = warm.messages
        return self._engine.open(warm, progress)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        """Yield the deltas of the engine inside."""
        self._on_prompt(self._prompt(request))
        began_s = time.monotonic()
        first_s: float | None = None
        with closing(self._engine.stream(request, cancel)) as deltas:
            for delta in deltas:
                now_s = time.monotonic()
                if isinstance(delta, UsageDelta):
                    self._on_cost(_cost(delta, began_s, first_s, now_s))
                elif first_s is None:
                    first_s = now_s
                yield delta

    def close(self) -> None:
        """Close the engine inside."""
        self._engine.close()

    def _prompt(self, request: ChatRequest) -> dict[str, Any]:
        count = len(self.opening)
        if request.messages[:count] != self.opening:
            count = 0
        return {
            'opening_messages': count,
            'messages': [_message(message) for message in request.messages[count:]],
            'tools': len(request.tools),
            'max_tokens': request.max_tokens,
            'temperature': request.temperature,
            'seed': request.seed,
            'thinking': request.thinking,
        }


def _cost(usage: UsageDelta, began_s: float, first_s: float | None, now_s: float) -> TurnCost:
    first_s = now_s if first_s is None else first_s
    return TurnCost(
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        first_s - began_s,
        now_s - first_s,
    )


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {'role': message.role, 'content': message.content}
    if message.tool_calls:
        told['calls'] = [
            {'name': call.name, 'arguments': dict(call.arguments)} for call in message.tool_calls
        ]
    return told
