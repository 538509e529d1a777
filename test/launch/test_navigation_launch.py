"""navigation.launch.py by ROS 2's own launch, and Nav2 driving the robot where both are there."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import launch_pytest
import pytest
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription, LogInfo, SetLaunchConfiguration
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from nemotron_msgs.action import ExecuteCommand
from std_srvs.srv import Trigger

from nemotron_ros.sim.referee import Truth
from nemotron_ros.sim.world import flat

LAUNCH_FILES = Path(__file__).resolve().parents[2] / 'launch'
SCRIPT = """
- when: into the hall
  calls: [{name: go_to, arguments: {place: hall}}]
- when: '"status"'
  text: Done.
"""
BRINGUP = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo
from launch.substitutions import LaunchConfiguration

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument('log_level', default_value='info'),
        LogInfo(msg=['Nav2: ', LaunchConfiguration('log_level')]),
        LogInfo(msg=['Nav2: ', LaunchConfiguration('params_file')]),
    ])
"""


def missing() -> str:
    """Return what of Gazebo and Nav2 is not on this machine; empty if it is all there."""
    if not any(shutil.which(name) for name in ('gz', 'ign')):
        return 'Gazebo is not here: there is no program gz or ign'
    for package in ('ros_gz_bridge', 'nav2_bringup'):
        try:
            get_package_prefix(package)
        except PackageNotFoundError:
            return f'the package {package} is not here'
    return ''


def test_neither_hears_the_arguments_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    share = tmp_path / 'share/nav2_bringup'
    for path, text in (
        (share / 'launch/bringup_launch.py', BRINGUP),
        (share / 'params/nav2_params.yaml', 'amcl: {ros__parameters: {}}\n'),
        (tmp_path / 'share/ament_index/resource_index/packages/nav2_bringup', ''),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path), prepend=os.pathsep)
    file = str(LAUNCH_FILES / 'navigation.launch.py')
    service = LaunchService()
    service.include_launch_description(
        LaunchDescription(
            [
                SetLaunchConfiguration('params_file', 'ours.yaml'),
                SetLaunchConfiguration('log_level', ''),
                IncludeLaunchDescription(PythonLaunchDescriptionSource(file)),
                LogInfo(msg=['we: ', LaunchConfiguration('params_file')]),
            ]
        )
    )
    assert service.run() == 0
    said = ''.join(capfd.readouterr())
    assert 'Nav2: info' in said
    assert 'nav2.yaml' in said
    assert 'we: ours.yaml' in said


@launch_pytest.fixture
def gazebo(launched: Any, tmp_path: Path) -> LaunchDescription:
    """Start everything without a window, with a script for the engine."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT)
    return launched.describe(
        'gazebo.launch.py', navigation='nav2', engine='scripted', script=script
    )


@pytest.mark.skipif(bool(missing()), reason=missing() or 'it is here')
@pytest.mark.timeout(300)
@pytest.mark.launch(fixture=gazebo)
def test_nav2_drives_the_robot_to_a_place(launched: Any, outside: Any) -> Any:
    assert outside.is_active('nemotron', 60.0)
    assert outside.is_active('bt_navigator', 90.0)
    result = outside.obey('into the hall')
    assert result.status == ExecuteCommand.Result.STATUS_SUCCEEDED
    truth = Truth.parse(outside.call(Trigger, 'sim/truth', timeout_s=60.0).message)
    hall = flat().places['hall']
    assert math.hypot(truth.x - hall.x, truth.y - hall.y) < 0.2
    yield
    assert launched.exit_codes['nemotron_node'] == launched.exit_codes['gazebo_robot'] == 0
