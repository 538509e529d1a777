"""Which processes make up a robot: one description for launch files, the demo and the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PACKAGE = 'nemotron_ros'


@dataclass(frozen=True)
class Process:
    """One ROS node to start: an executable of this package, its node name and parameters."""

    executable: str
    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    namespace: str = ''

    def ros_arguments(self) -> list[str]:
        """Return the command-line arguments that set name, namespace and parameters."""
        arguments = ['--ros-args', '-r', f'__node:={self.name}']
        if self.namespace:
            arguments += ['-r', f'__ns:={self.namespace}']
        for key, value in self.parameters.items():
            arguments += ['-p', f'{key}:={json.dumps(value)}']
        return arguments

    def start(self, output: IO[str] | None = None) -> subprocess.Popen[bytes]:
        """Start it as a child of this process; ``output`` takes what it prints."""
        module = {'nemotron_node': 'nemotron_ros.node', 'headless_robot': 'nemotron_ros.sim.node'}
        program = f'import sys; from {module[self.executable]} import main; sys.exit(main())'
        return subprocess.Popen(
            [sys.executable, '-c', program, *self.ros_arguments()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        )


def headless_robot(namespace: str = '', **parameters: object) -> Process:
    """Return the simulated robot."""
    return Process('headless_robot', 'headless_robot', parameters, namespace)


def nemotron(tool_file: str | Path, namespace: str = '', **parameters: object) -> Process:
    """Return the node that obeys commands, made active by itself."""
    return Process(
        'nemotron_node',
        'nemotron',
        {'tool_file': str(tool_file), 'autostart': True, **parameters},
        namespace,
    )


def config_path(*parts: str) -> Path:
    """Return the path of a file of the package's ``config`` folder.

    It is found beside the package in a checkout, and in the package's share
    folder once installed.

    :raise FileNotFoundError: if it is in neither.
    """
    places = [Path(__file__).resolve().parent.parent / 'config']
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    places += [Path(prefix, 'share', PACKAGE, 'config') for prefix in prefixes if prefix]
    for place in places:
        path = place.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f'{"/".join(("config", *parts))} is in none of {places}')
