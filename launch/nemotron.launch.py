"""Starts the nemotron node; it becomes active by itself."""

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription
from nemotron_ros.bringup import config_path, nemotron

PROCESS = nemotron(config_path('tools', 'headless_robot.yaml'))


def generate_launch_description() -> LaunchDescription:
    """Describe one node and the arguments that set its main parameters."""
    arguments = {
        'tool_file': (str(PROCESS.parameters['tool_file']), 'what the robot may do: a tool file'),
        'engine': ('llama_cpp', 'inference engine: llama_cpp or scripted'),
        'model': ('qwen2.5-coder-0.5b', 'model name, or path of a GGUF file'),
        'script': ('', 'replies of the scripted engine: path of a YAML file'),
        'namespace': ('', 'namespace of the robot'),
    }
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in arguments.items()
            ),
            Node(
                package='nemotron_ros',
                executable=PROCESS.executable,
                name=PROCESS.name,
                namespace=LaunchConfiguration('namespace'),
                parameters=[
                    str(config_path('nemotron.yaml')),
                    {
                        'autostart': True,
                        'tool_file': LaunchConfiguration('tool_file'),
                        'engine': LaunchConfiguration('engine'),
                        'model': LaunchConfiguration('model'),
                        'script': LaunchConfiguration('script'),
                    },
                ],
                output='screen',
            ),
        ]
    )
