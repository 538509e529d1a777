"""What is said: the data that prompts, engines, tools and the agent pass on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal['system', 'user', 'assistant', 'tool']


@dataclass(frozen=True)
class ToolCall:
    """The model's request to use a tool. ``arguments`` hold JSON values."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    ``tool_calls`` belong to assistant turns; ``tool_name`` and ``tool_call_id``
    say, in a tool turn, which call the content answers.
    """

    role: Role
    content: str = ''
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ''
    tool_name: str = ''


@dataclass(frozen=True)
class Example:
    """What a person might say, the calls that it means, and the words that answer it.

    ``values`` are what the calls returned, one for each call, if the answer
    tells them.
    """

    utterance: str
    calls: tuple[ToolCall, ...] = ()
    answer: str = ''
    values: tuple[object, ...] = ()


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the model sees it.

    ``parameters`` is a JSON Schema (2020-12) of type object, fully written out:
    no references, no templates. ``holds_ranges`` has the engine's constraint keep numbers
    within their range; without it they can be written, are refused, and are told.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    examples: tuple[Example, ...] = field(default=())
    holds_ranges: bool = False
