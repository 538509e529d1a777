"""Starts the headless robot and the node that commands it: what ``make demo`` starts.

::

    ros2 launch nemotron_ros demo.launch.py
    nemotron ask 'turn left by ninety degrees'      # in another terminal

It takes the arguments of ``nemotron.launch.py`` as well, and those of the robot: how fast its
time goes, how ideal it is, and who walks about in its flat. When one of the two ends, both do,
unless it is respawned.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    RegisterEventHandler,
    Shutdown,
)
from launch.conditions import UnlessCondition
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from nemotron_ros.bringup import HEADLESS_ROBOT, config_path, headless_robot, launched
from nemotron_ros.parameters import DESCRIPTIONS

NEMOTRON = Path(__file__).with_name('nemotron.launch.py')


def generate_launch_description() -> LaunchDescription:
    """Describe the robot, and include the node's own launch file."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'tool_file',
                default_value=str(config_path('tools', 'headless_robot.yaml')),
                description=DESCRIPTIONS['tool_file'],
            ),
            *launched(headless_robot, HEADLESS_ROBOT),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(NEMOTRON))),
            RegisterEventHandler(
                OnProcessExit(on_exit=[Shutdown(reason='a process ended')]),
                condition=UnlessCondition(LaunchConfiguration('respawn', default='false')),
            ),
        ]
    )
