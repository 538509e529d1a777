"""The node between a robot's topics and Gazebo, with MuJoCo in Gazebo's place.

The headless robot, in the namespace ``base``, has the topics that the bridge gives; what holds
things is played by the test. With Gazebo itself: ``test/launch/test_gazebo_launch.py``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from geometry_msgs.msg import Twist
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import ToolResult
from rclpy.node import Node
from std_msgs.msg import Empty, String
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.bringup import config_path, gazebo_robot, headless_robot, nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient
from nemotron_ros.sim.referee import Reported, Truth, disagreements
from nemotron_ros.sim.world import flat
from nemotron_ros.spinning import spinning
from nemotron_ros.tools.tool_file import load

TOOL_FILE = config_path('tools', 'headless_robot.yaml')
SCRIPT = """
- when: come closer
  calls: [{name: drive, arguments: {direction: forward, distance_m: 0.4}}]
- when: look left
  calls: [{name: turn, arguments: {direction: left, angle_deg: 90}}]
- when: bring the ball
  calls: [{name: pick_up, arguments: {object: ball}}, {name: go_to, arguments: {place: hall}},
          {name: put_down, arguments: {}}]
- when: charge
  calls: [{name: dock, arguments: {}}]
- when: say it
  calls: [{name: say, arguments: {text: Hello.}}, {name: get_battery, arguments: {}},
          {name: look_ahead, arguments: {}}]
- when: '"status"'
  text: Done.
"""


class Gripper:
    """Holds and releases as Gazebo's detachable joints do; everything is attached at first."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.released: set[str] = set()
        self._states = {
            thing.name: node.create_publisher(String, f'base/state/{thing.name}', 10)
            for thing in flat().things
        }
        self._services = {
            verb: node.create_client(Trigger, f'base/gripper/{verb}') for verb in ('close', 'open')
        }
        for name in self._states:
            for verb in ('grasp', 'release'):
                node.create_subscription(
                    Empty, f'base/{verb}/{name}', lambda _, n=name, v=verb: self._do(v, n), 10
                )

    def _do(self, verb: str, name: str) -> None:
        if verb == 'release' and name in self.released:
            return
        (self.released.discard if verb == 'grasp' else self.released.add)(name)
        self._services['close' if verb == 'grasp' else 'open'].call_async(Trigger.Request())
        self._states[name].publish(String(data='attached' if verb == 'grasp' else 'detached'))


class Simulation:
    """What the tests ask of it."""

    def __init__(self, node: Node, gripper: Gripper) -> None:
        self.node, self.gripper = node, gripper
        self._truth = node.create_client(Trigger, 'base/sim/truth')
        self.reported = node.create_client(Trigger, 'sim/truth')
        self._commands = CommandClient(node)

    def truth(self, client: Any = None) -> Truth:
        """Ask the physics."""
        client = client or self._truth
        assert until_true(client.service_is_ready, 20.0, CancelToken())
        future = client.call_async(Trigger.Request())
        assert until_done(future, 10.0, CancelToken())
        return Truth.parse(future.result().message)

    def obey(self, words: str) -> tuple[ExecuteCommand.Result, list[str]]:
        """Give a command; return its result, and where it and the physics disagree."""
        before = self.truth()
        self._commands.wait_ready(20.0)
        goal = ExecuteCommand.Goal(command=words, timeout_s=90.0)
        result = self._commands.send(goal, lambda _: None, CancelToken(100.0))
        time.sleep(0.5)
        calls = [
            Reported(call.name, json.loads(call.arguments), succeeded(call), True)
            for call in result.calls
        ]
        places: Any = load(TOOL_FILE).tables['places']
        return result, disagreements(before, self.truth(), calls, places)


def succeeded(call: Any) -> bool:
    return bool(call.result.status == ToolResult.STATUS_SUCCEEDED)


@pytest.fixture(scope='module')
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """Start everything."""
    folder = tmp_path_factory.mktemp('gazebo')
    script = folder / 'script.yaml'
    script.write_text(SCRIPT)
    processes = (
        headless_robot('base', use_sim_time=True, speed=2.0),
        gazebo_robot(),
        nemotron(TOOL_FILE, engine='scripted', script=str(script), use_sim_time=True),
    )
    children: list[subprocess.Popen[bytes]] = []
    with spinning('gazebo') as node:
        gripper = Gripper(node)
        try:
            for process in processes:
                with (folder / f'{process.name}_{len(children)}').open('w') as log:
                    children.append(process.start(log))
            yield Simulation(node, gripper)
        finally:
            for child in children:
                child.send_signal(signal.SIGINT)
            codes = [child.wait(20) for child in children]
        assert codes == [0, 0, 0]
        assert not [log for log in folder.iterdir() if 'Traceback' in log.read_text()]


def test_everything_is_let_go_at_first(simulation: Simulation) -> None:
    things = {thing.name for thing in flat().things}
    assert until_true(lambda: simulation.gripper.released == things, 20.0, CancelToken())


@pytest.mark.parametrize('words', ['come closer', 'look left', 'charge'])
def test_commands_move_it_as_reported(simulation: Simulation, words: str) -> None:
    result, lies = simulation.obey(words)
    assert result.status == ExecuteCommand.Result.STATUS_SUCCEEDED, result.calls
    assert lies == []


def test_it_fetches_and_carries(simulation: Simulation) -> None:
    result, lies = simulation.obey('bring the ball')
    assert result.status == ExecuteCommand.Result.STATUS_SUCCEEDED, result.calls
    assert lies == []
    assert 'ball' in simulation.gripper.released


def test_what_it_says_and_reads(simulation: Simulation) -> None:
    result, _ = simulation.obey('say it')
    assert simulation.truth(simulation.reported).heard == ('Hello.',)
    battery, ahead = (float(call.result.value) for call in result.calls[1:])
    assert battery == pytest.approx(87, abs=3)
    assert 0.05 < ahead <= 8.0


def test_a_velocity_that_is_not_renewed_ends(simulation: Simulation) -> None:
    velocity = simulation.node.create_publisher(Twist, 'cmd_vel', 10)
    assert until_true(lambda: velocity.get_subscription_count() > 0, 10.0, CancelToken())
    before = simulation.truth()
    twist = Twist()
    twist.angular.z = 0.5
    velocity.publish(twist)
    assert until_true(lambda: simulation.truth().speed_mps > 0.05, 5.0, CancelToken())
    assert until_true(lambda: simulation.truth().speed_mps < 0.01, 5.0, CancelToken())
    assert abs(simulation.truth().yaw - before.yaw) < 0.6
