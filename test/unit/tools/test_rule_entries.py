"""What a tool file says of safety: what it gives, and a line for each thing that is wrong."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nemotron_ros.tools.conditions import TransformCondition, fault_of_value
from nemotron_ros.tools.estop import EStop, Heartbeat
from nemotron_ros.tools.limits import MotionLimits
from nemotron_ros.tools.model import Rules, ToolFile
from nemotron_ros.tools.tool_file import ToolFileError, load

TOOL = """\
robot: r
tools:
  honk: {{description: Honk., topic: {{name: horn, type: std_msgs/msg/Empty}}, guard: {guard}}}
"""
FENCE = '{frame: map, rectangle: {x: [-1, 2], y: [-3, 4]}, pose: {topic: o, type: ' + (
    'nav_msgs/msg/Odometry}}'
)


def read(tmp_path: Path, more: str = '', guard: str = '{}') -> ToolFile:
    path = tmp_path / 'tools.yaml'
    path.write_text(TOOL.format(guard=guard) + more)
    return load(path)


def problem(tmp_path: Path, more: str = '', guard: str = '{}') -> str:
    with pytest.raises(ToolFileError) as caught:
        read(tmp_path, more, guard)
    (line,) = caught.value.problems
    return line.partition(': ')[2]


def test_without_a_word_of_it_there_is_no_rule(tmp_path: Path) -> None:
    tool_file = read(tmp_path)
    assert tool_file.tools['honk'].rules == Rules()
    assert (tool_file.limits, tool_file.estop) == (MotionLimits(), EStop())
    assert tool_file.conditions == {}


def test_rules_of_a_tool(tmp_path: Path) -> None:
    guard = (
        '{max_per_minute: 5, max_per_command: 2, max_in_flight: 1, exclusive: motion, '
        'requires: [up], confirm: true}'
    )
    conditions = 'conditions: {up: {topic: tilt, type: std_msgs/msg/Bool, max_age_s: 1}}'
    rules = read(tmp_path, conditions, guard).tools['honk'].rules
    assert rules == Rules(5, 'motion', 2, 1, ('up',), 30.0)
    longer = read(tmp_path, '', '{confirm: true, confirm_within_s: 60}')
    assert longer.tools['honk'].rules.confirm_within_s == 60


def test_conditions(tmp_path: Path) -> None:
    conditions = read(
        tmp_path,
        """
conditions:
  charged: {topic: battery, type: sensor_msgs/msg/BatteryState, value: "{{ percentage }}",
            minimum: 0.2, maximum: 1.2, max_age_s: 5}
  localised: {transform: {target: map, source: base_link}, max_age_s: 2}
""",
    ).conditions
    charged = conditions['charged']
    assert (charged.minimum, charged.maximum, charged.max_age_s) == (0.2, 1.2, 5)
    assert conditions['localised'] == TransformCondition('localised', 'map', 'base_link', 2)


def test_limits(tmp_path: Path) -> None:
    limits = read(
        tmp_path, f'limits: {{max_linear_mps: 0.5, max_angular_radps: 1, fence: {FENCE}}}'
    ).limits
    assert (limits.max_linear_mps, limits.max_angular_radps) == (0.5, 1)
    assert limits.fence is not None
    assert limits.fence.corners == ((-1, -3), (2, -3), (2, 4), (-1, 4))
    assert (limits.fence.low_m, limits.fence.high_m) == (-math.inf, math.inf)
    assert (limits.fence.frame, limits.fence.max_silence_s) == ('map', 1.0)


def test_estop(tmp_path: Path) -> None:
    heartbeat = '{topic: alive, type: std_msgs/msg/Empty, max_silence_s: 0.5}'
    assert read(tmp_path, f'estop: {{topic: e_stop, heartbeat: {heartbeat}}}').estop == EStop(
        'e_stop', Heartbeat('alive', 'std_msgs/msg/Empty', 0.5)
    )


@pytest.mark.parametrize(
    ('guard', 'told'),
    [
        (
            '{max_per_comand: 1}',
            'tools.honk.guard.max_per_comand: is not known here; did you mean ',
        ),
        ('{max_per_command: 0}', 'tools.honk.guard.max_per_command: expected a number from 1'),
        ('{max_per_command: 1.5}', 'tools.honk.guard.max_per_command: expected a whole number'),
        ('{max_in_flight: true}', 'tools.honk.guard.max_in_flight: expected a number'),
        ('{requires: up}', 'tools.honk.guard.requires: expected a list'),
        ('{requires: [up]}', "tools.honk.guard.requires[0]: there is no condition 'up'; add"),
        ('{requires: [3]}', 'tools.honk.guard.requires[0]: there is no condition 3'),
        ("{confirm: 'yes'}", 'tools.honk.guard.confirm: expected true or false'),
        ('{confirm: 1}', 'tools.honk.guard.confirm: expected true or false'),
        ('{confirm_within_s: 5}', 'tools.honk.guard.confirm_within_s: needs confirm: true'),
        ('{confirm: true, confirm_within_s: 0}', 'tools.honk.guard.confirm_within_s: expected'),
    ],
)
def test_what_is_wrong_with_a_guard(tmp_path: Path, guard: str, told: str) -> None:
    assert problem(tmp_path, guard=guard).startswith(told)


POSE = 'pose: {topic: o, type: nav_msgs/msg/Odometry}'


@pytest.mark.parametrize(
    ('more', 'told'),
    [
        ('limits: {max_linear: 1}', 'limits.max_linear: is not known here; did you mean'),
        ('limits: {max_linear_mps: 0}', 'limits.max_linear_mps: expected a number'),
        ('limits: {max_linear_mps: -1}', 'limits.max_linear_mps: expected a number'),
        ('limits: {max_linear_mps: "1"}', 'limits.max_linear_mps: expected a number'),
        ('limits: {fence: {frame: map, ' + POSE + '}}', 'limits.fence: expected polygon or rect'),
        (
            'limits: {fence: {frame: map, polygon: [[0, 0], [1, 0]], ' + POSE + '}}',
            'limits.fence.polygon: expected at least 3 corners',
        ),
        (
            'limits: {fence: {frame: map, polygon: [[0, 0], [1, 1], [1, 0], [0, 1]], '
            + POSE
            + '}}',
            'limits.fence.polygon: the side from (1.0, 0.0) to (0.0, 1.0) crosses',
        ),
        (
            'limits: {fence: {frame: map, polygon: [[0, 0], [1, 0], [1]], ' + POSE + '}}',
            'limits.fence.polygon[2]: expected 2 numbers',
        ),
        (
            'limits: {fence: {frame: map, polygon: [[0, 0], [1, 0], [1, x]], ' + POSE + '}}',
            'limits.fence.polygon[2][1]: expected a number',
        ),
        (
            'limits: {fence: {frame: map, rectangle: {x: [1, -1], y: [0, 1]}, ' + POSE + '}}',
            'limits.fence.rectangle.x: expected the lower number first',
        ),
        (
            'limits: {fence: {frame: map, rectangle: {x: [0, 1]}, ' + POSE + '}}',
            'limits.fence.rectangle: y is missing',
        ),
        (
            'limits: {fence: {frame: map, rectangle: {x: [0, 1], y: [0, 1]}}}',
            'limits.fence: pose is missing',
        ),
        (
            'limits: {fence: {frame: map, rectangle: {x: [0, 1], y: [0, 1]}, '
            'pose: {topic: o, type: std_msgs/msg/Empty}}}',
            'limits.fence.pose.type: expected nav_msgs/msg/Odometry or',
        ),
        ('estop: {topic: "e stop"}', "estop.topic: 'e stop' is no ROS name"),
        ('estop: {heartbeat: {topic: a, type: std_msgs/msg/Empty}}', 'estop.heartbeat: max_sil'),
        ('conditions: {Up: {}}', 'conditions.Up: expected a name'),
        ('conditions: {up: {topic: t, type: a/msg/B}}', 'conditions.up: expected max_age_s, val'),
        (
            'conditions: {up: {topic: t, type: a/msg/B, max_age_s: 1, minimum: 1}}',
            'conditions.up.minimum: needs value',
        ),
        (
            'conditions: {up: {topic: t, type: a/msg/B, value: 1, minimum: 2, maximum: 1}}',
            'conditions.up.minimum: 2 is above maximum',
        ),
        (
            'conditions: {up: {topic: t, type: a/msg/B, value: 1, minimum: 2, equals: 1}}',
            'conditions.up.equals: expected equals, or',
        ),
        (
            'conditions: {up: {topic: t, type: a/msg/B, value: "{{ 1 + }}"}}',
            'conditions.up.value: ',
        ),
        (
            'conditions: {up: {transform: {target: map, source: base}}}',
            'conditions.up: max_age_s is missing',
        ),
        ('conditions: {up: {transform: {target: map}, max_age_s: 1}}', 'conditions.up.transform:'),
    ],
)
def test_what_is_wrong_with_the_rest(tmp_path: Path, more: str, told: str) -> None:
    assert problem(tmp_path, more).startswith(told)


@pytest.mark.parametrize(
    ('bounds', 'value', 'holds'),
    [
        ('minimum: 0.2', 0.2, True),
        ('minimum: 0.2', 0.19, False),
        ('maximum: 0.2', 0.2, True),
        ('maximum: 0.2', 0.21, False),
        ('minimum: 0', math.nan, False),
        ('minimum: 0', math.inf, False),
        ('minimum: 0', True, False),
        ('minimum: 0', 'x', False),
        ('minimum: 0', None, False),
        ('equals: 4', 4, True),
        ('equals: 4', 5, False),
        ('equals: 1', True, False),
        ('equals: idle', 'idle', True),
        ('equals: idle', 'busy', False),
        ('max_age_s: 1', True, True),  # must be true
        ('max_age_s: 1', False, False),
        ('max_age_s: 1', 1, False),
    ],
)
def test_a_value_is_as_it_must_be(tmp_path: Path, bounds: str, value: object, holds: bool) -> None:
    more = f'conditions: {{up: {{topic: t, type: a/msg/B, value: "{{{{ v }}}}", {bounds}}}}}'
    condition = read(tmp_path, more).conditions['up']
    assert (fault_of_value(condition, value) == '') == holds
