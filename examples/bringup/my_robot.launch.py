"""A robot's own bring-up, with the node that obeys commands beside its drivers.

::

    ros2 launch examples/bringup/my_robot.launch.py

Whatever ``nemotron.launch.py`` takes may be said here too, such as ``model:=nemotron``.
The same in XML and YAML is beside this file.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """Describe the robot's drivers, here one simulated robot, and include the node."""
    share = Path(get_package_share_directory('nemotron_ros'))
    namespace = LaunchConfiguration('namespace')
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'namespace', default_value='my_robot', description='Namespace of the robot.'
            ),
            Node(
                package='nemotron_ros',
                executable='headless_robot',
                name='headless_robot',
                namespace=namespace,
                output='screen',
            ),
            # In a group, so that its arguments reach nothing else that is included here.
            GroupAction(
                [
                    IncludeLaunchDescription(
                        PythonLaunchDescriptionSource(str(share / 'launch/nemotron.launch.py')),
                        launch_arguments={
                            'namespace': namespace,
                            'tool_file': str(share / 'config/tools/headless_robot.yaml'),
                            'respawn': 'true',
                        }.items(),
                    )
                ]
            ),
        ]
    )
