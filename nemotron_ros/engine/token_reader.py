"""Reads a turn of a model that runs in this process: tokens in, deltas out."""

from __future__ import annotations

from collections.abc import Iterator

from nemotron_ros.chat.formats.protocol import FormatError, Piece
from nemotron_ros.engine.deltas import delta_of
from nemotron_ros.engine.local_prompt import LocalPrompt
from nemotron_ros.engine.protocol import (
    ChatRequest,
    ContextFull,
    Delta,
    OutputError,
    UsageDelta,
)
from nemotron_ros.engine.token_stream import TokenStream


class TokenReader:
    """Reads one turn in the model's own format."""

    def __init__(self, prompt: LocalPrompt, request: ChatRequest) -> None:
        self._parser = prompt.form.parser(request.tools, request.thinking)
        self._stream = TokenStream(prompt.text)
        self._max_tokens = request.max_tokens

    def feed(self, token: int) -> list[Delta]:
        """Take the next token; return what is now certain.

        :raise OutputError: as soon as the output can no longer be read.
        """
        text = self._stream.push(token)
        try:
            return _deltas(self._parser.feed(text)) if text else []
        except FormatError as error:
            raise _unusable(error) from error

    def finish(self, usage: UsageDelta, is_cut_off: bool) -> Iterator[Delta]:
        """Yield what is left at the end of the turn, and what it cost.

        :param is_cut_off: the model was stopped, and had not ended.
        :raise OutputError: if a call is left unfinished, and at the end of what is cut off.
        """
        try:
            pieces = self._parser.feed(self._stream.rest())
            yield from _deltas([*pieces, *self._parser.finish(is_cut_off)])
        except FormatError as error:
            raise _unusable(error) from error
        yield usage
        if is_cut_off:
            written = usage.completion_tokens
            kind = ContextFull if written < self._max_tokens else OutputError
            raise kind(f'the answer was cut off after {written} tokens')


def _deltas(pieces: list[Piece]) -> list[Delta]:
    return [delta_of(piece) for piece in pieces]


def _unusable(error: FormatError) -> OutputError:
    return OutputError(f"the model's output can not be used: {error}")
