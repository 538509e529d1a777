"""Splits a turn into reasoning and answer at ``<think>`` and ``</think>``, as it streams."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, CLOSE, END = '<think>', '</think>', '<|im_end|>'
MARKS = (OPEN, CLOSE, END)


@dataclass(frozen=True)
class Thought:
    """A piece of reasoning."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A piece of what is not reasoning."""

    text: str


@dataclass(frozen=True)
class Closed:
    """A ``</think>``: what came before it was not the answer."""


Part = Thought | Answer | Closed


class Trimmed:
    """A text that streams without the white space at its beginning and end."""

    def __init__(self) -> None:
        self._begun = False
        self._blank: list[str] = []

    def push(self, text: str) -> str:
        """Take the next characters; return those that are certain to be inside."""
        solid = text.rstrip()
        if not solid:
            self._blank.append(text)
            return ''
        before = ''.join(self._blank) if self._begun else ''
        self._blank = [text[len(solid) :]]
        piece = solid if self._begun else solid.lstrip()
        self._begun = True
        return before + piece


class Splitter:
    """Reads the stream of one turn.

    :param thinking: the prompt ended inside an open ``<think>``.
    :param anywhere: marks count in the answer too, not only before it.
    """

    def __init__(self, thinking: bool, anywhere: bool) -> None:
        self._inside = thinking
        self._anywhere = anywhere
        self._answering = False
        self._trimmed = Trimmed()
        self._buffer = ''
        self._ended = False

    def feed(self, text: str) -> list[Part]:
        """Take the next characters; hold back what may be the beginning of a mark."""
        parts: list[Part] = []
        text, start = self._buffer + text, 0
        while not self._ended:
            at, mark = self._next_mark(text, start)
            self._pass_on(text[start:at], parts)
            start = at + len(mark)
            if not mark:
                break
            self._turn(mark, parts)
        self._buffer = text[start:]
        return parts

    def finish(self) -> list[Part]:
        """Return what was held back."""
        parts: list[Part] = []
        if not self._ended:
            self._pass_on(self._buffer, parts)
        return parts

    def _next_mark(self, text: str, start: int) -> tuple[int, str]:
        if self._answering and not self._anywhere:
            return len(text), ''
        at, mark = _find_mark(text, start)
        if not (self._anywhere or self._inside or text[start:at].isspace() or at == start):
            return len(text), ''
        return at, mark

    def _turn(self, mark: str, parts: list[Part]) -> None:
        if mark == END:
            self._ended = True
        elif mark == CLOSE:
            self._inside = False
            parts.append(Closed())
        elif not self._inside:
            self._inside = True
            self._trimmed = Trimmed()

    def _pass_on(self, text: str, parts: list[Part]) -> None:
        if self._inside:
            text = self._trimmed.push(text)
            if text:
                parts.append(Thought(text))
        elif text:
            self._answering = self._answering or not text.isspace()
            parts.append(Answer(text))


def _find_mark(text: str, start: int) -> tuple[int, str]:
    """Return where the first mark from ``start`` on is, and the mark.

    Without one: where the beginning of one might be, at the end of the text,
    and an empty mark.
    """
    at = text.find('<', start)
    while at >= 0:
        rest = text[at : at + len(END)]
        for mark in MARKS:
            if rest.startswith(mark):
                return at, mark
            if mark.startswith(rest):
                return at, ''
        at = text.find('<', at + 1)
    return len(text), ''
