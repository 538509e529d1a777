"""What a format's parser has read, as the deltas of a stream."""

from __future__ import annotations

from nemotron_ros.chat.formats.protocol import Piece, Reasoning, Text
from nemotron_ros.engine.protocol import CallDelta, Delta, ReasoningDelta, TextDelta


def delta_of(piece: Piece) -> Delta:
    """Return the delta that carries ``piece``."""
    if isinstance(piece, Text):
        return TextDelta(piece.text)
    if isinstance(piece, Reasoning):
        return ReasoningDelta(piece.text)
    return CallDelta(piece)
