"""What a tool returns is JSON, whatever a template or a plugin hands over."""

from __future__ import annotations

import array
import json
import math
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Point
from sensor_msgs.msg import LaserScan

from nemotron_ros.bridge.values import fields_of, plain


@pytest.mark.parametrize(
    ('value', 'json_value'),
    [
        (np.float32(math.nan), 'NaN'),
        (np.float32(-math.inf), '-Infinity'),
        (np.float64(0.5), 0.5),
        (np.int8(-3), -3),
        (np.bool_(True), True),
        (np.array([1.0, math.nan]), [1.0, 'NaN']),
        (np.array([[1.0, math.inf], [2.0, 3.0]]), [[1.0, 'Infinity'], [2.0, 3.0]]),
        (np.array(['a', 'b']), ['a', 'b']),
        (np.array([True, False]), [True, False]),
        (np.array([2**63, 1], np.uint64), [2**63, 1]),
        (array.array('f', [0.5, math.inf]), [0.5, 'Infinity']),
        (array.array('B', [1, 2]), [1, 2]),
        (b'\x01\xff', 'Af8='),
        ({'near': [np.float32(math.inf), (1, Point(x=2.0))]},
         {'near': ['Infinity', [1, {'x': 2.0, 'y': 0.0, 'z': 0.0}]]}),
        ({1: None}, {'1': None}),
        ('text', 'text'),
    ],
)  # fmt: skip
def test_everything_becomes_json(value: Any, json_value: object) -> None:
    made = plain(value)
    assert made == json_value
    assert json.loads(json.dumps(made, allow_nan=False)) == json_value


def test_a_computation_that_went_wrong_is_not_spelled() -> None:
    assert isinstance(plain(math.nan), float)
    assert isinstance(plain([math.inf])[0], float)  # type: ignore[index]


def test_a_scan_with_nothing_in_reach_can_be_told() -> None:
    """Sensors say *nothing there* by infinity, which JSON has not."""
    scan = LaserScan(ranges=array.array('f', [1.5, math.inf]), range_max=math.inf)
    told = plain({'whole': scan, 'ranges': fields_of(scan)['ranges']})
    assert told['ranges'] == told['whole']['ranges'] == [1.5, 'Infinity']  # type: ignore[index]
    assert told['whole']['range_max'] == 'Infinity'  # type: ignore[index]
