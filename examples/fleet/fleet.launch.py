"""Three simulated robots, each in a namespace of its own, that share one engine's server.

::

    ros2 launch examples/fleet/fleet.launch.py engine:=vllm url:=http://127.0.0.1:8000
    nemotron ask --node robot_2/nemotron 'go to the kitchen'

Whatever else ``nemotron.launch.py`` takes may be said here too, such as ``model:=...``. A robot
that ends takes no other one along.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

ROBOTS = ('robot_1', 'robot_2', 'robot_3')


def generate_launch_description() -> LaunchDescription:
    """Describe the robots; without a server's url there is no fleet."""
    share = Path(get_package_share_directory('nemotron_ros'))
    nemotron = PythonLaunchDescriptionSource(str(share / 'launch/nemotron.launch.py'))
    tool_file = str(share / 'config/tools/headless_robot.yaml')
    robots = [
        GroupAction(
            [
                Node(
                    package='nemotron_ros',
                    executable='headless_robot',
                    name='headless_robot',
                    namespace=robot,
                    output='screen',
                ),
                IncludeLaunchDescription(
                    nemotron,
                    launch_arguments={'namespace': robot, 'tool_file': tool_file}.items(),
                ),
            ]
        )
        for robot in ROBOTS
    ]
    return LaunchDescription(
        [
            DeclareLaunchArgument('url', description='Where the server is: http://HOST:PORT.'),
            DeclareLaunchArgument(
                'engine', default_value='openai', description='What kind of server that is.'
            ),
            *robots,
        ]
    )
