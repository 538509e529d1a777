"""The tool file of a ros2_control base drives a base: conditions, limits, fence and evidence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from tool_caller import tool_caller

from nemotron_ros.bringup import config_path
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

PERIOD_S = 0.02


class Base:
    """Moves as it is told, and says where it is, as diff_drive_controller does."""

    def __init__(self, node: Node, x_m: float) -> None:
        self.x_m, self.y_m, self.yaw_rad = x_m, 0.0, 0.0
        self._speed = (0.0, 0.0)
        self._odometry = node.create_publisher(Odometry, 'diff_drive_controller/odom', 1)
        node.create_subscription(TwistStamped, 'diff_drive_controller/cmd_vel', self._take, 1)
        node.create_timer(PERIOD_S, self._step)

    @property
    def stands(self) -> bool:
        """Whether the last command was to stand still."""
        return self._speed == (0.0, 0.0)

    def _take(self, command: TwistStamped) -> None:
        self._speed = (command.twist.linear.x, command.twist.angular.z)

    def _step(self) -> None:
        speed_mps, turn_radps = self._speed
        self.yaw_rad += turn_radps * PERIOD_S
        self.x_m += speed_mps * PERIOD_S * math.cos(self.yaw_rad)
        self.y_m += speed_mps * PERIOD_S * math.sin(self.yaw_rad)
        message = Odometry()
        message.header.frame_id = 'odom'
        pose = message.pose.pose
        pose.position.x, pose.position.y = self.x_m, self.y_m
        pose.orientation.z, pose.orientation.w = (
            math.sin(self.yaw_rad / 2),
            math.cos(self.yaw_rad / 2),
        )
        self._odometry.publish(message)


@pytest.fixture
def robot(ros, request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    """Give a base, where it is said to stand, and a function that calls its tools."""
    tool_file = load(config_path('tools', 'ros2_control_base.yaml'))
    base = Base(ros.node('diff_drive_controller'), getattr(request, 'param', 0.0))
    with tool_caller(ros.node('bridge'), tool_file) as call:
        yield SimpleNamespace(base=base, call=call)


def test_it_drives_turns_and_tells_where_it_is(robot, eventually) -> None:
    result = robot.call('drive', direction='forward', distance_m=0.2)
    assert (result.status, result.error) == (Status.SUCCEEDED, '')
    eventually(lambda: robot.base.stands)
    assert 0.17 <= robot.base.x_m <= 0.3
    assert robot.call('turn', direction='right', angle_deg=20).status is Status.SUCCEEDED
    eventually(lambda: robot.base.stands)
    assert -35 <= math.degrees(robot.base.yaw_rad) <= -16
    told = robot.call('get_position').value
    assert told['x_m'] == pytest.approx(robot.base.x_m, abs=0.02)
    assert told['heading_deg'] == pytest.approx(math.degrees(robot.base.yaw_rad), abs=1)


@pytest.mark.parametrize('robot', [4.95], indirect=True)
def test_the_fence_ends_the_drive_and_the_base_stands(robot, eventually) -> None:
    result = robot.call('drive', direction='forward', distance_m=1.0)
    assert result.status is Status.FAILED
    assert 'outside the fence' in result.error
    eventually(lambda: robot.base.stands)
    assert robot.base.x_m < 5.2
