"""A board, its profile, a checkpoint, and an environment to build in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stand_in import Environment, write_checkpoint

from nemotron_ros.device.detect import Board
from nemotron_ros.device.profile import Build, Profile, load_profile
from nemotron_ros.edge_llm.build import Plan, make_plan
from nemotron_ros.edge_llm.toolchain import ask

DEVICES = Path(__file__).resolve().parents[3] / 'config' / 'devices'
GIB = 1 << 30


@pytest.fixture
def board() -> Board:
    return Board(
        arch='aarch64',
        model='NVIDIA Jetson AGX Thor Developer Kit',
        l4t='R39.2.0',
        jetpack='7.2',
        glibc='2.39',
        driver='610.10',
        ram_total_bytes=120 * GIB,
        ram_available_bytes=100 * GIB,
    )


@pytest.fixture
def profile() -> Profile:
    """The profile of Thor, of which a build takes little."""
    return replace(load_profile(DEVICES / 'jetson_thor.yaml'), build=Build(GIB, 1 << 20))


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / 'environment')


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / 'checkpoint')


@pytest.fixture
def plan(
    profile: Profile, board: Board, environment: Environment, checkpoint: Path, tmp_path: Path
) -> Callable[..., Plan]:
    """Return a maker of plans; what is said of the profile changes it."""

    def make(cache: Path = tmp_path / 'cache', **changes: object) -> Plan:
        changed = replace(profile, **changes)  # type: ignore[arg-type]
        toolchain = ask(changed, str(environment), checkpoint, cache)
        return make_plan(changed, board, checkpoint, 'nvidia/model@1', toolchain, str(environment))

    return make
