"""What a tool file maps to a message is held against the type without arguments."""

from __future__ import annotations

import math
from typing import Any

import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovariance, Twist
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Empty
from test_msgs.msg import Arrays, BoundedSequences

from nemotron_ros.bridge.mapping import check_mapping


class Later:
    """Stands where a template does: a value that isn't known yet."""


LATER = Later()


@pytest.mark.parametrize(
    ('message_class', 'data'),
    [
        (Twist, {}),
        (Twist, LATER),
        (Twist, {'linear': LATER}),
        (Twist, {'linear': {'x': LATER, 'y': 0}, 'angular': {'z': 0.5}}),
        (PoseStamped, {'header': {'frame_id': 'map'}, 'pose': LATER}),
        (PoseWithCovariance, {'covariance': [LATER] + 35 * [0.0]}),
        (PoseWithCovariance, {'covariance': 36 * [0.0]}),
        (PointCloud2, {'fields': [LATER, {'name': LATER, 'datatype': 7}]}),
        (Image, {'data': 'AAAA'}),
        (Image, {'data': [1, LATER]}),
        (Empty, {}),
    ],
)
def test_what_may_fit_is_passed(message_class: type[Any], data: Any) -> None:
    assert check_mapping(message_class, data, 'message') == []


@pytest.mark.parametrize(
    ('message_class', 'data', 'faults'),
    [
        (
            Twist,
            {'linear': {'x': 'fast', 'y': LATER, 'w': LATER}, 'angluar': {'z': LATER}},
            [
                "message.linear.x: expected a finite number, got 'fast'",
                'message.linear.w: no such field in geometry_msgs/msg/Vector3; it has x, y, z',
                'message.angluar: no such field in geometry_msgs/msg/Twist; did you mean angular?',
            ],
        ),
        (
            Twist,
            None,
            ['message: expected the fields of geometry_msgs/msg/Twist by name, got None'],
        ),
        (
            Twist,
            {'linear': [LATER]},
            ['message.linear: expected the fields of geometry_msgs/msg/Vector3 by name, got [<'],
        ),
        (Twist, {'linear': {'x': math.inf}}, ['message.linear.x: expected a finite number']),
        (Twist, {'linear': {'x': {'a': LATER}}}, ['message.linear.x: expected a finite number']),
        (PoseWithCovariance, {'covariance': [LATER]}, ['message.covariance: expected 36 items']),
        (
            Arrays,
            {'int8_values': [LATER, 'a'], 'bool_values': [True, LATER, 1]},
            [
                'message.int8_values: expected 3 items, got 2',
                'message.int8_values[1]: expected an integer from -128 to 127',
                'message.bool_values[2]: expected true or false, got 1',
            ],
        ),
        (
            BoundedSequences,
            {'basic_types_values': [{'int8_value': LATER}, {'int9_value': LATER}, LATER, LATER]},
            [
                'message.basic_types_values: expected at most 3 items, got 4',
                'message.basic_types_values[1].int9_value: no such field in',
            ],
        ),
        (Image, {'data': '?'}, ["message.data: expected base64, got '?'"]),
        (Image, {'data': [LATER, 300]}, ['message.data[1]: expected an integer from 0 to 255']),
        (Image, {'data': {}}, ['message.data: expected base64 or an array of integers, got {}']),
        (Empty, {'x': LATER}, ['message.x: no such field in std_msgs/msg/Empty']),
    ],
)
def test_every_fault_is_told(message_class: type[Any], data: Any, faults: list[str]) -> None:
    found = check_mapping(message_class, data, 'message')
    assert len(found) == len(faults)
    for line, beginning in zip(found, faults, strict=True):
        assert line.startswith(beginning)


def test_a_mapping_without_a_path_begins_with_the_field() -> None:
    assert check_mapping(Twist, {'x': 1}, '') == [
        'x: no such field in geometry_msgs/msg/Twist; it has linear, angular'
    ]
