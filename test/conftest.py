"""What every test run has: a ROS domain of its own, and reasons for what can't run here."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

# What the tests in a folder can't do without.
NEEDED = {
    'ros': ('rclpy', 'nemotron_msgs'),
    'sim': ('rclpy', 'mujoco'),
    'launch': ('rclpy', 'nemotron_msgs', 'launch_ros', 'launch_pytest'),
}


# The checkout's own package comes before an installed one.
sys.path[:0] = [str(HERE.parent), str(HERE / 'fixtures')]

from ros_domain import take_domain  # noqa: E402

DOMAIN = take_domain()
"""Held as long as the run lasts."""


@cache
def missing(module: str) -> str | None:
    """Return why a module can't be imported here, None if it can."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f'{module} is not available here ({error})'
    return None


class Unavailable(pytest.Item):
    """A test that can't run on this machine: counted, and skipped with the reason."""

    def __init__(self, *, reason: str, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.reason = reason

    def runtest(self) -> None:
        """Skip."""
        pytest.skip(self.reason)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Say where the test is."""
        return self.path, None, self.name


class UnavailableFolder(pytest.Collector):
    """A folder whose tests can't be imported on this machine: they are read, not run."""

    def __init__(self, *, reason: str, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.reason = reason

    def collect(self) -> Iterator[Unavailable]:
        """Find the test functions by their names."""
        for file in sorted(self.path.rglob('test_*.py')):
            for node in ast.walk(ast.parse(file.read_bytes())):
                function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                if function and node.name.startswith('test'):
                    name = f'{file.relative_to(self.path).as_posix()}::{node.name}'
                    yield Unavailable.from_parent(self, name=name, reason=self.reason)


# A folder and not a module: the folder's own conftest.py can't be imported either.
# Optional: the pytest of Humble and Jazzy has no such hook.
@pytest.hookimpl(optionalhook=True)
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> UnavailableFolder | None:
    """Put a stand-in where what a folder's tests need is not on this machine."""
    if path.parent != HERE:
        return None
    reasons = [reason for module in NEEDED.get(path.name, ()) if (reason := missing(module))]
    if not reasons:
        return None
    return UnavailableFolder.from_parent(parent, path=path, name=path.name, reason=reasons[0])
