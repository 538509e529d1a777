"""Arguments against their schema: what no bound may let through."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder import ROBOT

from nemotron_ros.tools.validate import Validator

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
        ('drive', {}, "arguments: 'distance_m' is a required property"),
        ('drive', {'direction': 'forward'}, "arguments: 'distance_m' is a required property"),
        ('drive', {'distance_m': math.nan}, 'distance_m: expected a finite number, got nan'),
        ('drive', {'distance_m': math.inf}, 'distance_m: expected a finite number, got inf'),
        ('drive', {'distance_m': -math.inf}, 'distance_m: expected a finite number, got -inf'),
        ('drive', {'distance_m': True}, "distance_m: True is not of type 'number'"),
        ('drive', {'distance_m': '1'}, "distance_m: '1' is not of type 'number'"),
        ('drive', {'distance_m': None}, "distance_m: None is not of type 'number'"),
        ('drive', {'distance_m': [1]}, "distance_m: [1] is not of type 'number'"),
        ('drive', {'distance_m': 0}, 'distance_m: 0 is less than or equal to the minimum of 0'),
        ('drive', {'distance_m': -0.0}, 'distance_m: -0.0 is less than or equal to the minimum'),
        ('drive', {'distance_m': 2.0000001}, 'distance_m: 2.0000001 is greater than the maximum'),
        ('drive', {'distance_m': 10**400}, 'distance_m: 1000'),
        ('drive', {'distance_m': 1, 'speed': 1}, 'arguments: Additional properties are not'),
        ('drive', {'distance_m': 1, 'Direction': 'forward'}, 'arguments: Additional properties'),
        ('drive', {'distance_m': 1, 'direction': 'Forward'}, "direction: 'Forward' is not one of"),
        ('drive', {'distance_m': 1, 'direction': 'forward '}, 'direction: '),
        ('drive', {'distance_m': 1, 'direction': ['forward']}, 'direction: '),
        ('drive', {'distance_m': 1, 'direction': None}, 'direction: '),
        ('turn', {'angle_deg': 3.7}, "angle_deg: 3.7 is not of type 'integer'"),
        ('turn', {'angle_deg': 90.5}, "angle_deg: 90.5 is not of type 'integer'"),
        ('turn', {'angle_deg': True}, "angle_deg: True is not of type 'integer'"),
        ('turn', {'angle_deg': '90'}, "angle_deg: '90' is not of type 'integer'"),
        ('turn', {'angle_deg': 4}, 'angle_deg: 4 is less than the minimum of 5'),
        ('turn', {'angle_deg': 1e300}, 'angle_deg: 1e+300 is greater than the maximum of 180'),
        ('go_to', {'place': 'garden'}, "place: 'garden' is not one of ['kitchen', 'hall']"),
        ('go_to', {'place': '__class__'}, "place: '__class__' is not one of"),
        ('go_to', {'place': '{{ places }}'}, "place: '{{ places }}' is not one of"),
        ('say', {'text': ''}, "text: ''"),
        ('say', {'text': 'x' * 41}, f"text: '{'x' * 41}' is too long"),
        ('say', {'text': 7}, "text: 7 is not of type 'string'"),
        ('pick', {'items': [], 'grip': {}}, 'items: []'),
        ('pick', {'items': ['a'] * 2, 'grip': {}}, "items: ['a', 'a'] has non-unique elements"),
        ('pick', {'items': 'cup', 'grip': {}}, "items: 'cup' is not of type 'array'"),
        ('pick', {'items': ['a', 1], 'grip': {}}, "items[1]: 1 is not of type 'string'"),
        ('pick', {'items': ['x' * 11], 'grip': {}}, "items[0]: 'xxxxxxxxxxx' is too long"),
        ('pick', {**GRIP, 'grip': {'force_n': 21}}, 'grip.force_n: 21 is greater than'),
        ('pick', {**GRIP, 'grip': {'force_n': math.nan}}, 'grip.force_n: expected a finite'),
        ('pick', {**GRIP, 'grip': {'force': 1}}, 'grip: Additional properties are not allowed'),
        ('pick', {**GRIP, 'grip': {'soft': 1}}, "grip.soft: 1 is not of type 'boolean'"),
        ('pick', {**GRIP, 'grip': {'soft': {'x': [math.inf]}}}, 'grip.soft.x[0]: expected a fin'),
        ('get_battery', {'percent': 1}, 'arguments: Additional properties are not allowed'),
    ],
)
def test_invalid(name: str, arguments: dict[str, Any], fault: str) -> None:
    assert VALIDATORS[name].check(arguments)[0].startswith(fault)


def test_every_fault_is_told() -> None:
    faults = VALIDATORS['drive'].check({'distance_m': 9, 'direction': 'up', 'speed': 1})
    assert [fault.split(':')[0] for fault in faults] == ['arguments', 'direction', 'distance_m']


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
