"""A node that obeys, with a script for its engine, and a base that listens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / 'test/fixtures'


class Base:
    """The nemotron node as a process, and what it asks the wheels for."""

    def __init__(self, node: Any, speeds: list[float]) -> None:
        self.node, self.speeds = node, speeds


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Base]:
    """Start the node and wait until it takes commands."""
    pytest.importorskip('rclpy', reason='rclpy, ROS 2 itself, is not here')
    from servers import VelocityLog

    from nemotron_ros.bringup import nemotron
    from nemotron_ros.client import CommandClient
    from nemotron_ros.spinning import spinning

    process = nemotron(
        FIXTURES / 'tools_bench.yaml',
        engine='scripted',
        script=str(FIXTURES / 'script_bench.yaml'),
    )
    with (tmp_path / 'nemotron.log').open('w') as log, spinning('base') as node:
        child = process.start(log)
        velocities = VelocityLog(node)
        client = CommandClient(node)
        try:
            client.wait_ready(20.0)
            yield Base(node, velocities.speeds)
        finally:
            client.close()
            child.send_signal(signal.SIGINT)
            code = child.wait(20)
    assert code == 0


@pytest.fixture
def run() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run an example as a person does; it is ended with the test."""
    children: list[subprocess.Popen[str]] = []

    def begin(file: str, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, 'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'}
        child = subprocess.Popen(
            [sys.executable, str(ROOT / 'examples' / file), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        children.append(child)
        return child

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()
