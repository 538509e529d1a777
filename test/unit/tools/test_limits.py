"""Speed caps and the fence: what is over, what is outside, and what is no fence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_ros.tools.limits import Fence, fault_of_polygon, outside, too_fast

SQUARE = ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0))
# An L: the corner at the upper right is missing.
ELL = ((0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 1.0), (1.0, 2.0), (0.0, 2.0))


def fence(corners=SQUARE, low_m=-math.inf, high_m=math.inf) -> Fence:
    return Fence('map', corners, 'odom', 'nav_msgs/msg/Odometry', 1.0, low_m, high_m)


@pytest.mark.parametrize(
    ('parts', 'most', 'over'),
    [
        ((0.5,), 0.5, False),
        ((-0.5,), 0.5, False),
        ((0.50001,), 0.5, True),
        ((-0.50001,), 0.5, True),
        ((0.3, 0.4, 0.0), 0.5, False),
        ((0.4, 0.4, 0.0), 0.5, True),  # each part is below it, the whole is not
        ((math.nan,), 0.5, True),
        ((0.0, math.nan, 0.0), 0.5, True),
        ((-math.inf,), 0.5, True),
        ((99.0,), None, False),
    ],
)
def test_speed_is_the_length_of_the_velocity(parts, most, over) -> None:
    assert bool(too_fast(parts, most, 'm/s')) == over


def test_the_numbers_are_told() -> None:
    assert too_fast((3.0, 4.0), 0.5, 'm/s') == '5 m/s is over the limit of 0.5 m/s'
    assert outside(fence(), 'map', 3, 1, 0) == '(3, 1) m is outside the fence'


@pytest.mark.parametrize(
    ('corners', 'x', 'y', 'inside'),
    [
        (SQUARE, 1, 1, True),
        (SQUARE, 0, 0, True),  # the border is inside
        (SQUARE, 2, 1, True),
        (SQUARE, 2.0001, 1, False),
        (SQUARE, -0.0001, 1, False),
        (SQUARE, 1, 3, False),
        (ELL, 0.5, 1.5, True),
        (ELL, 1.5, 1.5, False),
        (ELL, 1.0, 1.5, True),
        (ELL, 1.5, 0.5, True),
        (SQUARE[::-1], 1, 1, True),  # clockwise is as good
        (SQUARE[::-1], 3, 1, False),
        (SQUARE, math.nan, 1, False),
        (SQUARE, 1, math.nan, False),
        (SQUARE, math.inf, 1, False),
    ],
)
def test_inside_and_outside(corners, x, y, inside) -> None:
    assert (outside(fence(corners), 'map', x, y, 0) == '') == inside


@pytest.mark.parametrize('frame', ['', 'odom', '/map', 'Map', 'map '])
def test_a_point_in_another_frame_can_not_be_inside(frame: str) -> None:
    assert 'frame' in outside(fence(), frame, 1, 1, 0)


@pytest.mark.parametrize(
    ('z', 'inside'), [(0.5, True), (2, True), (0.4, False), (2.1, False), (math.nan, False)]
)
def test_height(z: float, inside: bool) -> None:
    assert (outside(fence(low_m=0.5, high_m=2), 'map', 1, 1, z) == '') == inside


coordinates = st.floats(-5, 5)


@given(coordinates, coordinates)
def test_a_rectangle_is_what_lies_between_its_sides(x: float, y: float) -> None:
    assert (outside(fence(), 'map', x, y, 0) == '') == (0 <= x <= 2 and 0 <= y <= 2)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=3), coordinates)
def test_what_lies_beyond_every_corner_is_outside(corners, x) -> None:
    beyond = max(cx for cx, _ in corners) + 1 + abs(x)
    assert outside(fence(tuple(corners)), 'map', beyond, corners[0][1], 0) != ''


@pytest.mark.parametrize(
    ('corners', 'word'),
    [
        (SQUARE, ''),
        (ELL, ''),
        (((0, 0), (1, 0), (2, 0), (2, 2), (0, 2)), ''),  # a corner on a straight side
        ((), 'at least 3'),
        (SQUARE[:2], 'at least 3'),
        (((0, 0), (0, 0), (1, 1)), 'twice'),
        (((0, 0), (1, 0), (1, 1), (0, 0)), 'twice'),
        (((0, 0), (2, 2), (2, 0), (0, 2)), 'crosses'),  # a bow tie
        (((0, 0), (2, 0), (1, 0)), 'lies on'),
        (((0, 0), (2, 0), (2, 2), (1, 0), (0, 2)), 'crosses'),  # touches itself
    ],
)
def test_a_polygon_has_one_inside(corners, word: str) -> None:
    fault = fault_of_polygon(corners)
    assert (word in fault) if word else fault == ''
