"""gazebo.launch.py: its arguments everywhere, the robot in Gazebo where Gazebo is."""

from __future__ import annotations

import math
import os
import runpy
import shutil
from pathlib import Path
from typing import Any

import launch_pytest
import pytest

pytest.importorskip('mujoco', reason='mujoco, which the driver of the robot needs, is not there')

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from nemotron_msgs.action import ExecuteCommand
from std_srvs.srv import Trigger

from nemotron_ros.sim.gazebo_world import OF_ROS, RELEASES
from nemotron_ros.sim.referee import Truth, distance_m, turned_rad

LAUNCH_FILES = Path(__file__).resolve().parents[2] / 'launch'
SCRIPT = """
- when: come closer
  calls: [{name: drive, arguments: {direction: forward, distance_m: 0.4}}]
- when: look behind you
  calls: [{name: turn, arguments: {direction: left, angle_deg: 90}}]
- when: bring the ball
  calls: [{name: pick_up, arguments: {object: ball}}, {name: go_to, arguments: {place: hall}},
          {name: put_down, arguments: {}}]
- when: '"status"'
  text: Done.
"""
SUCCEEDED = ExecuteCommand.Result.STATUS_SUCCEEDED


def missing() -> str:
    """Return what of Gazebo is not on this machine; empty if it is all there."""
    programs = [name for name in ('gz', 'ign') if shutil.which(name)]
    if not programs:
        return 'Gazebo is not here: there is no program gz or ign'
    try:
        get_package_prefix('ros_gz_bridge')
    except PackageNotFoundError:
        return 'the package ros_gz_bridge is not here'
    return ''


needs_gazebo = pytest.mark.skipif(bool(missing()), reason=missing() or 'it is here')


@launch_pytest.fixture
def gazebo(launched, tmp_path) -> LaunchDescription:
    """Start everything without a window, with a script for the engine."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT)
    return launched.describe('gazebo.launch.py', engine='scripted', script=script)


@needs_gazebo
@pytest.mark.timeout(300)
@pytest.mark.launch(fixture=gazebo)
def test_commands_move_the_robot_in_gazebo(launched, outside):
    def truth() -> Any:
        return Truth.parse(outside.call(Trigger, 'sim/truth', timeout_s=60.0).message)

    assert outside.is_active('nemotron', 60.0)
    start = truth()
    assert (start.x, start.y) == pytest.approx((-2.5, -1.3), abs=0.05)
    assert outside.obey('come closer').status == SUCCEEDED
    closer = truth()
    assert distance_m(start, closer) == pytest.approx(0.4, abs=0.12)
    assert outside.obey('look behind you').status == SUCCEEDED
    assert turned_rad(closer, truth()) == pytest.approx(math.pi / 2, abs=0.2)
    assert outside.obey('bring the ball').status == SUCCEEDED
    there = truth()
    assert (there.x, there.y) == pytest.approx((2.2, -1.2), abs=0.15)
    assert there.holding == ''
    yield
    assert launched.exit_codes['nemotron_node'] == launched.exit_codes['gazebo_robot'] == 0
    assert not [pid for pid in launched.pids.values() if Path(f'/proc/{pid}').exists()]


@launch_pytest.fixture
def stand_in(launched, tmp_path, monkeypatch) -> LaunchDescription:
    """Start everything, with programs that only wait in the places of Gazebo and its bridge."""
    programs = tmp_path / 'bin/gz', tmp_path / 'lib/ros_gz_bridge/parameter_bridge'
    for program in programs:
        program.parent.mkdir(parents=True)
        program.write_text('#!/bin/sh\necho "$*"\nexec sleep 600\n')
        program.chmod(0o755)
    index = tmp_path / 'share/ament_index/resource_index/packages/ros_gz_bridge'
    index.parent.mkdir(parents=True)
    index.touch()
    (tmp_path / 'worlds').mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'worlds'))
    monkeypatch.setenv('PATH', str(programs[0].parent), prepend=os.pathsep)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path), prepend=os.pathsep)
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT)
    return launched.describe(
        'gazebo.launch.py', gazebo='harmonic', engine='scripted', script=script, namespace='lab'
    )


@pytest.mark.launch(fixture=stand_in)
def test_what_is_started_and_that_it_ends(launched, outside, tmp_path):
    assert outside.is_active('lab/nemotron')
    assert outside.call(Trigger, 'lab/sim/truth').success
    (world,) = (tmp_path / 'worlds').glob('nemotron_gazebo_*/flat.sdf')
    assert launched.output['gazebo'].strip() == f'sim -r -s --headless-rendering {world}'
    assert '-r __ns:=/lab' in launched.output['parameter_bridge']
    yield
    assert launched.exit_codes['nemotron_node'] == launched.exit_codes['gazebo_robot'] == 0
    assert not [pid for pid in launched.pids.values() if Path(f'/proc/{pid}').exists()]
    assert not world.parent.exists()


def described() -> LaunchDescription:
    """Return what the launch file describes."""
    return runpy.run_path(str(LAUNCH_FILES / 'gazebo.launch.py'))['generate_launch_description']()


def begin(**arguments: str) -> None:
    """Do what the launch file does up to the start of Gazebo."""
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    for entity in described().entities:
        entity.visit(context)
        if isinstance(entity, OpaqueFunction):
            return


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'gazebo': 'classic'}, "gazebo: expected fortress or harmonic or ionic, got 'classic'"),
        ({'window': 'maybe'}, "window: expected true or false, got 'maybe'"),
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f'^{message}$'):
        begin(**arguments)


@pytest.mark.parametrize('release', RELEASES)
def test_a_gazebo_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str
) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r'^gazebo: .* is not there; install ros-'):
        begin(gazebo=release)


def test_without_the_bridge_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / 'gz').write_text('')
    (tmp_path / 'gz').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(FileNotFoundError, match='package ros_gz_bridge is not there; install'):
        begin(gazebo='harmonic')


@pytest.mark.parametrize('ros', OF_ROS)
def test_the_release_is_that_of_this_ros(monkeypatch: pytest.MonkeyPatch, ros: str) -> None:
    monkeypatch.setenv('ROS_DISTRO', ros)
    arguments = {argument.name: argument for argument in described().get_launch_arguments()}
    context = LaunchContext()
    default = ''.join(part.perform(context) for part in arguments['gazebo'].default_value)
    assert default == OF_ROS[ros]
    assert all(argument.description.endswith('.') for argument in arguments.values())
