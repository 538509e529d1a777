"""The C++ client builds without a warning and does what the Python one does."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy, ROS 2 itself, is not here')

EXAMPLE = Path(__file__).resolve().parents[2] / 'examples/cpp_client'


def missing() -> str:
    """Return what is not here; empty if it can be built."""
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    for package in ('rclcpp', 'rclcpp_action', 'ament_cmake'):
        if not any(Path(prefix, 'share', package).is_dir() for prefix in prefixes if prefix):
            return f'{package}, which the C++ client needs, is not here'
    return '' if shutil.which('cmake') else 'cmake is not here'


@pytest.mark.skipif(bool(missing()), reason=missing() or 'it is here')
@pytest.mark.timeout(300)
def test_it_builds_and_shows_what_happens(base: Any, tmp_path: Path) -> None:
    for step in (
        ['cmake', '-S', str(EXAMPLE), '-B', str(tmp_path), '-DCMAKE_CXX_FLAGS=-Werror'],
        ['cmake', '--build', str(tmp_path)],
    ):
        built = subprocess.run(step, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
    ran = subprocess.run(
        [str(tmp_path / 'command'), 'please drive a little'],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == 'Done.'
    assert 0.2 in base.speeds


def test_its_names_are_those_of_the_interface() -> None:
    """Fields and constants of the messages that it names are there, whoever compiles it."""
    from nemotron_msgs.action import ExecuteCommand
    from nemotron_msgs.msg import Event, ToolCall, ToolResult

    source = (EXAMPLE / 'src/command.cpp').read_text()
    for owner, kind, names in (
        ('goal.', ExecuteCommand.Goal, ('command',)),
        ('event.', Event, ('text_delta', 'phase', 'call')),
        ('Event::', Event, ('PHASE_RESULT',)),
        ('call.', ToolCall, ('name', 'arguments', 'result')),
        ('result.', ToolResult, ('value', 'error')),
        ('result->', ExecuteCommand.Result, ('text', 'error', 'status')),
    ):
        for name in names:
            assert f'{owner}{name}' in source
            assert hasattr(kind, name)
    assert importlib.util.find_spec('nemotron_msgs.action') is not None
