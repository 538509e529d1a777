"""The limits, the fence and the stop of the shipped tool file, with a robot that has a weight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from ros_context import Ros
from threads import in_thread

from nemotron_ros.bridge.conditions import ConditionChecker
from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.bringup import config_path
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.sim.node import HeadlessRobot
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.tool_file import load

SHIPPED = config_path('tools', 'headless_robot.yaml').read_text()
FENCE = 'rectangle: {x: [-3.8, 3.8], y: [-2.8, 2.8]}'
START_X = -2.5


@pytest.fixture
def drive(ros: Ros, tmp_path: Path) -> Iterator[Callable[..., SimpleNamespace]]:
    """Give a function that makes a robot with a changed tool file, and what drives it."""
    closers = []

    def make(old: str = FENCE, new: str = FENCE, battery: float = 0.8) -> SimpleNamespace:
        assert SHIPPED.count(old) == 1
        path = tmp_path / 'tools.yaml'
        path.write_text(SHIPPED.replace(old, new))
        tool_file = load(path)
        ros.add(
            HeadlessRobot(
                context=ros.context, parameter_overrides=[Parameter('battery', value=battery)]
            )
        )
        executor = RosExecutor(ros.node('bridge'), tool_file)
        closers.append(executor.close)
        guard = Guard(tool_file, unmet=ConditionChecker(executor.clients, tool_file))
        dispatcher = Dispatcher(tool_file, guard, executor)
        seen: list[Odometry] = []
        sent: list[float] = []
        outside = ros.node('outside')
        outside.create_subscription(Odometry, 'odom', seen.append, 10)
        outside.create_subscription(Twist, 'cmd_vel', lambda m: sent.append(m.linear.x), 100)

        def run(name: str, **arguments: object) -> ToolResult:
            call = ToolCall('1', name, arguments)
            return dispatcher.run(call, frozenset(tool_file.tools), CancelToken(60.0))

        return SimpleNamespace(run=run, seen=seen, sent=sent, dispatcher=dispatcher)

    yield make
    for close in closers:
        close()


def x(robot: SimpleNamespace) -> float:
    return robot.seen[-1].pose.pose.position.x


def test_the_fence_ends_a_drive_soon_after_the_line(drive, eventually) -> None:
    robot = drive(new='rectangle: {x: [-3.8, -2.0], y: [-2.8, 2.8]}')
    result = robot.run('drive', direction='forward', distance_m=3.0)
    assert result.status is Status.FAILED
    assert 'm is outside the fence' in result.error
    eventually(lambda: abs(robot.seen[-1].twist.twist.linear.x) < 0.01)
    assert robot.sent[-1] == 0.0
    assert -2.0 < x(robot) < -1.8
    assert robot.run('drive', direction='backward', distance_m=0.3).status is Status.DENIED


def test_a_place_outside_the_fence_is_not_gone_to(drive) -> None:
    robot = drive(new='rectangle: {x: [-3.8, -2.0], y: [-2.8, 2.8]}')
    result = robot.run('go_to', place='kitchen')
    assert (result.status, result.error) == (
        Status.DENIED,
        'limits: goal_pose.pose.position: (2.5, 1.6) m is outside the fence',
    )
    time.sleep(0.3)
    assert x(robot) == pytest.approx(START_X, abs=0.01)


def test_a_speed_over_the_cap_is_not_driven(drive) -> None:
    robot = drive(old='drive_mps: 0.3', new='drive_mps: 0.5')
    result = robot.run('drive', direction='forward', distance_m=1.0)
    assert (result.status, result.error) == (
        Status.DENIED,
        'limits: cmd_vel.linear: 0.5 m/s is over the limit of 0.35 m/s',
    )
    assert robot.sent == []


def test_with_an_empty_battery_it_does_not_begin(drive) -> None:
    robot = drive(battery=0.04)
    result = robot.run('drive', direction='forward', distance_m=1.0)
    assert result.status is Status.DENIED
    assert result.error.startswith('requires: battery_ok: battery_state: is 0.0')
    assert robot.run('say', text='help').status is Status.SUCCEEDED


def test_a_stop_ends_what_the_robot_does_by_itself(drive, eventually) -> None:
    robot = drive()
    result = in_thread(lambda: robot.run('go_to', place='kitchen'))
    eventually(lambda: robot.seen and x(robot) > START_X + 0.1, timeout_s=15.0)
    assert robot.dispatcher.stop('stop', 2.0)
    assert result().status is Status.CANCELED
    eventually(lambda: abs(robot.seen[-1].twist.twist.linear.x) < 0.01)
    stood_at = x(robot)
    time.sleep(0.5)
    assert x(robot) == pytest.approx(stood_at, abs=0.02)
