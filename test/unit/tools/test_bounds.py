"""Bounds: no parameter of a tool that acts is without limits, whatever its kind."""

from __future__ import annotations

from typing import Any

import pytest

from nemotron_ros.tools.bounds import KEYWORDS, missing, unknown_keywords

BOUNDED = [
    {'type': 'number', 'minimum': 0, 'maximum': 1},
    {'type': 'number', 'exclusiveMinimum': 0, 'exclusiveMaximum': 1},
    {'type': 'integer', 'minimum': -5, 'exclusiveMaximum': 5},
    {'type': 'string', 'maxLength': 20},
    {'enum': ['a', 'b']},
    {'const': 3},
    {'type': 'boolean'},
    {'type': 'null'},
    {'type': 'array', 'maxItems': 3, 'items': {'type': 'boolean'}},
    {'type': 'object', 'additionalProperties': False},
    {
        'type': 'object',
        'additionalProperties': False,
        'properties': {'a': {'type': 'string', 'maxLength': 3}},
    },
]


@pytest.mark.parametrize(
    'schema', BOUNDED, ids=lambda value: repr(sorted(value) if isinstance(value, set) else value)
)
def test_bounded(schema: dict[str, Any]) -> None:
    assert list(missing(schema, ('p',))) == []


LOW, HIGH = 'has no lower bound; add minimum', 'has no upper bound; add maximum'


@pytest.mark.parametrize(
    ('schema', 'expected'),
    [
        ({'type': 'number'}, {('p', LOW), ('p', HIGH)}),
        ({'type': 'integer'}, {('p', LOW), ('p', HIGH)}),
        ({'type': 'number', 'maximum': 1}, {('p', LOW)}),
        ({'type': 'integer', 'minimum': 1}, {('p', HIGH)}),
        ({'type': 'number', 'multipleOf': 2}, {('p', LOW), ('p', HIGH)}),
        ({'type': 'string'}, {('p', 'has no bound; add maxLength or enum')}),
        (
            {'type': 'string', 'pattern': '^a', 'minLength': 1},
            {('p', 'has no bound; add maxLength or enum')},
        ),
        (
            {'type': 'array', 'items': {'type': 'boolean'}},
            {('p', 'has no bound; add maxItems')},
        ),
        ({'type': 'array', 'maxItems': 3}, {('p.items', 'takes any type; add type')}),
        (
            {'type': 'array', 'maxItems': 3, 'items': True},
            {('p.items', 'takes any type; add type')},
        ),
        (
            {'type': 'array', 'maxItems': 3, 'items': {'type': 'number', 'minimum': 0}},
            {('p.items', HIGH)},
        ),
        ({'type': 'object'}, {('p', 'takes anything; add additionalProperties: false')}),
        (
            {'type': 'object', 'additionalProperties': {'type': 'boolean'}},
            {('p', 'takes anything; add additionalProperties: false')},
        ),
        (
            {
                'type': 'object',
                'additionalProperties': False,
                'properties': {'a': True, 'b': {'type': 'integer', 'minimum': 1}},
            },
            {('p.properties.a', 'takes any type; add type'), ('p.properties.b', HIGH)},
        ),
        ({}, {('p', 'takes any type; add type')}),
        ({'description': 'x'}, {('p', 'takes any type; add type')}),
        (
            {'type': ['number', 'null'], 'minimum': 0, 'maximum': 1},
            {('p', 'takes any type; add type')},
        ),
    ],
    ids=lambda value: repr(sorted(value)) if isinstance(value, set) else str(value),
)
def test_unbounded(schema: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    found = {('.'.join(map(str, at)), problem) for at, problem in missing(schema, ('p',))}
    assert found == expected


@pytest.mark.parametrize(
    'schema', BOUNDED, ids=lambda value: repr(sorted(value) if isinstance(value, set) else value)
)
def test_known_keywords(schema: dict[str, Any]) -> None:
    assert list(unknown_keywords(schema, ('p',))) == []


@pytest.mark.parametrize(
    ('schema', 'at', 'hint'),
    [
        ({'maximun': 1}, ('p', 'maximun'), "'maximum'"),
        ({'Minimum': 1}, ('p', 'Minimum'), "'minimum'"),
        ({'maxlength': 1}, ('p', 'maxlength'), "'maxLength'"),
        ({'items': {'enumm': []}}, ('p', 'items', 'enumm'), "'enum'"),
        (
            {'properties': {'a': {'exclusiveMaxmum': 1}}},
            ('p', 'properties', 'a', 'exclusiveMaxmum'),
            "'exclusiveMaximum'",
        ),
        ({'$ref': '#/x'}, ('p', '$ref'), ''),
        ({'anyOf': []}, ('p', 'anyOf'), ''),
        ({'format': 'date'}, ('p', 'format'), ''),
    ],
    ids=lambda value: repr(sorted(value)) if isinstance(value, set) else str(value),
)
def test_a_typo_is_no_keyword(schema: dict[str, Any], at: tuple[str, ...], hint: str) -> None:
    ((found, problem),) = unknown_keywords(schema, ('p',))
    assert found == at
    assert hint in problem


@pytest.mark.parametrize('odd', [None, True, 3, 'x', [{'maximun': 1}]])
def test_what_is_no_schema_has_no_keywords(odd: object) -> None:
    assert list(unknown_keywords(odd, ())) == []
    assert list(unknown_keywords({'items': odd, 'properties': odd}, ())) == []


@pytest.mark.parametrize(
    'keyword', ['$ref', '$dynamicRef', 'anyOf', 'oneOf', 'allOf', 'not', 'if']
)
def test_no_keyword_joins_schemas(keyword: str) -> None:
    # Bounds are looked for in the schema itself; another one joined to it could lift them.
    assert keyword not in KEYWORDS
