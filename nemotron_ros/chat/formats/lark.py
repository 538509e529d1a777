"""Pieces of llguidance Lark grammars that both formats use.

A JSON Schema is lowered to what llguidance can hold a model to, and bounded, so
that a poor model cannot run on for ever: numbers get a few decimals, strings and
lists a greatest length. What is lost (ranges, patterns, formats, conditions) is for
the validator, which checks every call against the whole schema.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from nemotron_ros.chat.formats.coerce import TYPES, flattened, types_of

HEADER = '%llguidance {}'
MAX_CALLS = 8
MAX_STRING_CHARS = 500
MAX_ITEMS = 32

_LEAST = ('minimum', 'exclusiveMinimum')
_GREATEST = ('maximum', 'exclusiveMaximum')
_MAX_NUMBER = 10**6
_HUGE = Fraction(10**15)
_DECIMALS = 3
_MAX_DECIMALS = 9
_SCALARS = ('string', 'number', 'boolean', 'null')


def literal(text: str) -> str:
    """Write a Lark string."""
    return json.dumps(text, ensure_ascii=False)


def json_rule(schema: Any, text_pattern: str | None = None) -> str:
    """Write the rule for a JSON value, spaced as :func:`json.dumps` spaces it.

    :param text_pattern: what free strings in it must match.
    """
    spacing = {'whitespace_flexible': False, 'item_separator': ', ', 'key_separator': ': '}
    return '%json ' + json.dumps(
        {'x-guidance': spacing, **lower(schema, text_pattern)}, ensure_ascii=False
    )


def calls_rule(calls: list[str]) -> str:
    """Write the rule for one call or several, one a line."""
    return f'calls: call ("\\n" call){{0,{MAX_CALLS - 1}}}\ncall: {" | ".join(calls)}'


def lower(schema: Any, text_pattern: str | None = None) -> dict[str, Any]:
    """Return the part of a JSON Schema that llguidance enforces, bounded."""
    if isinstance(schema, Mapping) and 'allOf' in schema:
        schema = flattened(schema)
    if not isinstance(schema, Mapping) or not schema:
        return lower({'type': list(_SCALARS)}, text_pattern)
    if 'const' in schema:
        return {'enum': [schema['const']]}
    if schema.get('enum'):
        return {'enum': list(schema['enum'])}
    branches = [*schema.get('anyOf', ()), *schema.get('oneOf', ())]
    if branches:
        return {'anyOf': [lower(branch, text_pattern) for branch in branches]}
    kinds = [kind for kind in types_of(schema) if kind in TYPES]
    if not kinds or ('type' not in schema and len(kinds) > 1):
        kinds = list(_SCALARS)
    if len(kinds) != 1:
        return {'anyOf': [lower({**schema, 'type': kind}, text_pattern) for kind in kinds]}
    return _lower_kind(kinds[0], schema, text_pattern)


def _lower_kind(kind: str, schema: Mapping[str, Any], text_pattern: str | None) -> dict[str, Any]:
    if kind in ('number', 'integer'):
        return {'type': kind, **number_bounds(schema, kind == 'integer')}
    if kind == 'string':
        low, high = length_bounds(schema)
        pattern = {} if text_pattern is None else {'pattern': text_pattern}
        return {'type': kind, 'minLength': low, 'maxLength': high, **pattern}
    if kind == 'array':
        return {'type': kind, **_lower_items(schema, text_pattern)}
    if kind == 'object':
        return {'type': kind, **_lower_properties(schema, text_pattern)}
    return {'type': kind}


def _lower_items(schema: Mapping[str, Any], text_pattern: str | None) -> dict[str, Any]:
    low = _count(schema, 'minItems', 0)
    high = _count(schema, 'maxItems', max(low, MAX_ITEMS))
    bounds = {'minItems': low, 'maxItems': high} if low <= high else {}
    first = [lower(item, text_pattern) for item in schema.get('prefixItems', ())]
    rest = schema.get('items', {})
    items = False if rest is False else lower(rest, text_pattern)
    return {**({'prefixItems': first} if first else {}), 'items': items, **bounds}


def _lower_properties(schema: Mapping[str, Any], text_pattern: str | None) -> dict[str, Any]:
    properties = schema.get('properties', {})
    if not properties and schema.get('additionalProperties', True) is not False:
        return {'additionalProperties': lower(schema.get('additionalProperties'), text_pattern)}
    return {
        'properties': {name: lower(value, text_pattern) for name, value in properties.items()},
        'required': [name for name in schema.get('required', ()) if name in properties],
        'additionalProperties': False,
    }


def length_bounds(schema: Mapping[str, Any]) -> tuple[int, int]:
    """Return the least and greatest length of a string."""
    low = min(_count(schema, 'minLength', 0), MAX_STRING_CHARS)
    high = min(_count(schema, 'maxLength', MAX_STRING_CHARS), MAX_STRING_CHARS)
    return (low, high) if low <= high else (0, MAX_STRING_CHARS)


def number_bounds(schema: Mapping[str, Any], integer: bool) -> dict[str, Any]:
    """Return how a number may be written: wider than its range, with a few decimals.

    A model held to the range itself writes the nearest number that begins alike: asked
    for 400 degrees of at most 180, it turned 40. What is out of range has to be
    seen, so that it can be refused and told.
    """
    edges = [edge for key in (*_LEAST, *_GREATEST) if (edge := _edge(schema, key)) is not None]
    wide = {
        'minimum': math.floor(min([Fraction(-_MAX_NUMBER), *edges])),
        'maximum': math.ceil(max([Fraction(_MAX_NUMBER), *edges])),
    }
    if integer:
        return wide
    fine = [_number(schema, 'multipleOf'), *edges]
    if len(edges) > 1:
        fine.append((max(edges) - min(edges)) / 10)
    decimals = max([_DECIMALS, *(_decimals(number) for number in fine if number)])
    return {**wide, 'multipleOf': float(Fraction(1, 10**decimals))}


def _decimals(number: Fraction) -> int:
    """Return how many decimals it takes to write a number, or something like it."""
    size = abs(number)
    return next((d for d in range(_MAX_DECIMALS) if size * 10**d >= 1), _MAX_DECIMALS)


def _edge(schema: Mapping[str, Any], key: str) -> Fraction | None:
    """Return an edge of a range, brought to where llguidance still takes it."""
    edge = _number(schema, key)
    return None if edge is None else max(-_HUGE, min(_HUGE, edge))


def _number(schema: Mapping[str, Any], key: str) -> Fraction | None:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return Fraction(str(value))


def _count(schema: Mapping[str, Any], key: str, default: int) -> int:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return default
    return value
