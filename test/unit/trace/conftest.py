"""A tool file, and a dispatcher whose commands are told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from telling import Told

from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.tool_file import load

TOOLS = """\
robot: bench
tools:
  drive:
    description: Drive for a time.
    parameters: {seconds: {type: number, minimum: 0.1, maximum: 10}}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,
            message: {linear: {x: 0.2}}, for_s: "{{ seconds }}", then: {}}
    guard: {exclusive: motion, max_per_minute: 3}
  turn:
    description: Turn for a time.
    parameters: {seconds: {type: number, minimum: 0.1, maximum: 10}}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,
            message: {angular: {z: 0.2}}, for_s: "{{ seconds }}", then: {}}
    guard: {exclusive: motion}
  say:
    description: Say a text.
    parameters: {text: {type: string, maxLength: 200}, token: {type: string, maxLength: 80}}
    topic: {name: speech, type: std_msgs/msg/String, message: {data: "{{ text }}"}}
"""


@pytest.fixture
def write_tools(tmp_path: Path) -> Callable[..., ToolFile]:
    """Give a function that writes the tool file, with a piece replaced, and loads it."""

    def write(old: str = '', new: str = '') -> ToolFile:
        assert old in TOOLS
        path = tmp_path / 'tools.yaml'
        path.write_text(TOOLS.replace(old, new) if old else TOOLS)
        return load(path)

    return write


@pytest.fixture
def told(write_tools: Callable[..., ToolFile]) -> Told:
    """Give a real agent, dispatcher and guard, whose events are kept with their times."""
    return Told(write_tools())
