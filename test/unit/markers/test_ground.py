"""Where the places of a tool file are, by the tool files that are shipped and by small ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from nemotron_ros.bringup import config_path
from nemotron_ros.markers.ground import Ground, ground_of
from nemotron_ros.tools.tool_file import load

TOOLS = """\
robot: bench
tables:
  places: {kitchen: {x: 1.0, y: 2.0, yaw: 0.5}, hall: {x: 2.0, y: 0.0, yaw: 0.0}}
  winds: {north: {x: 0, y: 1}}
tools:
  go_to:
    description: Go to a place.
    parameters: {place: {enum: "{{ places }}"}, wind: {enum: "{{ winds }}"}}
    topic:
      name: goal_pose
      type: geometry_msgs/msg/PoseStamped
      message: {header: {frame_id: odom}, pose: {position: "{{ {'x': places[place].x} }}",
                orientation: {w: "{{ winds[wind].x }}"}}}
"""


def ground(folder: Path, old: str = '', new: str = '') -> Ground:
    """Return what is drawn of the small file, with a piece of it replaced."""
    assert old in TOOLS
    path = folder / 'tools.yaml'
    path.write_text(TOOLS.replace(old, new) if old else TOOLS)
    return ground_of(load(path))


@pytest.mark.parametrize(
    ('file', 'frame', 'names', 'robot'),
    [
        ('headless_robot', 'odom', {'kitchen', 'living_room', 'bedroom', 'hall'}, 'base_link'),
        ('turtlebot4_nav2', 'map', {'dock', 'kitchen', 'desk', 'door'}, 'base_link'),
        ('mavros_drone', 'map', {'home', 'mast', 'gate'}, 'base_link'),
        ('moveit_arm', '', set(), 'base_link'),
    ],
)
def test_the_shipped_files(file, frame, names, robot):
    found = ground_of(load(config_path('tools', f'{file}.yaml')))
    assert {place.name for place in found.places} == names
    assert {place.frame for place in found.places} <= {frame}
    assert found.robot_frame == robot


def test_a_place_is_where_the_file_says(tmp_path):
    kitchen, _ = ground(tmp_path).places
    assert (kitchen.x, kitchen.y, kitchen.z, kitchen.yaw) == (1.0, 2.0, 0.0, 0.5)
    assert (kitchen.frame, kitchen.tools) == ('odom', {'go_to'})


def test_without_a_heading_there_is_none(tmp_path):
    kitchen, hall = ground(tmp_path, 'y: 2.0, yaw: 0.5', 'y: 2.0, z: 3.0').places
    assert (kitchen.z, kitchen.yaw) == (3.0, None)
    assert hall.yaw == 0.0


def test_where_the_tool_names_no_frame_the_fence_does(tmp_path):
    assert ground(tmp_path, 'header: {frame_id: odom}, ', '').places[0].frame == 'map'
    fence = (
        'limits: {fence: {frame: site, rectangle: {x: [0, 1], y: [0, 1]}, '
        'pose: {topic: odom, type: nav_msgs/msg/Odometry}}}\ntools:'
    )
    path = tmp_path / 'tools.yaml'
    path.write_text(path.read_text().replace('tools:', fence))
    found = ground_of(load(path))
    assert found.places[0].frame == 'site'
    assert found.fence is not None


def test_a_table_that_no_position_is_made_of_has_no_places(tmp_path):
    found = ground(tmp_path, '"{{ {\'x\': places[place].x} }}"', '{x: 1.0}')
    assert found.places == ()


def test_a_call_goes_where_its_tool_goes(tmp_path):
    found = ground(tmp_path)
    goal = found.goal('go_to', {'place': 'hall', 'wind': 'north'})
    assert goal is not None
    assert goal.name == 'hall'
    assert found.goal('go_to', {'place': 'attic'}) is None
    assert found.goal('say', {'text': 'hall'}) is None


def test_the_robot_is_where_the_file_looks_it_up(tmp_path):
    reads = TOOLS + (
        '  where:\n    description: Tell where it is.\n'
        '    read: {transform: {target: map, source: torso}, max_age_s: 1}\n'
    )
    path = tmp_path / 'tools.yaml'
    path.write_text(reads)
    assert ground_of(load(path)).robot_frame == 'torso'
