"""What the doctor looks at where TensorRT Edge-LLM serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stand_in import TENSORRT, Environment

from nemotron_ros.device.detect import Board
from nemotron_ros.device.doctor import Check
from nemotron_ros.device.profile import Build, Profile
from nemotron_ros.edge_llm import build
from nemotron_ros.edge_llm.build import Plan
from nemotron_ros.edge_llm.checks import check_edge_llm
from nemotron_ros.edge_llm.toolchain import ask

Look = Callable[..., dict[str, Check]]


@pytest.fixture
def look(
    profile: Profile, board: Board, environment: Environment, checkpoint: Path, tmp_path: Path
) -> Look:
    def look(profile: Profile = profile, checkpoint: Path | None = checkpoint) -> dict[str, Check]:
        checks = check_edge_llm(profile, board, checkpoint, tmp_path / 'cache', str(environment))
        return {check.name: check for check in checks}

    return look


def test_without_an_engine_the_build_is_advised(look: Look, profile: Profile) -> None:
    checks = look()
    assert checks['Edge-LLM'].ok
    assert checks['TensorRT'].found == TENSORRT
    assert not checks['engine'].ok
    assert checks['engine'].advice == 'build it with `nemotron engine build`'
    assert checks['disk'].ok
    assert not look(replace(profile, build=Build(1, 10**17)))['disk'].ok


def test_an_engine_is_found(
    look: Look,
    profile: Profile,
    board: Board,
    environment: Environment,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    toolchain = ask(profile, str(environment), checkpoint, tmp_path / 'cache')
    plan: Plan = build.make_plan(
        profile, board, checkpoint, profile.model.name, toolchain, str(environment)
    )
    build.run(plan, board, lambda line: None)
    checks = look()
    assert all(check.ok for check in checks.values())
    assert set(checks) == {'Edge-LLM', 'TensorRT', 'engine'}
    engine = plan.engine_dir / 'llm.engine'
    engine.write_bytes(b'\1' + engine.read_bytes()[1:])
    assert 'is damaged' in look()['engine'].found


def test_another_version_is_told(look: Look, environment: Environment) -> None:
    environment.install('0.10.1')
    (check,) = look().values()
    assert (check.ok, check.name) == (False, 'Edge-LLM')
    assert check.advice.startswith('install it: python3 -m venv')


def test_a_tensorrt_that_does_not_load_is_told(look: Look, environment: Environment) -> None:
    environment.tensorrt('raise ImportError("libnvinfer.so.10 is missing")')
    checks = look()
    assert checks['TensorRT'].found == 'libnvinfer.so.10 is missing'
    assert 'nvidia-jetpack' in checks['TensorRT'].advice


def test_without_a_checkpoint_no_engine_can_be_told(look: Look) -> None:
    assert set(look(checkpoint=None)) == {'Edge-LLM', 'TensorRT'}
