"""The tool file of a TurtleBot 4 sends Nav2 and the base their goals, where they are installed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('nav2_msgs.action', reason='nav2_msgs is not installed')
pytest.importorskip('irobot_create_msgs.action', reason='irobot_create_msgs is not installed')
pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is not installed')

from geometry_msgs.msg import TransformStamped
from irobot_create_msgs.action import Dock, Undock
from irobot_create_msgs.msg import DockStatus
from nav2_msgs.action import DriveOnHeading, NavigateToPose, Spin
from rclpy.action import ActionServer
from sensor_msgs.msg import BatteryState
from tf2_msgs.msg import TFMessage
from tool_caller import tool_caller

from nemotron_ros.bringup import config_path
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

ACTIONS = {
    'navigate_to_pose': NavigateToPose,
    'drive_on_heading': DriveOnHeading,
    'spin': Spin,
    'dock': Dock,
    'undock': Undock,
}


@pytest.fixture
def robot(ros) -> Iterator[SimpleNamespace]:
    """Give what a robot was sent, and a function that calls its tools."""
    node = ros.node('turtlebot4')
    goals: dict[str, Any] = {}

    def serve(name: str, kind: Any) -> Callable[[Any], Any]:
        def execute(goal: Any) -> Any:
            goals[name] = goal.request
            goal.succeed()
            result = kind.Result()
            if name == 'dock':
                result.is_docked = True
            return result

        return execute

    for name, kind in ACTIONS.items():
        ActionServer(node, kind, name, serve(name, kind))
    battery = node.create_publisher(BatteryState, 'battery_state', 10)
    docked = node.create_publisher(DockStatus, 'dock_status', 10)
    transforms = node.create_publisher(TFMessage, '/tf', 100)

    def tell() -> None:
        battery.publish(BatteryState(percentage=0.64))
        docked.publish(DockStatus(is_docked=False))
        transform = TransformStamped(child_frame_id='base_link')
        transform.header.frame_id = 'map'
        transforms.publish(TFMessage(transforms=[transform]))

    node.create_timer(0.1, tell)
    tool_file = load(config_path('tools', 'turtlebot4_nav2.yaml'))
    with tool_caller(ros.node('bridge'), tool_file) as call:
        yield SimpleNamespace(goals=goals, call=call)


def test_each_tool_sends_its_goal_in_si_units(robot) -> None:
    for name, arguments, value in (
        ('go_to', {'place': 'kitchen'}, 'there'),
        ('drive', {'direction': 'backward', 'distance_m': 0.5}, 'done'),
        ('turn', {'direction': 'right', 'angle_deg': 90}, 'done'),
        ('dock', {}, 'docked'),
        ('undock', {}, 'undocked'),
        ('get_battery', {}, 64),
        ('is_docked', {}, False),
    ):
        result = robot.call(name, **arguments)
        assert (result.status, result.value) == (Status.SUCCEEDED, value), (name, result.error)
    goals = robot.goals
    assert goals['navigate_to_pose'].pose.header.frame_id == 'map'
    assert goals['navigate_to_pose'].pose.pose.position.y == 1.8
    assert goals['drive_on_heading'].target.x == -0.5
    assert goals['drive_on_heading'].speed == pytest.approx(-0.2)
    assert goals['drive_on_heading'].time_allowance.sec == 10
    assert goals['spin'].target_yaw == pytest.approx(-math.pi / 2)
