"""JSON from a model: bounded in length and depth, finite numbers, no duplicate keys."""

from __future__ import annotations

import json
import math
from typing import Any

from nemotron_ros.chat.formats.protocol import FormatError

MAX_DEPTH = 32
"""How deep lists and objects may be nested."""

MAX_CALL_CHARS = 65536
"""How long one tool call may be."""


class JsonEnd:
    """Finds the end of a JSON list or object in a stream that begins with its bracket."""

    def __init__(self) -> None:
        self._chunks: list[str] = []
        self._length = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    @property
    def text(self) -> str:
        """What has been taken so far."""
        return ''.join(self._chunks)

    def take(self, text: str) -> int | None:
        """Return how many characters belong to the value, or None: all, and it goes on.

        :raise FormatError: if it is nested too deeply or too long.
        """
        end = self._end(text)
        self._chunks.append(text if end is None else text[:end])
        self._length += len(self._chunks[-1])
        if self._length > MAX_CALL_CHARS:
            raise FormatError(f'JSON: longer than {MAX_CALL_CHARS} characters')
        return end

    def _end(self, text: str) -> int | None:
        for index, char in enumerate(text):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif char == '\\':
                    self._escaped = True
                elif char == '"':
                    self._in_string = False
            elif char == '"':
                self._in_string = True
            elif char in '{[':
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise FormatError(f'JSON: nested deeper than {MAX_DEPTH} levels')
            elif char in '}]':
                self._depth -= 1
                if self._depth == 0:
                    return index + 1
        return None


def loads(text: str) -> Any:
    """Read one JSON value.

    :raise FormatError: on anything but strict JSON: NaN, infinities, numbers that
        overflow, duplicate keys, half surrogate pairs, or nested too deeply.
    """
    text = text.strip()
    if text.startswith(('{', '[')):
        JsonEnd().take(text)  # bounds the depth before a recursive reader meets it
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique,
        )
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise FormatError('JSON: a string holds half of a surrogate pair') from None
    except ValueError as error:
        raise FormatError(f'JSON: {error}') from None
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is not a number')


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f'{text} is too large')
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f'key {key!r} is there twice')
        value[key] = item
    return value
