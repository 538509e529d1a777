"""Pieces of llguidance Lark grammars that both formats use.

A JSON Schema is lowered to what llguidance can hold a model to, and bounded, so
that a poor model cannot run on for ever: numbers get a few decimals, strings and
lists a greatest length. What is lost (patterns, formats, conditions) is for the
validator, which checks every call against the whole schema.
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
    """Return a number's range and step; without a step, one of a few decimals.

    A range that holds no number is left out.
    """
    low, high, edges = _range(schema)
    step = _number(schema, 'multipleOf')
    if step is not None and step > 0 and _reached(low, high, edges, step, integer):
        return {**edges, 'multipleOf': schema['multipleOf']}
    if integer:
        return edges if _reached(low, high, edges, Fraction(1), True) else {}
    for decimals in range(_DECIMALS, _MAX_DECIMALS + 1):
        step = Fraction(1, 10**decimals)
        if _reached(low + (high - low) / 20, high - (high - low) / 20, {}, step, False):
            return {**edges, 'multipleOf': float(step)}
    return edges if low < high else {}


def _range(schema: Mapping[str, Any]) -> tuple[Fraction, Fraction, dict[str, Any]]:
    """Return a number's range, made up where the schema has none, and its keywords."""
    below = {key: edge for key in _LEAST if (edge := _edge(schema, key)) is not None}
    above = {key: edge for key in _GREATEST if (edge := _edge(schema, key)) is not None}
    edges = {
        key: schema[key] if abs(edge) < _HUGE else int(edge)
        for key, edge in {**below, **above}.items()
    }
    low = max(below.values(), default=None)
    high = min(above.values(), default=None)
    if low is None:
        low = min(Fraction(0), high or Fraction(0)) - _MAX_NUMBER
        edges['minimum'] = math.floor(low)
    if high is None:
        high = max(Fraction(0), low) + _MAX_NUMBER
        edges['maximum'] = math.ceil(high)
    return low, high, edges


def _reached(
    low: Fraction, high: Fraction, edges: Mapping[str, Any], step: Fraction, integer: bool
) -> bool:
    """Say whether a multiple of the step lies in the range."""
    if integer:
        step = Fraction(step.numerator)
    first, last = math.ceil(low / step), math.floor(high / step)
    if first * step == _number(edges, 'exclusiveMinimum'):
        first += 1
    if last * step == _number(edges, 'exclusiveMaximum'):
        last -= 1
    return first <= last


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
