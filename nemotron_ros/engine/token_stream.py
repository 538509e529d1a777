"""Text of tokens as they come: a character is given out when its last byte is there."""

from __future__ import annotations

from collections.abc import Callable

REPLACEMENT = '\ufffd'
MAX_HELD_TOKENS = 8
"""A character has 4 bytes at most; what is still no text after this many tokens never will be."""


class TokenStream:
    """Turns tokens into text, one by one.

    :param decode: returns the text of tokens, special ones included, with the
        replacement character for bytes that are no text.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        # Some tokenizers write a token differently at the beginning of a text, so the
        # last tokens given out stay in front of the new ones.
        self._before: list[int] = []
        self._held: list[int] = []

    def push(self, token: int) -> str:
        """Take the next token; return the characters that are now complete."""
        self._held.append(token)
        text = self._new()
        if text.endswith(REPLACEMENT) and len(self._held) < MAX_HELD_TOKENS:
            return ''
        self._before, self._held = self._held, []
        return text

    def rest(self) -> str:
        """Return what is left at the end, with the replacement character for half a one."""
        text = self._new() if self._held else ''
        self._before, self._held = [], []
        return text

    def _new(self) -> str:
        before = self._decode(self._before) if self._before else ''
        return self._decode(self._before + self._held)[len(before) :]
