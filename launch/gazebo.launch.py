"""Starts the flat in Gazebo, its robot, and the node that commands it.

::

    ros2 launch nemotron_ros gazebo.launch.py                   # no window, no graphics card
    ros2 launch nemotron_ros gazebo.launch.py window:=true
    ros2 launch nemotron_ros gazebo.launch.py navigation:=nav2  # Nav2 finds the way

The world is made of the same data as the headless robot's, and the tool file is the same, but for
the one with Nav2. It takes the arguments of ``nemotron.launch.py`` as well. When one process ends,
all do.
"""

import os
import shutil
import tempfile
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
    Shutdown,
)
from launch.event_handlers import OnProcessExit, OnShutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from nemotron_ros.bringup import (
    GAZEBO_ROBOT,
    Setting,
    config_path,
    declared,
    gazebo_robot,
    given,
    launched,
)
from nemotron_ros.parameters import DESCRIPTIONS
from nemotron_ros.sim.gazebo_world import OF_ROS, RELEASES, write

NEMOTRON = Path(__file__).with_name('nemotron.launch.py')
NAVIGATION = Path(__file__).with_name('navigation.launch.py')
TOOL_FILES = {'own': 'headless_robot.yaml', 'nav2': 'headless_robot_nav2.yaml'}
RELEASE = OF_ROS.get(os.environ.get('ROS_DISTRO', ''), 'harmonic')
SETTINGS = {
    'gazebo': Setting(
        f'Release of Gazebo: {", ".join(RELEASES)}.', default=RELEASE, choices=tuple(RELEASES)
    ),
    'window': Setting('Show it in a window.', bool, 'false'),
    'navigation': Setting(
        'Who finds the way: the robot on its own, or nav2.', default='own', choices=(*TOOL_FILES,)
    ),
    'use_sim_time': Setting("Take the time from /clock, which is Gazebo's.", bool, 'true'),
    'tool_file': Setting(
        f'{DESCRIPTIONS["tool_file"].rstrip(".")}; without one, that of the robot in the flat.'
    ),
}


def generate_launch_description() -> LaunchDescription:
    """Describe Gazebo, its bridge, the robot and the node."""
    return LaunchDescription(
        [
            *declared(SETTINGS),
            OpaqueFunction(function=_simulation),
            *launched(gazebo_robot, GAZEBO_ROBOT),
            _include(NEMOTRON),
            RegisterEventHandler(OnProcessExit(on_exit=[Shutdown(reason='a process ended')])),
        ]
    )


def _simulation(context: LaunchContext) -> list[object]:
    """Return Gazebo, in a world that is made for it, and its bridge."""
    asked = given(context, SETTINGS)
    namespace = LaunchConfiguration('namespace', default='').perform(context)
    if asked['navigation'] == 'nav2' and namespace:
        raise ValueError(
            f'namespace: expected none with navigation:=nav2, whose frames are on /tf, '
            f'got {namespace!r}'
        )
    release = RELEASES[asked['gazebo']]
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
    files = write(folder, asked['gazebo'])
    server = [] if asked['window'] else ['-s', '--headless-rendering']
    tool_file = config_path('tools', TOOL_FILES[asked['navigation']])
    return [
        SetLaunchConfiguration('tool_file', str(asked.get('tool_file', tool_file))),
        RegisterEventHandler(
            OnShutdown(on_shutdown=lambda *_: shutil.rmtree(folder, ignore_errors=True))
        ),
        *([_include(NAVIGATION)] if asked['navigation'] == 'nav2' else []),
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


def _include(file: Path) -> IncludeLaunchDescription:
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(str(file)))
