"""Which processes make up a robot: one description for launch files, the demo and the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

PACKAGE = 'nemotron_ros'
MODULES = {
    'nemotron_node': 'nemotron_ros.node',
    'headless_robot': 'nemotron_ros.sim.node',
    'gazebo_robot': 'nemotron_ros.sim.gazebo_robot',
}
LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
RESPAWN_S = 2.0
"""Between the end of a process and its new start, where ``respawn`` asks for one."""


@dataclass(frozen=True)
class Process:
    """One ROS node to start: an executable of this package, its node name and parameters.

    ``parameters`` come before what ``params_file`` says.

    :param log_level: the least severe that is logged, one of ``LOG_LEVELS``; empty is ``info``.
    :param respawn: whether a launch file starts it anew, ``RESPAWN_S`` after it has ended.
    :raise ValueError: if the namespace is none, or this middleware is not installed; ROS would
        tell neither so that one knows what to do.
    """

    executable: str
    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    namespace: str = ''
    params_file: Path | None = None
    log_level: str = ''
    respawn: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r'/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*/?)?', self.namespace, re.ASCII):
            raise ValueError(
                'namespace: expected names of letters, digits and _ parted by /, '
                f'such as robot_1, got {self.namespace!r}'
            )
        _check_middleware()

    def ros_arguments(self) -> list[str]:
        """Return the command-line arguments that set name, namespace and parameters."""
        arguments = ['--ros-args', '-r', f'__node:={self.name}']
        if self.namespace:
            arguments += ['-r', f'__ns:=/{self.namespace.strip("/")}']
        if self.params_file is not None:
            arguments += ['--params-file', str(self.params_file)]
        if self.log_level:
            arguments += ['--log-level', self.log_level]
        for key, value in self.parameters.items():
            arguments += ['-p', f'{key}:={json.dumps(value, ensure_ascii=False)}']
        return arguments

    def start(self, output: IO[str] | None = None) -> subprocess.Popen[bytes]:
        """Start it as a child of this process; ``output`` takes what it prints."""
        module = MODULES[self.executable]
        program = f'import sys; from {module} import main; sys.exit(main())'
        return subprocess.Popen(
            [sys.executable, '-c', program, *self.ros_arguments()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        )

    def action(self) -> Any:
        """Return the action that starts it from a launch file; needs ROS 2's launch_ros."""
        from launch_ros.actions import Node

        files = [] if self.params_file is None else [str(self.params_file)]
        return Node(
            package=PACKAGE,
            executable=self.executable,
            name=self.name,
            namespace=self.namespace,
            parameters=[*files, dict(self.parameters)],
            ros_arguments=['--log-level', self.log_level] if self.log_level else None,
            respawn=self.respawn,
            respawn_delay=RESPAWN_S,
            output='screen',
        )


def _check_middleware() -> None:
    """Hold ``RMW_IMPLEMENTATION`` against what is installed, if that can be told."""
    wanted = os.environ.get('RMW_IMPLEMENTATION', '')
    installed = {
        path.name
        for prefix in _prefixes()
        for path in Path(prefix, 'share/ament_index/resource_index/rmw_typesupport').glob('rmw_*')
        if path.name != 'rmw_implementation'
    }
    if wanted and installed and wanted not in installed:
        raise ValueError(
            f'RMW_IMPLEMENTATION: expected {" or ".join(sorted(installed))}, installed here, '
            f'got {wanted!r}; unset it, or install ros-$ROS_DISTRO-{wanted.replace("_", "-")}'
        )


def _prefixes() -> list[str]:
    return [path for path in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if path]


@dataclass(frozen=True)
class Setting:
    """What may be said of a process when it is started: a launch argument.

    ``default`` is text as well; where it is empty, the process decides. ``choices`` are the
    texts that it may be, if not any.
    """

    description: str
    kind: type = str
    default: str = ''
    choices: tuple[str, ...] = ()

    def value(self, text: str) -> object:
        """Return what the text stands for.

        :raise ValueError: saying what was expected.
        """
        if self.choices and text not in self.choices:
            raise ValueError(f'expected {" or ".join(self.choices)}, got {text!r}')
        if self.kind is bool:
            try:
                return {'true': True, 'false': False}[text.lower()]
            except KeyError:
                raise ValueError(f'expected true or false, got {text!r}') from None
        try:
            value: object = self.kind(text)
        except ValueError:
            kinds = {int: 'a whole number', float: 'a number'}
            raise ValueError(f'expected {kinds[self.kind]}, got {text!r}') from None
        return value


def declared(settings: Mapping[str, Setting]) -> list[Any]:
    """Return the actions of a launch file that declare its arguments."""
    from launch.actions import DeclareLaunchArgument

    return [
        DeclareLaunchArgument(name, default_value=setting.default, description=setting.description)
        for name, setting in settings.items()
    ]


def given(context: Any, settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Return what the arguments of a launch file stand for, those that are not empty.

    :raise ValueError: naming the argument that is wrong, and what was expected.
    """
    from launch.substitutions import LaunchConfiguration

    values = {}
    for name, setting in settings.items():
        text = LaunchConfiguration(name).perform(context)
        try:
            if text:
                values[name] = setting.value(text)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None
    return values


def launched(make: Callable[..., Process], settings: Mapping[str, Setting]) -> list[Any]:
    """Return the actions of a launch file that starts a process: its arguments, and its start.

    ``make`` is handed the arguments that are not empty.
    """
    from launch.actions import OpaqueFunction

    def start(context: Any) -> list[Any]:
        return [make(**given(context, settings)).action()]

    return [*declared(settings), OpaqueFunction(function=start)]


ANY_PROCESS = {
    'namespace': Setting('Namespace of the robot and of the node that commands it.'),
    'log_level': Setting(
        f'Least severe that is logged: {", ".join(LOG_LEVELS)}.', str, '', LOG_LEVELS
    ),
    'use_sim_time': Setting('Take the time from /clock, as of a simulation or a recording.', bool),
    'respawn': Setting(
        f'Start it anew {RESPAWN_S:g} s after it has ended, however it has.', bool, 'false'
    ),
}
"""The arguments that the launch file of each process has."""

HEADLESS_ROBOT = {
    **ANY_PROCESS,
    'speed': Setting('Simulated seconds per second, at most.', float),
    'battery': Setting('Charge of the battery at the start, 0 to 1.', float),
    'top_view_path': Setting('Where the service sim/top_view writes its picture.'),
    'publish_clock': Setting('Publish /clock; it does with use_sim_time.', bool),
    'robots': Setting('Namespaces of several robots in one flat, parted by commas.'),
    'people': Setting('How many people walk about.', int),
    'camera': Setting('Render camera/image; needs a driver for EGL.', bool),
    'shut_doors': Setting('Doors that are shut at first, parted by commas.'),
    'noise_seed': Setting('Decides what chance brings.', int),
    'latency_s': Setting('How late messages come and go, on average, seconds.', float),
    'dropout': Setting('Share of the time that odom and scan are silent.', float),
    'dropout_s': Setting('How long they are silent then, on average, seconds.', float),
    'wheel_slip': Setting('Share of the turns of the wheels that move nothing.', float),
}


def headless_robot(
    namespace: str = '',
    log_level: str = '',
    respawn: bool = False,
    use_sim_time: bool = False,
    **parameters: object,
) -> Process:
    """Return the simulated robot, which is the clock if the others take theirs from one."""
    given = {'publish_clock': True, **parameters} if use_sim_time else parameters
    return Process(
        'headless_robot',
        'headless_robot',
        given,
        namespace,
        log_level=log_level,
        respawn=respawn,
    )


GAZEBO_ROBOT = {
    'namespace': ANY_PROCESS['namespace'],
    'log_level': ANY_PROCESS['log_level'],
    'battery': HEADLESS_ROBOT['battery'],
    'top_view_path': HEADLESS_ROBOT['top_view_path'],
}


def gazebo_robot(namespace: str = '', log_level: str = '', **parameters: object) -> Process:
    """Return the node between a robot's topics and Gazebo, whose clock is the time."""
    given = {**parameters, 'use_sim_time': True}
    return Process('gazebo_robot', 'gazebo_robot', given, namespace, log_level=log_level)


def nemotron(
    tool_file: str | Path = '',
    namespace: str = '',
    params_file: str | Path = '',
    log_level: str = '',
    respawn: bool = False,
    **parameters: object,
) -> Process:
    """Return the node that obeys commands, made active by itself.

    What is not given is as in ``params_file``, or else in ``config/nemotron.yaml``.

    :raise FileNotFoundError: if there is no such parameter file; ROS would start without it.
    """
    params = Path(params_file) if params_file else config_path('nemotron.yaml')
    if not params.is_file():
        raise FileNotFoundError(f'params_file: there is no {params}')
    given = {'tool_file': str(tool_file)} if tool_file else {}
    return Process(
        'nemotron_node',
        'nemotron',
        {**given, 'autostart': True, **parameters},
        namespace,
        params,
        log_level,
        respawn,
    )


def config_path(*parts: str) -> Path:
    """Return the path of a file of the package's ``config`` folder.

    It is found beside the package in a checkout, and in the package's share
    folder once installed, be it by colcon or by pip.

    :raise FileNotFoundError: if it is in neither.
    """
    places = [Path(__file__).resolve().parent.parent / 'config']
    prefixes = (*_prefixes(), sys.prefix)
    places += [Path(prefix, 'share', PACKAGE, 'config') for prefix in prefixes]
    for place in places:
        path = place.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f'{"/".join(("config", *parts))} is in none of {places}')
