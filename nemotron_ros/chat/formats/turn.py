"""A parser of one turn: the reasoning apart, the rest read by the format's own reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nemotron_ros.chat.formats.protocol import FormatError, Piece, Reasoning
from nemotron_ros.chat.formats.reasoning import Closed, Part, Splitter, Thought
from nemotron_ros.chat.messages import ToolCall


class Reader(Protocol):
    """Reads words and calls from what is not reasoning."""

    calls: int
    """How many calls it has read."""

    def feed(self, text: str) -> list[Piece]:
        """See :meth:`Parser.feed`."""

    def finish(self, truncated: bool) -> list[Piece]:
        """See :meth:`Parser.finish`."""


class TurnParser:
    """Sets reasoning apart. No call that stands before a ``</think>`` is ever returned.

    When ``thinking``, calls are therefore kept until the turn's end.

    :param reader: makes the reader of the answer.
    :param marks_in_calls: ``<think>`` and ``</think>`` count in the answer too, because
        a model has them as special tokens that no call can hold.
    """

    def __init__(self, reader: Callable[[], Reader], thinking: bool, marks_in_calls: bool) -> None:
        self._new_reader = reader
        self._reader = reader()
        self._thinking = thinking
        self._splitter = Splitter(thinking, anywhere=thinking or marks_in_calls)
        self._held: list[Piece] = []

    def feed(self, text: str) -> list[Piece]:
        return self._read(self._splitter.feed(text))

    def finish(self, truncated: bool) -> list[Piece]:
        pieces = self._read(self._splitter.finish())
        pieces += self._keep_calls(self._reader.finish(truncated))
        return pieces + self._held

    def _read(self, parts: list[Part]) -> list[Piece]:
        pieces: list[Piece] = []
        for part in parts:
            if isinstance(part, Thought):
                pieces.append(Reasoning(part.text))
            elif isinstance(part, Closed):
                self._start_again()
            else:
                pieces += self._keep_calls(self._reader.feed(part.text))
        return pieces

    def _keep_calls(self, pieces: list[Piece]) -> list[Piece]:
        if not self._thinking:
            return pieces
        self._held += [piece for piece in pieces if isinstance(piece, ToolCall)]
        return [piece for piece in pieces if not isinstance(piece, ToolCall)]

    def _start_again(self) -> None:
        if self._reader.calls and not self._thinking:
            raise FormatError('</think> after a tool call: the call may have been reasoning')
        self._held = []
        self._reader = self._new_reader()
