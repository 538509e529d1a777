"""Three robots under namespaces obey at once, by one server that all of them ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import launch_pytest
import pytest

pytest.importorskip('mujoco', reason='mujoco, the physics of the headless robot, is not there')

from launch import LaunchDescription
from nemotron_msgs.action import ExecuteCommand
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.client import CommandClient
from nemotron_ros.sim.referee import Truth, distance_m

ROOT = Path(__file__).resolve().parents[2]
ROBOTS = ('robot_1', 'robot_2', 'robot_3')
DRIVE = ToolCall('', 'drive', {'direction': 'forward', 'distance_m': 0.4})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server for all of them, whose model drives."""
    monkeypatch.syspath_prepend(str(ROOT / 'test/engine'))
    from server import ScriptedServer, Turn

    one = ScriptedServer('vllm')
    one.script.turn = Turn(calls=(DRIVE,))
    thread = threading.Thread(target=one.serve_on, daemon=True)
    thread.start()
    yield one
    one.stop()
    thread.join(5)


@launch_pytest.fixture
def fleet(launched, server) -> LaunchDescription:
    """Start the example."""
    url = f'http://127.0.0.1:{server.server_address[1]}'
    file = str(ROOT / 'examples/fleet/fleet.launch.py')
    return launched.describe(file, engine='vllm', url=url, max_turns=1)


@pytest.mark.launch(fixture=fleet)
def test_each_moves_by_its_own_command_and_no_other(outside, server):
    def truth(robot: str) -> Any:
        return Truth.parse(outside.call(Trigger, f'{robot}/sim/truth').message)

    for robot in ROBOTS:
        assert outside.is_active(f'{robot}/nemotron')
    before = {robot: truth(robot) for robot in ROBOTS}
    told = outside.obey('come closer', 'robot_2/nemotron')
    assert [call.name for call in told.calls] == ['drive']
    ways = {robot: distance_m(before[robot], truth(robot)) for robot in ROBOTS}
    assert ways == pytest.approx({'robot_1': 0.0, 'robot_2': 0.4, 'robot_3': 0.0}, abs=0.1)

    ended: list[Any] = []
    threads = [
        threading.Thread(target=lambda robot=robot: ended.append(obeyed(outside, robot)))
        for robot in ('robot_1', 'robot_3')
    ]
    for thread in threads:
        thread.start()
    assert until_true(lambda: len(ended) == 2, 30.0, CancelToken())
    ways = {robot: distance_m(before[robot], truth(robot)) for robot in ROBOTS}
    assert ways == pytest.approx(dict.fromkeys(ROBOTS, 0.4), abs=0.1)
    assert len(server.script.asked) >= 3


def obeyed(outside: Any, robot: str) -> Any:
    """Give a command from a client of the thread's own."""
    client = CommandClient(outside.node, f'{robot}/nemotron')
    client.wait_ready(20.0)
    goal = ExecuteCommand.Goal(command='come closer')
    result = client.send(goal, lambda _: None, CancelToken(30.0))
    client.close()
    return result
