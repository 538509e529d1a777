"""The tool file of a MAVROS drone flies one, where mavros_msgs is installed."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('mavros_msgs.srv', reason='mavros_msgs is not installed')

from geometry_msgs.msg import PoseStamped, TwistStamped
from mavros_msgs.msg import State
from mavros_msgs.srv import CommandBool, CommandLong, CommandTOL
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import BatteryState
from tool_caller import tool_caller

from nemotron_ros.bringup import config_path
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

PERIOD_S = 0.02
REACH_M = 0.1
"""How far it comes within a period on its way to a set point: faster than any drone."""


class Drone:
    """Flies to set points and with velocities, and says where it is, as MAVROS does."""

    def __init__(self, node: Node) -> None:
        self.at_m = [0.0, 0.0, 2.0]
        self.speed_mps = [0.0, 0.0, 0.0]
        self.mode = 'GUIDED'
        self.asked: list[str] = []
        self._goal: list[float] | None = None
        self._pose = node.create_publisher(
            PoseStamped, 'mavros/local_position/pose', qos_profile_sensor_data
        )
        self._state = node.create_publisher(State, 'mavros/state', 10)
        self._battery = node.create_publisher(
            BatteryState, 'mavros/battery', qos_profile_sensor_data
        )
        node.create_subscription(
            TwistStamped, 'mavros/setpoint_velocity/cmd_vel', self._take_velocity, 10
        )
        node.create_subscription(
            PoseStamped, 'mavros/setpoint_position/local', self._take_goal, 10
        )
        for name, kind in {
            'arming': CommandBool,
            'takeoff': CommandTOL,
            'land': CommandTOL,
            'command': CommandLong,
        }.items():
            node.create_service(kind, f'mavros/cmd/{name}', self._obey(name))
        node.create_timer(PERIOD_S, self._step)
        node.create_timer(0.2, self._tell)

    @property
    def hovers(self) -> bool:
        """Whether it was told last to stay where it is."""
        return self._goal is None and self.speed_mps == [0.0, 0.0, 0.0]

    def _obey(self, name: str) -> Any:
        def serve(_: Any, answer: Any) -> Any:
            self.asked.append(name)
            answer.success = True
            return answer

        return serve

    def _take_velocity(self, message: TwistStamped) -> None:
        linear = message.twist.linear
        self.speed_mps, self._goal = [linear.x, linear.y, linear.z], None

    def _take_goal(self, message: PoseStamped) -> None:
        position = message.pose.position
        self._goal = [position.x, position.y, position.z]

    def _step(self) -> None:
        if self._goal is None:
            steps = [speed * PERIOD_S for speed in self.speed_mps]
        else:
            ways = [to - at for to, at in zip(self._goal, self.at_m, strict=True)]
            steps = [max(-REACH_M, min(REACH_M, way)) for way in ways]
        self.at_m = [at + step for at, step in zip(self.at_m, steps, strict=True)]
        message = PoseStamped()
        message.header.frame_id = 'map'
        position = message.pose.position
        position.x, position.y, position.z = self.at_m
        self._pose.publish(message)

    def _tell(self) -> None:
        self._state.publish(State(connected=True, mode=self.mode))
        self._battery.publish(BatteryState(percentage=0.8))


@pytest.fixture
def robot(ros) -> Iterator[SimpleNamespace]:
    """Give a drone in the air, and a function that calls its tools."""
    drone = Drone(ros.node('mavros'))
    tool_file = load(config_path('tools', 'mavros_drone.yaml'))
    with tool_caller(ros.node('bridge'), tool_file) as call:
        yield SimpleNamespace(drone=drone, call=call)


def test_it_flies_and_hovers_at_the_end_of_each_flight(robot, eventually) -> None:
    for name, arguments in (
        ('arm', {}),
        ('take_off', {'height_m': 3.0}),
        ('climb', {'direction': 'up', 'height_m': 0.5}),
        ('fly', {'towards': 'north', 'distance_m': 0.8}),
        ('fly_to', {'place': 'gate'}),
    ):
        result = robot.call(name, **arguments)
        assert (result.status, result.error) == (Status.SUCCEEDED, ''), name
        eventually(lambda: robot.drone.hovers)
    assert robot.drone.at_m == pytest.approx([-8.0, 12.0, 4.0], abs=0.6)
    assert robot.call('get_height').value == pytest.approx(4.0, abs=0.6)
    assert robot.drone.asked == ['arming', 'takeoff']


def test_the_fence_ends_a_flight_and_a_landing_can_be_had_beyond_it(robot, eventually) -> None:
    robot.drone.at_m = [19.9, 0.0, 4.0]
    result = robot.call('fly', towards='east', distance_m=5.0)
    assert result.status is Status.FAILED
    assert 'outside the fence' in result.error
    eventually(lambda: robot.drone.hovers)
    assert robot.call('climb', direction='up', height_m=1.0).status is Status.DENIED
    for name in ('land', 'return_home'):
        assert robot.call(name).status is Status.SUCCEEDED
    assert robot.drone.asked == ['land', 'command']


def test_nothing_flies_in_another_mode(robot) -> None:
    robot.drone.mode = 'LOITER'
    result = robot.call('fly', towards='east', distance_m=1.0)
    assert result.status is Status.DENIED
    assert 'guided' in result.error
    assert robot.drone.hovers
