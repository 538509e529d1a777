"""Values written as bare text: typed by the parameter's JSON Schema, and printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from nemotron_ros.chat.formats import strict_json
from nemotron_ros.chat.formats.protocol import FormatError

TYPES = ('null', 'integer', 'number', 'boolean', 'object', 'array', 'string')
"""JSON Schema's types in the order in which a text is tried as each."""

_NUMBER_CHARS = frozenset('0123456789+-.eE')
_MAX_NUMBER_CHARS = 64


def print_value(value: Any) -> str:
    """Write a JSON value as the chat template does: Python's words, JSON for lists and objects."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def read_value(text: str, schema: Any) -> Any:
    """Read a text as a value of the schema's type; the caller validates the rest of the schema.

    :raise FormatError: if it is none of the types that the schema allows.
    """
    if not isinstance(schema, Mapping):
        schema = {}
    if 'allOf' in schema:
        schema = flattened(schema)
    if 'const' in schema:
        return _choose(text, [schema['const']])
    if 'enum' in schema:
        return _choose(text, schema['enum'])
    branches = [*schema.get('anyOf', ()), *schema.get('oneOf', ())]
    if branches:
        return _read_any(text, branches)
    types = types_of(schema)
    for kind in TYPES:
        if kind in types:
            try:
                return _READERS[kind](text)
            except ValueError:
                continue
    raise FormatError(f'expected {" or ".join(types)}, got {_short(text)}')


def types_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the types that a schema without branches allows; all, if it names none."""
    kinds = schema.get('type')
    if kinds is None:
        if 'properties' in schema:
            return ('object',)
        return ('array',) if 'items' in schema else TYPES
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def flattened(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the keywords of its ``allOf`` branches written into it."""
    merged: dict[str, Any] = {}
    for branch in schema['allOf']:
        if isinstance(branch, Mapping):
            merged.update(flattened(branch) if 'allOf' in branch else branch)
    merged.update({key: value for key, value in schema.items() if key != 'allOf'})
    return merged


def _read_any(text: str, branches: list[Any]) -> Any:
    reasons: list[str] = []
    for branch in sorted(branches, key=_rank):
        try:
            return read_value(text, branch)
        except FormatError as error:
            reasons.append(str(error))
    raise FormatError(', or '.join(reasons))


def _rank(schema: Any) -> int:
    """Say how late a branch is tried: what takes any text comes last."""
    if not isinstance(schema, Mapping):
        return len(TYPES)
    if 'enum' in schema or 'const' in schema:
        return -1
    return max((TYPES.index(kind) for kind in types_of(schema) if kind in TYPES), default=0)


def _choose(text: str, values: list[Any]) -> Any:
    for value in values:
        if print_value(value) == text:
            return value
    word = text.strip().casefold()
    same = [value for value in values if print_value(value).casefold() == word]
    same = same or [value for value in values if _equal(text, value)]
    if len(same) != 1:
        choice = ', '.join(print_value(value) for value in values)
        raise FormatError(f'expected one of {choice}, got {_short(text)}')
    return same[0]


def _equal(text: str, value: Any) -> bool:
    """Say whether a text is another spelling of a value that is not a string."""
    if isinstance(value, str):
        return False
    try:
        return bool(_READERS[_type_of(value)](text) == value)
    except ValueError:
        return False


def _type_of(value: Any) -> str:
    if value is None:
        return 'null'
    if isinstance(value, bool):
        return 'boolean'
    if isinstance(value, int | float):
        return 'number'
    return 'object' if isinstance(value, Mapping) else 'array'


def _null(text: str) -> None:
    if text.strip() not in ('null', 'None'):
        raise ValueError


def _boolean(text: str) -> bool:
    word = text.strip()
    if word in ('True', 'true'):
        return True
    if word in ('False', 'false'):
        return False
    raise ValueError


def _number(text: str) -> int | float:
    digits = text.strip()
    if len(digits) > _MAX_NUMBER_CHARS or not _NUMBER_CHARS.issuperset(digits):
        raise ValueError
    try:
        return int(digits)
    except ValueError:
        number = float(digits)
    if not math.isfinite(number):
        raise ValueError
    return number


def _integer(text: str) -> int:
    number = _number(text)
    if isinstance(number, float) and not number.is_integer():
        raise ValueError
    return int(number)


def _structure(text: str, kind: type) -> Any:
    value = _json(text)
    if isinstance(value, str):  # encoded twice
        value = _json(value)
    if not isinstance(value, kind):
        raise ValueError
    return value


def _json(text: str) -> Any:
    try:
        return strict_json.loads(text)
    except FormatError as error:
        raise ValueError from error


_READERS: dict[str, Callable[[str], Any]] = {
    'null': _null,
    'integer': _integer,
    'number': _number,
    'boolean': _boolean,
    'object': lambda text: _structure(text, dict),
    'array': lambda text: _structure(text, list),
    'string': lambda text: text,
}


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + '...')
