"""demo.launch.py starts a robot that truly moves, and the node that commands it."""

from __future__ import annotations

import math
import runpy
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
from nemotron_ros.sim.referee import Truth, distance_m, turned_rad

LAUNCH_FILES = Path(__file__).resolve().parents[2] / 'launch'
SCRIPT = """
- when: come closer
  calls: [{name: drive, arguments: {direction: forward, distance_m: 0.4}}]
- when: look behind you
  calls: [{name: turn, arguments: {direction: left, angle_deg: 90}}]
- when: '"status"'
  text: Done.
"""


def truth(outside: Any) -> Truth:
    """Ask the physics."""
    return Truth.parse(outside.call(Trigger, 'robot_1/sim/truth').message)


@launch_pytest.fixture
def robot(launched, tmp_path) -> LaunchDescription:
    """Start the robot in a namespace, and the node with a script for its engine."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT)
    return launched.describe(
        'demo.launch.py',
        namespace='robot_1',
        battery=0.5,
        top_view_path=tmp_path / 'view.png',
        engine='scripted',
        script=script,
    )


@pytest.mark.launch(fixture=robot)
def test_command_moves_the_robot_truly(launched, outside, tmp_path):
    assert outside.is_active('robot_1/nemotron')
    before = truth(outside)
    assert before.battery == pytest.approx(0.5, abs=0.01)

    result = outside.obey('come closer', 'robot_1/nemotron')
    assert (result.status, result.text) == (ExecuteCommand.Result.STATUS_SUCCEEDED, 'Done.')
    closer = truth(outside)
    assert distance_m(before, closer) == pytest.approx(0.4, abs=0.1)
    assert turned_rad(before, closer) == pytest.approx(0.0, abs=0.1)

    outside.obey('look behind you', 'robot_1/nemotron')
    turned = truth(outside)
    assert turned_rad(closer, turned) == pytest.approx(math.pi / 2, abs=0.15)
    assert distance_m(closer, turned) < 0.1

    assert outside.call(Trigger, 'robot_1/sim/top_view').success
    assert (tmp_path / 'view.png').stat().st_size > 0
    pids = launched.pids.values()
    assert all(Path(f'/proc/{pid}').exists() for pid in pids)
    yield
    assert launched.exit_codes == {'headless_robot': 0, 'nemotron_node': 0}
    assert not any(Path(f'/proc/{pid}').exists() for pid in pids)
    assert not [name for name, text in launched.output.items() if 'Traceback' in text]


@launch_pytest.fixture
def without_script(launched, tmp_path) -> LaunchDescription:
    """Start both, with a script that is not there."""
    return launched.describe('demo.launch.py', engine='scripted', script=tmp_path / 'none.yaml')


@pytest.mark.launch(fixture=without_script)
def test_robot_ends_with_the_node(launched, tmp_path):
    assert until_true(lambda: len(launched.exit_codes) == 2, 20.0, CancelToken())
    assert launched.exit_codes == {'headless_robot': 0, 'nemotron_node': 1}
    assert f'{tmp_path}/none.yaml' in launched.output['nemotron_node']


def test_demo_takes_the_arguments_of_both():
    demo, node = (arguments(f'{name}.launch.py') for name in ('demo', 'nemotron'))
    of_robot = {'speed', 'battery', 'top_view_path', 'publish_clock', 'robots', 'people'}
    noise = {'noise_seed', 'latency_s', 'dropout', 'dropout_s', 'wheel_slip'}
    assert set(demo) == set(node) | of_robot | noise | {'shut_doors', 'camera'}
    assert all(argument.description.endswith('.') for argument in demo.values())


def arguments(file: str) -> dict[str, Any]:
    """Return what a launch file declares, as ``ros2 launch --show-args`` finds it."""
    described = runpy.run_path(str(LAUNCH_FILES / file))
    found = described['generate_launch_description']().get_launch_arguments()
    return {argument.name: argument for argument in found}
