"""Starts the nemotron node, which becomes active by itself.

::

    ros2 launch nemotron_ros nemotron.launch.py tool_file:=/path/to/my_robot.yaml

Every parameter of the node is an argument; one that is left out is as in ``params_file``.
"""

from dataclasses import fields

from launch import LaunchDescription

from nemotron_ros.bringup import ANY_PROCESS, Setting, config_path, launched, nemotron
from nemotron_ros.parameters import DESCRIPTIONS, Parameters

SETTINGS = {
    **ANY_PROCESS,
    'params_file': Setting(
        'Parameter file; the arguments come before what it says.',
        default=str(config_path('nemotron.yaml')),
    ),
    **{
        parameter.name: Setting(DESCRIPTIONS[parameter.name], type(parameter.default))
        for parameter in fields(Parameters)
    },
    'autostart': Setting(DESCRIPTIONS['autostart'], bool, default='true'),
}


def generate_launch_description() -> LaunchDescription:
    """Describe one process and its arguments."""
    return LaunchDescription(launched(nemotron, SETTINGS))
