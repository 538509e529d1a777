"""What a text format of tool calls is: print, constrain, parse."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from nemotron_ros.chat.messages import ToolCall, ToolSpec


class FormatError(Exception):
    """The model's output is not in the format, or was cut short. Nothing of it may be run."""


_MOST_NAMED = 10


def no_such_tool(name: str, names: Collection[str]) -> FormatError:
    """Say that a call is to a tool that there isn't, and which there are."""
    there = ', '.join(list(names)[:_MOST_NAMED]) or 'none'
    more = f' and {len(names) - _MOST_NAMED} more' if len(names) > _MOST_NAMED else ''
    return FormatError(f'{name[:60]}: there is no such tool; there are {there}{more}')


@dataclass(frozen=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """A piece of the model's reasoning."""

    text: str


Piece = Text | Reasoning | ToolCall


class Parser(Protocol):
    """Reads one turn of the model from its stream."""

    def feed(self, text: str) -> list[Piece]:
        """Take the next characters; return what is now certain.

        :raise FormatError: as soon as the output can no longer be read.
        """

    def finish(self, truncated: bool) -> list[Piece]:
        """Return what is left at the end of the turn.

        :param truncated: the engine stopped for length, not because the model had ended.
        :raise FormatError: if a call is left unfinished.
        """


class Format(Protocol):
    """One way to write tool calls in text."""

    name: str

    def print_calls(self, calls: Sequence[ToolCall]) -> str:
        """Write calls as the model would."""

    def grammar(self, tools: Sequence[ToolSpec], thinking: bool = False) -> str:
        """Return an llguidance Lark grammar: words, or calls that keep their tool's schema.

        When ``thinking``, the turn begins inside the reasoning.
        """

    def gbnf(self, tools: Sequence[ToolSpec], thinking: bool = False) -> str:
        """Return the same in llama.cpp's own notation, which holds less of the schema."""

    def parser(self, tools: Sequence[ToolSpec], thinking: bool = False) -> Parser:
        """Return a parser for one turn."""
