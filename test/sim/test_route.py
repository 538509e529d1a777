"""Routes through the flat: around everything, or none."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, permutations

import pytest

from nemotron_ros.sim.route import MARGIN_M, is_free, plan
from nemotron_ros.sim.world import ROBOT_RADIUS_M, Box, Pose, flat

STOPS = {**flat().places, 'dock': flat().dock, 'start': flat().start}


def gap_m(points: list[tuple[float, float]]) -> float:
    """Return how near a robot on this way comes to walls and furniture."""
    world = flat()
    nearest = math.inf
    for (ax, ay), (bx, by) in pairwise(points):
        steps = max(1, math.ceil(math.dist((ax, ay), (bx, by)) / 0.01))
        for i in range(steps + 1):
            x, y = ax + (bx - ax) * i / steps, ay + (by - ay) * i / steps
            for box in (*world.walls, *world.furniture):
                away_x = max(0.0, abs(x - box.x) - box.half_x)
                away_y = max(0.0, abs(y - box.y) - box.half_y)
                nearest = min(nearest, math.hypot(away_x, away_y) - ROBOT_RADIUS_M)
    return nearest


@pytest.mark.parametrize(('start', 'goal'), permutations(STOPS, 2))
def test_route_keeps_clear_of_everything(start, goal):
    a, b = STOPS[start], STOPS[goal]
    points = plan(flat(), a, b)
    assert points[-1] == (b.x, b.y)
    assert gap_m([(a.x, a.y), *points]) > 0.04


def test_route_in_open_space_is_a_straight_line():
    assert plan(flat(), Pose(-2.5, -1.5, 0), Pose(0.0, -1.5, 2.0)) == [(0.0, -1.5)]


def test_route_to_where_it_stands_ends_there():
    assert plan(flat(), Pose(2.2, -1.2, 0), Pose(2.2, -1.2, 1.0)) == [(2.2, -1.2)]


@pytest.mark.parametrize(
    'goal',
    [(-3.0, 2.25), (0.5, 2.0), (-4.0, 0.0), (9.0, 9.0), (3.8, -2.8), (1e308, 0.0), (0.0, -1e308)],
    ids=['on the bed', 'in a wall', 'in the west wall', 'outside', 'corner', 'far', 'farther'],
)
def test_no_route_to_where_it_can_not_stand(goal):
    assert plan(flat(), flat().start, Pose(*goal, 0.0)) == []


def test_no_route_through_a_closed_door():
    door = Box('door', -2.05, 0.5, 0.6, 0.05)
    world = replace(flat(), walls=(*flat().walls, door))
    assert plan(flat(), flat().start, flat().places['bedroom'])
    assert plan(world, flat().start, flat().places['bedroom']) == []
    assert plan(world, flat().start, flat().places['kitchen'])


@pytest.mark.parametrize(
    'start',
    [(-2.5, -2.75), (3.75, -0.5), (-1.9, 1.4), (-0.3, 1.5), (3.74, -2.74)],
    ids=['south wall', 'east wall', 'bed', 'wardrobe', 'corner'],
)
def test_route_begins_at_a_wall_that_the_robot_touches(start):
    goal = flat().places['hall']
    points = plan(flat(), Pose(*start, 0.0), goal)
    assert points[-1] == (goal.x, goal.y)
    # Away from the wall first, then with the usual air around it.
    assert gap_m(points) > 0.04
    assert gap_m([start, *points]) > min(0.04, gap_m([start, start]) - 0.01)


def test_free_is_where_robot_and_margin_fit():
    world = flat()
    wall_y = -world.half_y + 0.05
    least = ROBOT_RADIUS_M + MARGIN_M
    assert is_free(world, -2.5, wall_y + least + 0.06)
    assert not is_free(world, -2.5, wall_y + least - 0.01)
    assert is_free(world, -2.5, wall_y + least - 0.01, margin_m=0.0)
    assert not is_free(world, 4.5, 0.0)


@pytest.mark.parametrize(
    ('point', 'distance_m'),
    [((0, 0), 0), ((1, 2), 0), ((3, 0), 2), ((0, -5), 3), ((4, 6), 5), ((-4, -6), 5)],
)
def test_distance_to_a_box(point, distance_m):
    assert Box('box', 0, 0, 1, 2).distance_m(*point) == pytest.approx(distance_m)
