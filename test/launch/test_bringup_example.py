"""A robot's own bring-up includes ours, in Python, XML and YAML alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import launch_pytest
import pytest

pytest.importorskip('mujoco', reason='mujoco, the physics of the headless robot, is not there')

from launch import LaunchDescription
from nemotron_msgs.action import ExecuteCommand
from std_srvs.srv import Trigger

from nemotron_ros.sim.referee import Truth, distance_m

EXAMPLE = Path(__file__).resolve().parents[2] / 'examples/bringup'
SCRIPT = """
- when: come closer
  calls: [{name: drive, arguments: {direction: forward, distance_m: 0.3}}]
- when: '"status"'
  text: Done.
"""


@launch_pytest.fixture(params=['py', 'xml', 'yaml'])
def bringup(request, launched, tmp_path) -> LaunchDescription:
    """Start the example, with a script for its engine and in a namespace of the test's."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT)
    return launched.describe(
        str(EXAMPLE / f'my_robot.launch.{request.param}'),
        namespace=f'robot_{request.param}',
        engine='scripted',
        script=script,
    )


@pytest.mark.parametrize('language', ['py', 'xml', 'yaml'])
def test_there_is_one_in(language: str) -> None:
    assert (EXAMPLE / f'my_robot.launch.{language}').is_file()


@pytest.mark.launch(fixture=bringup)
def test_included_node_moves_the_robot(launched, outside, request):
    robot = f'robot_{request.node.callspec.params["bringup"]}'

    def truth() -> Any:
        return Truth.parse(outside.call(Trigger, f'{robot}/sim/truth').message)

    assert outside.is_active(f'{robot}/nemotron')
    before = truth()
    result = outside.obey('come closer', f'{robot}/nemotron')
    assert result.status == ExecuteCommand.Result.STATUS_SUCCEEDED
    assert distance_m(before, truth()) == pytest.approx(0.3, abs=0.1)
    yield
    assert launched.exit_codes == {'headless_robot': 0, 'nemotron_node': 0}
