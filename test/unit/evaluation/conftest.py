"""Scenarios and the tool file that they are held against, written by each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nemotron_ros.evaluation.scenario import Scenario, load
from nemotron_ros.tools import tool_file
from nemotron_ros.tools.model import ToolFile

ROOT = Path(__file__).resolve().parents[3]
HEADLESS = ROOT / 'config' / 'tools' / 'headless_robot.yaml'


@pytest.fixture(scope='session')
def headless() -> ToolFile:
    """The tool file of the simulated robot."""
    return tool_file.load(HEADLESS)


@pytest.fixture
def scenarios(tmp_path: Path, headless: ToolFile) -> Callable[[str], tuple[Scenario, ...]]:
    """Read scenarios of the simulated robot from a text."""

    def read(text: str) -> tuple[Scenario, ...]:
        path = tmp_path / 'scenarios.yaml'
        path.write_text(text)
        return load([path], {'headless_robot': headless}.__getitem__)

    return read
