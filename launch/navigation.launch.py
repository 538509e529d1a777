"""Starts Nav2 in the simulated flat, for the robot of ``gazebo.launch.py`` or ``demo.launch.py``.

::

    ros2 launch nemotron_ros gazebo.launch.py navigation:=nav2     # includes this file
    ros2 launch nemotron_ros navigation.launch.py use_sim_time:=false

It is nav2_bringup's own ``bringup_launch.py``, with a map that is made of the flat's plan and with
the parameters of ``config/nav2/flat.yaml`` over those of the installed release.
"""

import shutil
import tempfile
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnShutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource

from nemotron_ros.bringup import Setting, config_path, declared, given
from nemotron_ros.sim.navigation import write

SETTINGS = {
    'use_sim_time': Setting('Take the time from /clock, as the robot does.', bool, 'true'),
    'nav2_params_file': Setting(
        'Parameters that are laid over those of nav2_bringup.',
        default=str(config_path('nav2', 'flat.yaml')),
    ),
}


def generate_launch_description() -> LaunchDescription:
    """Describe Nav2's bring-up and its arguments."""
    return LaunchDescription([*declared(SETTINGS), OpaqueFunction(function=_navigation)])


def _navigation(context: LaunchContext) -> list[object]:
    """Return Nav2 with what is made for it."""
    asked = given(context, SETTINGS)
    ours = Path(asked['nav2_params_file'])
    if not ours.is_file():
        raise FileNotFoundError(f'nav2_params_file: there is no {ours}')
    try:
        share = Path(get_package_share_directory('nav2_bringup'))
    except PackageNotFoundError:
        raise FileNotFoundError(
            'navigation: the package nav2_bringup is not there; '
            'install ros-$ROS_DISTRO-nav2-bringup'
        ) from None
    folder = Path(tempfile.mkdtemp(prefix='nemotron_nav2_'))
    files = write(folder, share, ours)
    bringup = PythonLaunchDescriptionSource(str(share / 'launch/bringup_launch.py'))
    arguments = files.arguments(asked['use_sim_time'])
    return [
        RegisterEventHandler(
            OnShutdown(on_shutdown=lambda *_: shutil.rmtree(folder, ignore_errors=True))
        ),
        # It has arguments of the same names as our own launch files: neither hears the other's.
        GroupAction(
            [IncludeLaunchDescription(bringup, launch_arguments=arguments.items())],
            forwarding=False,
        ),
    ]
