"""Pieces of llguidance Lark grammars that both formats use.

A JSON Schema is lowered to what llguidance can hold a model to, and bounded, so
that a poor model cannot run on for ever: numbers get a few decimals, strings and
lists a greatest length. What is lost (patterns, formats, conditions, and the ranges of
numbers where the tool does not ask for them) is for the validator, which checks every call
against the whole schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nemotron_ros.chat.formats import number_range
from nemotron_ros.chat.formats.coerce import TYPES, flattened, types_of
from nemotron_ros.chat.formats.number_range import NumberRange

HEADER = '%llguidance {}'
MAX_CALLS = 8
MAX_STRING_CHARS = 500
MAX_ITEMS = 32

_SCALARS = ('string', 'number', 'boolean', 'null')


def literal(text: str) -> str:
    """Write a Lark string."""
    return json.dumps(text, ensure_ascii=False)


def json_rule(schema: Any, holds_ranges: bool, text_pattern: str | None = None) -> str:
    """Write the rule for a JSON value, spaced as :func:`json.dumps` spaces it.

    :param holds_ranges: whether numbers are kept within their range.
    :param text_pattern: what free strings in it must match.
    """
    numbers = number_range.exact if holds_ranges else number_range.wide
    spacing = {'whitespace_flexible': False, 'item_separator': ', ', 'key_separator': ': '}
    lowered = _Lowering(numbers, text_pattern).value(schema)
    return '%json ' + json.dumps({'x-guidance': spacing, **lowered}, ensure_ascii=False)


def calls_rule(calls: list[str]) -> str:
    """Write the rule for one call or several, one a line."""
    return f'calls: call ("\\n" call){{0,{MAX_CALLS - 1}}}\ncall: {" | ".join(calls)}'


@dataclass(frozen=True)
class _Lowering:
    """Takes from a JSON Schema the part that llguidance enforces, and bounds it."""

    numbers: Callable[[Mapping[str, Any]], NumberRange]
    text_pattern: str | None

    def value(self, schema: Any) -> dict[str, Any]:
        if isinstance(schema, Mapping) and 'allOf' in schema:
            schema = flattened(schema)
        if not isinstance(schema, Mapping) or not schema:
            return self.value({'type': list(_SCALARS)})
        if 'const' in schema:
            return {'enum': [schema['const']]}
        if schema.get('enum'):
            return {'enum': list(schema['enum'])}
        branches = [*schema.get('anyOf', ()), *schema.get('oneOf', ())]
        if branches:
            return {'anyOf': [self.value(branch) for branch in branches]}
        kinds = [kind for kind in types_of(schema) if kind in TYPES]
        if not kinds or ('type' not in schema and len(kinds) > 1):
            kinds = list(_SCALARS)
        ways = [self._kind(kind, {**schema, 'type': kind}) for kind in kinds]
        return ways[0] if len(ways) == 1 else {'anyOf': ways}

    def _kind(self, kind: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        if kind in ('number', 'integer'):
            return {'type': kind, **self.numbers(schema).json_schema()}
        if kind == 'string':
            low, high = length_bounds(schema)
            pattern = {} if self.text_pattern is None else {'pattern': self.text_pattern}
            return {'type': kind, 'minLength': low, 'maxLength': high, **pattern}
        if kind == 'array':
            return {'type': kind, **self._items(schema)}
        if kind == 'object':
            return {'type': kind, **self._properties(schema)}
        return {'type': kind}

    def _items(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        low = _count(schema, 'minItems', 0)
        high = _count(schema, 'maxItems', max(low, MAX_ITEMS))
        bounds = {'minItems': low, 'maxItems': high} if low <= high else {}
        first = [self.value(item) for item in schema.get('prefixItems', ())]
        rest = schema.get('items', {})
        items = False if rest is False else self.value(rest)
        return {**({'prefixItems': first} if first else {}), 'items': items, **bounds}

    def _properties(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        properties = schema.get('properties', {})
        if not properties and schema.get('additionalProperties', True) is not False:
            return {'additionalProperties': self.value(schema.get('additionalProperties'))}
        return {
            'properties': {name: self.value(part) for name, part in properties.items()},
            'required': [name for name in schema.get('required', ()) if name in properties],
            'additionalProperties': False,
        }


def length_bounds(schema: Mapping[str, Any]) -> tuple[int, int]:
    """Return the least and greatest length of a string."""
    low = min(_count(schema, 'minLength', 0), MAX_STRING_CHARS)
    high = min(_count(schema, 'maxLength', MAX_STRING_CHARS), MAX_STRING_CHARS)
    return (low, high) if low <= high else (0, MAX_STRING_CHARS)


def _count(schema: Mapping[str, Any], key: str, default: int) -> int:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return default
    return value
