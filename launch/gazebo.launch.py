"""Starts the flat in Gazebo, its robot, and the node that commands it.

::

    ros2 launch nemotron_ros gazebo.launch.py                   # no window, no graphics card
    ros2 launch nemotron_ros gazebo.launch.py window:=true

The world is made of the same data as the headless robot's, and the tool file is the same. It
takes the arguments of ``nemotron.launch.py`` as well. When one process ends, all do.
"""

import os
import shutil
import tempfile
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit, OnShutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from nemotron_ros.bringup import GAZEBO_ROBOT, Setting, config_path, gazebo_robot, launched
from nemotron_ros.parameters import DESCRIPTIONS
from nemotron_ros.sim.gazebo_world import OF_ROS, RELEASES, write

NEMOTRON = Path(__file__).with_name('nemotron.launch.py')
RELEASE = OF_ROS.get(os.environ.get('ROS_DISTRO', ''), 'harmonic')
SETTINGS = {
    'gazebo': Setting(
        f'Release of Gazebo: {", ".join(RELEASES)}.', default=RELEASE, choices=tuple(RELEASES)
    ),
    'window': Setting('Show it in a window.', bool, 'false'),
}
SIM_TIME = "Take the time from /clock, which is Gazebo's."


def generate_launch_description() -> LaunchDescription:
    """Describe Gazebo, its bridge, the robot and the node."""
    defaults = {
        'tool_file': str(config_path('tools', 'headless_robot.yaml')),
        'use_sim_time': 'true',
    }
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    name, default_value=value, description=DESCRIPTIONS.get(name, SIM_TIME)
                )
                for name, value in defaults.items()
            ),
            *(
                DeclareLaunchArgument(
                    name, default_value=setting.default, description=setting.description
                )
                for name, setting in SETTINGS.items()
            ),
            OpaqueFunction(function=_simulation),
            *launched(gazebo_robot, GAZEBO_ROBOT),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(NEMOTRON))),
            RegisterEventHandler(OnProcessExit(on_exit=[Shutdown(reason='a process ended')])),
        ]
    )


def _simulation(context: LaunchContext) -> list[object]:
    """Return Gazebo, in a world that is made for it, and its bridge."""
    given = {}
    for name, setting in SETTINGS.items():
        try:
            given[name] = setting.value(LaunchConfiguration(name).perform(context))
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None
    release = RELEASES[given['gazebo']]
    if shutil.which(release.program[0]) is None:
        raise FileNotFoundError(
            f'gazebo: {" ".join(release.program)} is not there; install '
            f'ros-$ROS_DISTRO-ros-gz, or name the release that is installed: gazebo:=...'
        )
    try:
        get_package_prefix('ros_gz_bridge')
    except PackageNotFoundError:
        raise FileNotFoundError(
            'gazebo: the package ros_gz_bridge is not there; install ros-$ROS_DISTRO-ros-gz'
        ) from None
    folder = Path(tempfile.mkdtemp(prefix='nemotron_gazebo_'))
    files = write(folder, given['gazebo'])
    server = [] if given['window'] else ['-s', '--headless-rendering']
    namespace = LaunchConfiguration('namespace', default='')
    return [
        RegisterEventHandler(
            OnShutdown(on_shutdown=lambda *_: shutil.rmtree(folder, ignore_errors=True))
        ),
        ExecuteProcess(
            cmd=[*release.program, '-r', *server, str(files.world)], name='gazebo', output='screen'
        ),
        Node(
            package='ros_gz_bridge',
            executable='parameter_bridge',
            name='gazebo_bridge',
            namespace=namespace,
            parameters=[{'config_file': str(files.bridge), 'use_sim_time': True}],
            output='screen',
        ),
    ]
