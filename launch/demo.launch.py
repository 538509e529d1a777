"""Starts the headless robot and the nemotron node: what ``make demo`` starts."""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node

from launch import LaunchDescription
from nemotron_ros.bringup import headless_robot

PROCESS = headless_robot()


def generate_launch_description() -> LaunchDescription:
    """Describe the robot, and include the node's own launch file."""
    return LaunchDescription(
        [
            DeclareLaunchArgument('namespace', default_value='', description='of the robot'),
            Node(
                package='nemotron_ros',
                executable=PROCESS.executable,
                name=PROCESS.name,
                namespace=LaunchConfiguration('namespace'),
                parameters=[dict(PROCESS.parameters)],
                output='screen',
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(
                    PathJoinSubstitution([ThisLaunchFileDir(), 'nemotron.launch.py'])
                )
            ),
        ]
    )
