"""Helpers that feed a parser and tidy what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from nemotron_ros.chat.formats.protocol import Format, Piece, Reasoning, Text
from nemotron_ros.chat.messages import ToolCall, ToolSpec


def read(
    form: Format,
    tools: Sequence[ToolSpec],
    chunks: str | Iterable[str],
    thinking: bool = False,
    truncated: bool = False,
) -> list[Piece]:
    """Parse a turn, and join neighbouring words and neighbouring reasoning."""
    parser = form.parser(tools, thinking)
    pieces: list[Piece] = []
    for chunk in [chunks] if isinstance(chunks, str) else chunks:
        pieces += parser.feed(chunk)
    return joined(pieces + parser.finish(truncated))


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Join neighbours of a kind: all words between two calls make one piece."""
    result: list[Piece] = []
    for piece in pieces:
        last = result[-1] if result else None
        if isinstance(piece, Text) and isinstance(last, Text):
            result[-1] = Text(last.text + piece.text)
        elif isinstance(piece, Reasoning) and isinstance(last, Reasoning):
            result[-1] = Reasoning(last.text + piece.text)
        else:
            result.append(piece)
    return result


def calls_of(pieces: Iterable[Piece]) -> list[ToolCall]:
    return [piece for piece in pieces if isinstance(piece, ToolCall)]


def exact(call: ToolCall) -> str:
    """Write a call so that 1, 1.0 and true differ."""
    return json.dumps([call.id, call.name, dict(call.arguments)])


def cut(text: str, sizes: Sequence[int]) -> list[str]:
    """Cut a text into pieces of the sizes, over and over."""
    chunks: list[str] = []
    at = index = 0
    while at < len(text):
        size = sizes[index % len(sizes)]
        chunks.append(text[at : at + size])
        at, index = at + size, index + 1
    return chunks
