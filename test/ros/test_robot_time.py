"""Motions under /clock: rate, length and limit are of the robot's time, and a wall bounds them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time
from ros_context import Ros
from rosgraph_msgs.msg import Clock
from servers import VelocityLog

from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.bridge.robot_time import RobotTime
from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.tool_file import load

TOOLS = """
robot: bench
tools:
  drive:
    description: Drive for a time.
    parameters:
      seconds: {type: number, minimum: 0.1, maximum: 100}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,
            message: {linear: {x: 0.2}}, for_s: "{{ seconds }}", then: {}}
    guard: {exclusive: motion}
  drive_to:
    description: Drive until odom says so.
    parameters:
      within_s: {type: number, minimum: 0.1, maximum: 100}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20, message: {linear: {x: 0.2}},
            until: {topic: odom, type: nav_msgs/msg/Odometry, when: "{{ false }}",
                    within_s: "{{ within_s }}"},
            then: {}}
    guard: {exclusive: motion}
"""


class Simulation:
    """A clock that goes as fast as it is told, and odometry that never gets anywhere."""

    def __init__(self, node: Node, speed: float) -> None:
        self.speed = speed
        self.time_s = 100.0
        self._clock = node.create_publisher(Clock, '/clock', 10)
        self._odom = node.create_publisher(Odometry, 'odom', 10)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last_s = time.monotonic()
        while not self._over.wait(0.002):
            now_s = time.monotonic()
            self.time_s += (now_s - last_s) * self.speed
            last_s = now_s
            stamp = Time(nanoseconds=round(self.time_s * 1e9)).to_msg()
            self._clock.publish(Clock(clock=stamp))
            self._odom.publish(Odometry())

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join()


@pytest.fixture
def simulate(ros: Ros) -> Iterator[Callable[[float], Simulation]]:
    """Give a function that starts a simulation."""
    started: list[Simulation] = []

    def start(speed: float) -> Simulation:
        started.append(Simulation(ros.node('simulation'), speed))
        return started[-1]

    yield start
    for simulation in started:
        simulation.close()


def sim_time_node(ros: Ros) -> Node:
    """Return a node that takes its time from /clock."""
    return ros.add(
        Node(
            'bridge',
            context=ros.context,
            parameter_overrides=[Parameter('use_sim_time', value=True)],
        )
    )


@pytest.fixture
def run(ros: Ros, tmp_path: Path) -> Iterator[Callable[..., ToolResult]]:
    """Give a function that runs a call on a node with ``use_sim_time``."""
    path = tmp_path / 'tools.yaml'
    path.write_text(TOOLS)
    tool_file = load(path)
    executor = RosExecutor(sim_time_node(ros), tool_file)
    dispatcher = Dispatcher(tool_file, Guard(tool_file), executor)

    def call(name: str, **arguments: object) -> ToolResult:
        return dispatcher.run(
            ToolCall('1', name, arguments),
            frozenset(tool_file.tools),
            CancelToken(20.0),
            lambda _: None,
        )

    yield call
    executor.close()


def timed(
    run: Callable[..., ToolResult], name: str, **arguments: object
) -> tuple[ToolResult, float]:
    """Run a call; return its result, and how long it took on the wall."""
    began_s = time.monotonic()
    result = run(name, **arguments)
    return result, time.monotonic() - began_s


def test_a_motion_in_fast_time_is_as_long_for_the_robot(ros, run, simulate, eventually):
    log = VelocityLog(ros.node('base'))
    simulate(8.0)
    run('drive', seconds=0.5)  # everybody knows everybody
    began = len(log.speeds)
    result, took_s = timed(run, 'drive', seconds=8.0)
    assert result.status is Status.SUCCEEDED
    assert took_s == pytest.approx(1.0, abs=0.5)
    eventually(lambda: log.speeds[-1] == 0.0)
    # 20 a second of the robot's time; a busy machine leaves some out, and sends none too many.
    assert 80 < log.speeds[began:].count(0.2) <= 163


def test_a_motion_in_slow_time_is_not_cut_short(run, ros, simulate):
    VelocityLog(ros.node('base'))
    simulate(0.5)
    result, took_s = timed(run, 'drive', seconds=0.6)
    assert result.status is Status.SUCCEEDED
    assert took_s > 1.1


def test_evidence_is_waited_for_in_fast_time(run, ros, simulate):
    VelocityLog(ros.node('base'))
    simulate(10.0)
    result, took_s = timed(run, 'drive_to', within_s=10.0)
    assert result.status is Status.TIMED_OUT
    assert 0.9 < took_s < 3.0


def test_evidence_is_waited_for_no_longer_on_the_wall_in_slow_time(run, ros, simulate):
    VelocityLog(ros.node('base'))
    simulate(0.1)
    result, took_s = timed(run, 'drive_to', within_s=1.0)
    assert result.status is Status.TIMED_OUT
    assert 0.9 < took_s < 3.0


def test_a_clock_that_stands_still_ends_the_motion(ros, run, simulate, eventually):
    log = VelocityLog(ros.node('base'))
    simulation = simulate(1.0)
    assert run('drive', seconds=0.3).status is Status.SUCCEEDED
    simulation.speed = 0.0
    result, took_s = timed(run, 'drive', seconds=100.0)
    assert (result.status, result.error) == (
        Status.FAILED,
        '/clock stands still; the motion was ended',
    )
    assert took_s < 4.0
    eventually(lambda: log.speeds[-1] == 0.0)


def test_without_a_clock_no_motion_goes_on(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    result, _ = timed(run, 'drive', seconds=1.0)
    assert (result.status, '/clock' in str(result.error)) == (Status.FAILED, True)
    eventually(lambda: log.speeds[-1] == 0.0)


@pytest.mark.parametrize('to_s', [1.0, 5000.0], ids=['back', 'forward'])
def test_time_that_jumps_has_not_passed(ros, simulate, to_s):
    clock = RobotTime(sim_time_node(ros))
    simulation = simulate(1.0)
    begin = clock.now().robot_s
    assert until_true(lambda: clock.now().robot_s > begin + 0.2, 10.0, CancelToken())
    before = clock.now()
    simulation.time_s = to_s
    readings = []
    for _ in range(100):
        readings.append(clock.now().robot_s)
        CancelToken().wait(0.005)
    assert readings == sorted(readings)
    # It goes on from where it was: neither back nor forth by what the clock has jumped.
    assert before.robot_s <= readings[-1] < before.robot_s + 2.0
    assert until_true(lambda: clock.now().robot_s > readings[-1], 10.0, CancelToken())


def test_without_sim_time_both_clocks_are_one(ros):
    clock = RobotTime(ros.node('bridge'))
    first = clock.now()
    CancelToken().wait(0.1)
    then = clock.now()
    assert then.robot_s - first.robot_s == pytest.approx(then.wall_s - first.wall_s, abs=1e-6)
    assert clock.pause_s(7.0) == 7.0
    assert not clock.stands_still(first)
