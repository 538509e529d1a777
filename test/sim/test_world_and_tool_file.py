"""What the tool file says of the flat and of the robot is so."""

from __future__ import annotations

import math
from dataclasses import asdict
from itertools import pairwise

import pytest
from flat_robot import robot_at

from nemotron_ros.bringup import config_path
from nemotron_ros.sim.route import is_free
from nemotron_ros.sim.velocity import MAX_SPEED_MPS, MAX_TURN_RADPS
from nemotron_ros.sim.world import flat
from nemotron_ros.tools.templates import evaluate
from nemotron_ros.tools.tool_file import load

TOOL_FILE = load(config_path('tools', 'headless_robot.yaml'))


def enum(tool: str, parameter: str) -> list[str]:
    """Return the values that a tool takes."""
    return list(TOOL_FILE.tools[tool].spec.parameters['properties'][parameter]['enum'])


def test_places_are_those_of_the_flat():
    told = TOOL_FILE.tables['places']
    assert list(told) == list(flat().places)
    for name, pose in flat().places.items():
        assert told[name] == pytest.approx(asdict(pose), abs=0.001), name


def test_go_to_takes_every_place():
    assert enum('go_to', 'place') == list(flat().places)


def test_pick_up_takes_every_thing():
    assert sorted(enum('pick_up', 'object')) == sorted(thing.name for thing in flat().things)


def test_speeds_are_within_what_the_robot_does():
    speed = TOOL_FILE.tables['speed']
    assert 0 < speed['drive_mps'] <= MAX_SPEED_MPS
    assert 0 < speed['turn_radps'] <= MAX_TURN_RADPS


def test_bounds_end_within_the_flat():
    drive = TOOL_FILE.tools['drive'].spec.parameters['properties']['distance_m']
    assert drive['maximum'] < 2 * max(flat().half_x, flat().half_y)


@pytest.mark.parametrize('name', [*flat().places, 'dock', 'start'])
def test_robot_can_stand_at_every_place(name):
    pose = {**flat().places, 'dock': flat().dock, 'start': flat().start}[name]
    assert is_free(flat(), pose.x, pose.y)


def test_things_lie_where_a_robot_can_come():
    for thing in flat().things:
        angles = [i * math.pi / 8 for i in range(16)]
        around = [
            (thing.x + 0.4 * math.cos(angle), thing.y + 0.4 * math.sin(angle)) for angle in angles
        ]
        assert any(is_free(flat(), x, y) for x, y in around), thing.name


def test_nothing_lies_in_the_furniture():
    for thing in flat().things:
        for box in (*flat().walls, *flat().furniture):
            assert box.distance_m(thing.x, thing.y) > max(thing.size), (thing.name, box.name)


def test_names_are_unique():
    world = flat()
    names = sorted(part.name for part in (*world.walls, *world.furniture, *world.things))
    assert all(a != b for a, b in pairwise(names))


@pytest.mark.parametrize(('yaw', 'metres'), [(0.0, 1.32), (-math.pi / 2, 1.75), (0.6, 1.84)])
def test_look_ahead_tells_what_is_before_the_robot(yaw, metres):
    # The cabinet is before it, the south wall on its right; turned somewhat to the left, a
    # cone of sixteen degrees to either side no longer sees the cabinet, but the wall.
    ranges = robot_at(2.2, -1.2, yaw).scan().tolist()
    told = evaluate(TOOL_FILE.tools['look_ahead'].binding.value, {'ranges': ranges})
    assert told == pytest.approx(metres, abs=0.02)
