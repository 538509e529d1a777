"""Arguments against their schema: what no bound may let through."""

from __future__ import annotations

import json
import math
import sys
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder import ROBOT

from nemotron_ros.chat.messages import ToolSpec
from nemotron_ros.tools.validate import MAX_DEPTH, Validator

VALIDATORS = {name: Validator(tool.spec) for name, tool in ROBOT.tools.items()}


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [
        ('drive', {'distance_m': 1}),
        ('drive', {'distance_m': 2.0, 'direction': 'backward'}),
        ('drive', {'distance_m': 5e-324}),
        ('turn', {'angle_deg': 5}),
        ('turn', {'angle_deg': 90.0}),
        ('go_to', {'place': 'hall'}),
        ('say', {'text': 'x' * 40}),
        ('pick', {'items': ['cup'], 'grip': {'force_n': 0, 'soft': True}}),
        ('pick', {'items': ['a', 'b', 'c'], 'grip': {}}),
        ('get_battery', {}),
    ],
)
def test_valid(name: str, arguments: dict[str, Any]) -> None:
    assert VALIDATORS[name].check(arguments) == []


GRIP = {'items': ['cup']}


@pytest.mark.parametrize(
    ('name', 'arguments', 'fault'),
    [
        ('drive', {}, 'distance_m: is missing'),
        ('drive', {'direction': 'forward'}, 'distance_m: is missing'),
        ('drive', {'distance_m': math.nan}, 'distance_m: expected a finite number, got nan'),
        ('drive', {'distance_m': math.inf}, 'distance_m: expected a finite number, got inf'),
        ('drive', {'distance_m': -math.inf}, 'distance_m: expected a finite number, got -inf'),
        ('drive', {'distance_m': True}, 'distance_m: expected a number, got True'),
        ('drive', {'distance_m': '1'}, "distance_m: expected a number, got '1'"),
        ('drive', {'distance_m': None}, 'distance_m: expected a number, got None'),
        ('drive', {'distance_m': [1]}, 'distance_m: expected a number, got [1]'),
        ('drive', {'distance_m': 0}, 'distance_m: expected more than 0, got 0'),
        ('drive', {'distance_m': -0.0}, 'distance_m: expected more than 0, got -0.0'),
        ('drive', {'distance_m': 2.0000001}, 'distance_m: expected at most 2, got 2.0000001'),
        (
            'drive',
            {'distance_m': 10**400},
            'distance_m: expected a number of at most 64 bits, got one of 1329',
        ),
        (
            'drive',
            {'distance_m': 1, 'speed': 1},
            'speed: no such argument; there is distance_m, direction',
        ),
        (
            'drive',
            {'distance_m': 1, 'Direction': 'forward'},
            'Direction: no such argument; did you mean direction?',
        ),
        (
            'drive',
            {'distance_m': 1, 'direction': 'Forward'},
            "direction: expected 'forward' or 'backward', got 'Forward'",
        ),
        (
            'drive',
            {'distance_m': 1, 'direction': 'forward '},
            "direction: expected 'forward' or 'backward', got 'forward '",
        ),
        (
            'drive',
            {'distance_m': 1, 'direction': ['forward']},
            "direction: expected 'forward' or 'backward', got ['forward']",
        ),
        (
            'drive',
            {'distance_m': 1, 'direction': None},
            "direction: expected 'forward' or 'backward', got None",
        ),
        ('turn', {'angle_deg': 3.7}, 'angle_deg: expected an integer, got 3.7'),
        ('turn', {'angle_deg': 90.5}, 'angle_deg: expected an integer, got 90.5'),
        ('turn', {'angle_deg': True}, 'angle_deg: expected an integer, got True'),
        ('turn', {'angle_deg': '90'}, "angle_deg: expected an integer, got '90'"),
        ('turn', {'angle_deg': 4}, 'angle_deg: expected at least 5, got 4'),
        ('turn', {'angle_deg': 1e300}, 'angle_deg: expected at most 180, got 1e+300'),
        ('go_to', {'place': 'garden'}, "place: expected 'kitchen' or 'hall', got 'garden'"),
        ('go_to', {'place': '__class__'}, "place: expected 'kitchen' or 'hall', got '__class__'"),
        (
            'go_to',
            {'place': '{{ places }}'},
            "place: expected 'kitchen' or 'hall', got '{{ places }}'",
        ),
        ('say', {'text': ''}, 'text: expected at least 1 characters, got 0'),
        ('say', {'text': 'x' * 41}, 'text: expected at most 40 characters, got 41'),
        ('say', {'text': 7}, 'text: expected a string, got 7'),
        ('pick', {'items': [], 'grip': {}}, 'items: expected at least 1 items, got 0'),
        (
            'pick',
            {'items': ['a'] * 2, 'grip': {}},
            "items: expected items that differ, got ['a', 'a']",
        ),
        ('pick', {'items': 'cup', 'grip': {}}, "items: expected an array, got 'cup'"),
        ('pick', {'items': ['a', 1], 'grip': {}}, 'items[1]: expected a string, got 1'),
        (
            'pick',
            {'items': ['x' * 11], 'grip': {}},
            'items[0]: expected at most 10 characters, got 11',
        ),
        ('pick', {**GRIP, 'grip': {'force_n': 21}}, 'grip.force_n: expected at most 20, got 21'),
        (
            'pick',
            {**GRIP, 'grip': {'force_n': math.nan}},
            'grip.force_n: expected a finite number, got nan',
        ),
        (
            'pick',
            {**GRIP, 'grip': {'force': 1}},
            'grip.force: no such argument; did you mean force_n?',
        ),
        ('pick', {**GRIP, 'grip': {'soft': 1}}, 'grip.soft: expected true or false, got 1'),
        (
            'pick',
            {**GRIP, 'grip': {'soft': {'x': [math.inf]}}},
            'grip.soft.x[0]: expected a finite number, got inf',
        ),
        ('get_battery', {'percent': 1}, 'percent: no such argument; there is none'),
    ],
)
def test_invalid(name: str, arguments: dict[str, Any], fault: str) -> None:
    assert VALIDATORS[name].check(arguments) == [fault]


def test_every_fault_is_told() -> None:
    faults = VALIDATORS['drive'].check({'distance_m': 9, 'direction': 'up', 'speed': 1})
    assert [fault.split(':')[0] for fault in faults] == ['direction', 'distance_m', 'speed']


def test_defaults_are_filled_in_and_whole_numbers_made_integers() -> None:
    assert VALIDATORS['drive'].complete({'distance_m': 1}) == {
        'distance_m': 1, 'direction': 'forward',
    }  # fmt: skip
    assert VALIDATORS['drive'].complete({'distance_m': 1, 'direction': 'backward'}) == {
        'distance_m': 1, 'direction': 'backward',
    }  # fmt: skip
    angle = VALIDATORS['turn'].complete({'angle_deg': 90.0})['angle_deg']
    assert (angle, type(angle)) == (90, int)


def test_what_the_model_sent_is_left_as_it_is() -> None:
    arguments = {'distance_m': 1.0}
    VALIDATORS['drive'].check(arguments)
    VALIDATORS['drive'].complete(arguments)
    assert arguments == {'distance_m': 1.0}


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(['forward', 'hall', 1, 90, 1.5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(['distance_m', 'direction', 'speed']), anything))
def test_what_passes_is_within_bounds(arguments: dict[str, Any]) -> None:
    """The rule of `drive`, said a second time without JSON Schema."""
    distance_m, direction = arguments.get('distance_m'), arguments.get('direction', 'forward')
    good = (
        type(distance_m) in (int, float)
        and 0 < distance_m <= 2
        and direction in ('forward', 'backward')
        and 'speed' not in arguments
    )
    assert (VALIDATORS['drive'].check(arguments) == []) is good


def validator(schema: dict[str, Any]) -> Validator:
    """Return a validator of one argument, ``x``."""
    return Validator(ToolSpec('tool', '', {'type': 'object', 'properties': {'x': schema}}))


def without_the_wheel(schema: dict[str, Any]) -> Validator:
    """Return the validator of a machine that has no wheel of jsonschema-rs."""
    with mock.patch.dict(sys.modules, {'jsonschema_rs': None}):
        return validator(schema)


class Named(str):
    """A string that is more than a string."""


@pytest.mark.parametrize(
    ('value', 'fault'),
    [
        (math.nan, 'x: expected a finite number, got nan'),
        (2**64, 'x: expected a number of at most 64 bits, got one of 65'),
        (-(2**63) - 1, 'x: expected a number of at most 64 bits, got one of 64'),
        pytest.param(
            10**5000, 'x: expected a number of at most 64 bits, got one of 16610', id='huge'
        ),
        ((1,), 'x: expected a JSON value, got tuple'),
        (b'a', 'x: expected a JSON value, got bytes'),
        (Named('a'), 'x: expected a JSON value, got Named'),
        ('a\ud800', 'x: expected valid Unicode'),
        ({1: 2}, 'x: expected names that are text, got 1'),
        ({'\udfff': 2}, "x: expected names that are text, got '\\udfff'"),
        ([{'a': [1, math.inf]}], 'x[0].a[1]: expected a finite number, got inf'),
    ],
)
@pytest.mark.parametrize('make', [validator, without_the_wheel])
def test_what_is_not_json_is_refused_whatever_the_schema_says(
    make: Any, value: object, fault: str
) -> None:
    assert make({}).check({'x': value}) == [fault]


@pytest.mark.parametrize('make', [validator, without_the_wheel])
def test_the_depth_has_a_bound(make: Any) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert make({}).check({'x': value}) == []
    [fault] = make({}).check({'x': [value]})
    assert fault.startswith('x[0][0]')
    assert fault.endswith('expected at most 64 objects and arrays in one another')
    value = []
    value.append(value)
    assert make({}).check({'x': value}) != []


@pytest.mark.parametrize(
    ('schema', 'good', 'bad'),
    [
        ({'pattern': '^a$'}, ['a'], ['a\n', 'b']),
        ({'pattern': r'^\d+$'}, ['12'], ['\u0663', '1\n', '']),
        ({'pattern': r'^\w$'}, ['a', '_'], ['\u00e9']),
        ({'pattern': r'^[$\]]$'}, ['$', ']'], ['a', '$\n']),
        ({'pattern': r'^.$|^\$$'}, ['a', '$'], ['a\n', '']),
        ({'pattern': '^(?:[A-Za-z0-9+/]{4})*$'}, ['', 'AAAA'], ['A', 'AAAA\n']),
        ({'multipleOf': 0.1}, [0.3, 0.7, -0.1, 2, 0, 1e22], [0.35, 1e-9]),
        ({'multipleOf': 5}, [5, 10.0, -5], [7, 5.5]),
    ],
)
@pytest.mark.parametrize('make', [validator, without_the_wheel])
def test_patterns_and_steps_mean_what_json_schema_says(
    make: Any, schema: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    check = make(schema).check
    assert [value for value in good if check({'x': value})] == []
    assert [value for value in bad if not check({'x': value})] == []


numbers = st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.0, 1e300, 2**53, 2.0**53, 2**53 + 1])
letters = st.text('a1 $\n\u2003\u2028\u0663', max_size=2)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | letters,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(letters, inner, max_size=2),
    max_leaves=5,
)
atoms = st.sampled_from(
    ['a', '1', '$', '^', r'\$', '[a-b]', '[^1]', r'[\d$]', r'\d', r'\w', '.', r'\s']
)
patterns = st.lists(
    st.tuples(atoms | atoms.map('(?:{})'.format), st.sampled_from(['', '', '*', '+', '{1,2}'])),
    max_size=3,
).map(lambda parts: ''.join(a if a in '$^' else a + q for a, q in parts))
of_numbers = st.fixed_dictionaries({}, optional={
    'type': st.sampled_from(['number', 'integer', ['number', 'null']]),
    'minimum': numbers, 'maximum': numbers, 'exclusiveMinimum': numbers,
    'exclusiveMaximum': numbers, 'multipleOf': st.sampled_from([1, 2, 3, 0.5, 0.1, 1e-9]),
})  # fmt: skip
of_text = st.fixed_dictionaries({'pattern': patterns}, optional={
    'type': st.just('string'), 'minLength': st.integers(0, 2), 'maxLength': st.integers(0, 2),
})  # fmt: skip
of_choices = st.fixed_dictionaries({'enum': st.lists(json_values, min_size=1, max_size=3)})
schemas = st.recursive(
    of_numbers | of_text | of_choices | st.fixed_dictionaries({'const': json_values}),
    lambda inner: st.fixed_dictionaries({}, optional={
        'type': st.just('array'), 'items': inner, 'minItems': st.integers(0, 2),
        'maxItems': st.integers(0, 2), 'uniqueItems': st.booleans(),
    })
    | st.fixed_dictionaries({}, optional={
        'type': st.just('object'), 'properties': st.dictionaries(letters, inner, max_size=2),
        'required': st.lists(letters, max_size=2, unique=True),
        'additionalProperties': st.booleans(),
    }),
    max_leaves=4,
)  # fmt: skip
decimals = (
    numbers | st.sampled_from([0.3, 0.7, 1.1, 0.35]) | st.integers(-20, 20).map(lambda n: n / 10)
)


@settings(max_examples=600, deadline=None)
@pytest.mark.parametrize(
    ('schemas', 'values'),
    [(of_numbers, decimals), (of_text, letters), (schemas, json_values)],
    ids=['numbers', 'text', 'anything'],
)
@given(st.data())
def test_both_libraries_give_the_same_faults(schemas: Any, values: Any, data: Any) -> None:
    pytest.importorskip('jsonschema_rs')
    schema = data.draw(schemas)
    fast, exact = validator(schema), without_the_wheel(schema)
    for value in data.draw(st.lists(values, min_size=1, max_size=8)):
        faults = exact.check({'x': value})
        assert fast.check({'x': value}) == faults, json.dumps([schema, value])
        assert all(fault.startswith('x') for fault in faults)
