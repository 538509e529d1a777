"""What every test run has: a ROS domain of its own, and reasons for what can't run here."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

# A run must not hear another one, nor a robot in the house. UDP ports say which domains are
# in use: domain n owns the 250 ports from 7400 + 250 n.
DOMAINS = range(1, 102)
FIRST_PORT, PORTS_PER_DOMAIN = 7400, 250

# What the tests in a folder can't do without.
NEEDED = {
    'ros': ('rclpy', 'nemotron_msgs'),
    'sim': ('rclpy', 'mujoco'),
    'launch': ('rclpy', 'nemotron_msgs', 'launch_ros', 'launch_pytest'),
}


def ports_in_use() -> set[int]:
    """Return the local UDP ports that are bound on this machine."""
    ports = set()
    for table in (Path('/proc/net/udp'), Path('/proc/net/udp6')):
        if table.exists():
            for line in table.read_text().splitlines()[1:]:
                ports.add(int(line.split()[1].rsplit(':', 1)[1], 16))
    return ports


def free_domain(pid: int, ports: set[int]) -> int:
    """Return a ROS domain that nobody uses, another one for another process if possible."""
    used = {(port - FIRST_PORT) // PORTS_PER_DOMAIN for port in ports}
    turned = [DOMAINS[(pid + i) % len(DOMAINS)] for i in range(len(DOMAINS))]
    return next((domain for domain in turned if domain not in used), turned[0])


# The checkout's own package comes before an installed one.
sys.path[:0] = [str(HERE.parent), str(HERE / 'fixtures')]

# Before anything imports rclpy; child processes inherit it.
os.environ['ROS_DOMAIN_ID'] = str(free_domain(os.getpid(), ports_in_use()))
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give a test over DDS that fails another try; the summary counts those that took it.

    Now and then a node is not discovered within ten seconds while many come and go.
    """
    if not config.pluginmanager.hasplugin('rerunfailures'):
        return
    for item in items:
        if any(HERE / folder in item.path.parents for folder in ('ros', 'sim')):
            item.add_marker(pytest.mark.flaky(reruns=2))
