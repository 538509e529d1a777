"""Where scenarios and the tool files of their robots are: the package's own, or those given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nemotron_ros.bringup import config_path
from nemotron_ros.tools import tool_file
from nemotron_ros.tools.model import ToolFile


def scenario_files(paths: Sequence[Path] | None = None) -> list[Path]:
    """Return the files among paths and in those that are folders; without any, the package's."""
    files: list[Path] = []
    for path in [config_path('scenarios')] if paths is None else paths:
        files += sorted(path.glob('*.yaml')) if path.is_dir() else [path]
    return files


class ToolFiles:
    """The tool files of robots, each read once.

    :param given: is that of the robot that it names; the package has the others.
    :raise ToolFileError: if it is wrong.
    """

    def __init__(self, given: Path | None) -> None:
        self.given = None if given is None else tool_file.load(given)
        self.by_robot = {} if self.given is None else {self.given.robot: self.given}

    def of(self, robot: str) -> ToolFile:
        """Return a robot's tool file.

        :raise LookupError: if there is none.
        :raise ToolFileError: if it is wrong.
        """
        if robot not in self.by_robot:
            try:
                path = config_path('tools', f'{robot}.yaml')
            except FileNotFoundError:
                raise LookupError(
                    f'there is no config/tools/{robot}.yaml; give its tool file by --tools FILE'
                ) from None
            self.by_robot[robot] = tool_file.load(path)
        return self.by_robot[robot]
