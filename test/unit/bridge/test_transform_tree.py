"""Frames joined: through their common parent, up, down and across."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_ros.bridge.transform_tree import Transform, TransformError, TransformTree

LEFT = (0.0, 0.0, math.sin(math.pi / 4), math.cos(math.pi / 4))
STRAIGHT = (0.0, 0.0, 0.0, 1.0)


def robot() -> TransformTree:
    """Return a base 2 m ahead of the map's origin, turned left, with a camera 0.5 m ahead."""
    tree = TransformTree()
    tree.put('map', 'odom', Transform((1.0, 0.0, 0.0), STRAIGHT, 10.0))
    tree.put('odom', 'base', Transform((1.0, 0.0, 0.0), LEFT, 12.0))
    tree.put('base', 'camera', Transform((0.5, 0.0, 0.3), STRAIGHT))
    tree.put('base', 'laser', Transform((-0.5, 0.0, 0.0), STRAIGHT))
    return tree


@pytest.mark.parametrize(
    ('target', 'source', 'expected', 'received_s'),
    [
        ('map', 'base', (2.0, 0.0, 0.0), 10.0),
        ('odom', 'camera', (1.0, 0.5, 0.3), 12.0),
        ('base', 'odom', (0.0, 1.0, 0.0), 12.0),
        ('laser', 'camera', (1.0, 0.0, 0.3), math.inf),
        ('/map', '/map', (0.0, 0.0, 0.0), math.inf),
    ],
)
def test_looks_up(target, source, expected, received_s):
    found = robot().look_up(target, source)
    assert found.translation == pytest.approx(expected)
    assert found.received_s == received_s


def test_rotation_is_that_of_the_source_in_the_target():
    assert robot().look_up('map', 'camera').rotation == pytest.approx(LEFT)
    back = robot().look_up('camera', 'map').rotation
    assert back == pytest.approx((0.0, 0.0, -LEFT[2], LEFT[3]))


@pytest.mark.parametrize(
    ('target', 'source', 'word'),
    [
        ('map', 'bse', "did you mean 'base'"),
        ('moon', 'base', "'moon'"),
        ('map', 'cup', 'not connected'),
    ],
)
def test_what_is_not_known_is_named(target, source, word):
    tree = robot()
    tree.put('table', 'cup', Transform((0.0, 0.0, 0.0), STRAIGHT))
    with pytest.raises(TransformError, match=word):
        tree.look_up(target, source)


def test_a_circle_is_told_and_not_walked_for_ever():
    tree = robot()
    tree.put('base', 'map', Transform((0.0, 0.0, 0.0), STRAIGHT))
    with pytest.raises(TransformError, match='circle'):
        tree.look_up('map', 'camera')


def test_what_is_no_transform_is_dropped():
    tree = robot()
    for bad in (
        Transform((math.nan, 0.0, 0.0), STRAIGHT),
        Transform((math.inf, 0.0, 0.0), STRAIGHT),
        Transform((9.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
    ):
        tree.put('map', 'odom', bad)
    tree.put('odom', 'odom', Transform((9.0, 0.0, 0.0), STRAIGHT))
    assert tree.look_up('map', 'odom').translation == (1.0, 0.0, 0.0)


numbers = st.floats(-10, 10)
quaternions = (
    st.tuples(numbers, numbers, numbers, numbers)
    .filter(lambda q: math.hypot(*q) > 0.1)
    .map(lambda q: tuple(part / math.hypot(*q) for part in q))
)
transforms = st.builds(Transform, st.tuples(numbers, numbers, numbers), quaternions)


@given(transforms, transforms)
def test_there_and_back_is_where_it_began(first, second):
    tree = TransformTree()
    tree.put('a', 'b', first)
    tree.put('b', 'c', second)
    tree.put('c', 'd', tree.look_up('c', 'a'))  # hangs an image of a on c
    found = tree.look_up('a', 'd')
    assert found.translation == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert abs(found.rotation[3]) == pytest.approx(1.0, abs=1e-6)
