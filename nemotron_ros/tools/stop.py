"""Stop words: known by heart, so that a stop never waits for a model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

DEFAULT_STOP_WORDS = (
    'stop',
    'halt',
    'freeze',
    'abort',
    'cancel',
    'quit',
    'whoa',
    'hold it',
    'stand still',
    'emergency stop',
    'e stop',
    'estop',
    'stop moving',
    'stop driving',
    'stop right there',
    'stop there',
    'stop it',
    'stop that',
    'dont move',
    'do not move',
    'full stop',
)

_POLITE = frozenset(
    {
        *('please', 'now', 'just', 'immediately', 'the', 'oh', 'no'),
        *('robot', 'nemotron', 'hey', 'ok', 'okay'),
    }
)


def is_stop(command: str, words: Iterable[str]) -> bool:
    """Whether the whole command is a stop: one of ``words``, however polite, loud or repeated.

    A command that only mentions one is not: *stop at the door*, *don't stop*.
    """
    said = _normal(command)
    if not said:
        return False
    return _made_of(tuple(said), {tuple(_normal(word)) for word in words})


def _made_of(said: tuple[str, ...], known: set[tuple[str, ...]]) -> bool:
    """Whether ``said`` is one or more stop words in a row."""
    longest = max(map(len, known), default=0)
    reached = {0}
    for end in range(1, len(said) + 1):
        starts = range(max(0, end - longest), end)
        if any(start in reached and said[start:end] in known for start in starts):
            reached.add(end)
    return len(said) in reached


def _normal(text: str) -> list[str]:
    plain = unicodedata.normalize('NFKC', text).casefold()
    plain = re.sub("['\u2018\u2019\u02bc`]", '', plain)
    return [word for word in re.findall(r'[^\W_]+', plain) if word not in _POLITE]
