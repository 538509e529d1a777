"""Reads a turn of a model that runs in this process: tokens in, deltas out."""

from __future__ import annotations

from nemotron_ros.chat.formats.protocol import FormatError, Piece
from nemotron_ros.engine.deltas import delta_of
from nemotron_ros.engine.local_prompt import LocalPrompt
from nemotron_ros.engine.protocol import ChatRequest, Delta, OutputError
from nemotron_ros.engine.token_stream import TokenStream


class TokenReader:
    """Reads one turn in the model's own format."""

    def __init__(self, prompt: LocalPrompt, request: ChatRequest) -> None:
        self._parser = prompt.form.parser(request.tools, request.thinking)
        self._stream = TokenStream(prompt.text)

    def feed(self, token: int) -> list[Delta]:
        """Take the next token; return what is now certain.

        :raise OutputError: as soon as the output can no longer be read.
        """
        text = self._stream.push(token)
        try:
            return _deltas(self._parser.feed(text)) if text else []
        except FormatError as error:
            raise _unusable(error) from error

    def finish(self, truncated: bool) -> list[Delta]:
        """Return what is left at the end of the turn.

        :param truncated: the model was stopped, and had not ended.
        :raise OutputError: if a call is left unfinished.
        """
        try:
            pieces = self._parser.feed(self._stream.rest())
            return _deltas([*pieces, *self._parser.finish(truncated)])
        except FormatError as error:
            raise _unusable(error) from error


def _deltas(pieces: list[Piece]) -> list[Delta]:
    return [delta_of(piece) for piece in pieces]


def _unusable(error: FormatError) -> OutputError:
    return OutputError(f"the model's output can not be used: {error}")
