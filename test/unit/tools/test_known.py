"""What is known of calls before there is one."""

from __future__ import annotations

from typing import Any

import pytest

from nemotron_ros.tools.known import MAX_CALLS, known_calls, known_part
from nemotron_ros.tools.templates import compile_value, evaluate


def parameters(**properties: Any) -> dict[str, Any]:
    return {'type': 'object', 'properties': properties}


@pytest.mark.parametrize(
    ('properties', 'calls'),
    [
        ({}, [{}]),
        ({'x': {'type': 'number'}}, [{}]),
        ({'on': {'type': 'boolean'}}, [{'on': False}, {'on': True}]),
        ({'a': {'const': 3}}, [{'a': 3}]),
        (
            {'a': {'enum': ['l', 'r']}, 'x': {'type': 'number'}, 'b': {'enum': [1, 2]}},
            [{'a': 'l', 'b': 1}, {'a': 'l', 'b': 2}, {'a': 'r', 'b': 1}, {'a': 'r', 'b': 2}],
        ),
        ({'a': {'enum': list(range(MAX_CALLS + 1))}}, [{}]),
        ({'a': {'enum': list(range(20))}, 'b': {'enum': list(range(20))}}, [{}]),
    ],
)
def test_every_combination_of_a_few_choices(properties, calls) -> None:
    assert list(known_calls(parameters(**properties))) == calls


def test_what_needs_other_arguments_is_left_out() -> None:
    mapping = compile_value(
        {
            'linear': {'x': '{{ speed }}', 'y': '{{ slow * 2 }}'},
            'angular': {'z': 1.5},
            'list': ['{{ speed }}', 2],
        },
        'message',
        ['speed', 'slow'],
    )
    part, is_whole = known_part(mapping, {'slow'})
    assert not is_whole
    assert evaluate(part, {'slow': 2}) == {'linear': {'y': 4}, 'angular': {'z': 1.5}}
    part, is_whole = known_part(mapping, {'slow', 'speed'})
    assert is_whole
    assert part == mapping
