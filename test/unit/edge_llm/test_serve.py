"""The command that serves: given out only when all that it needs is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from stand_in import Environment

from nemotron_ros.device.budget import DoesNotFit
from nemotron_ros.device.detect import Board
from nemotron_ros.device.profile import Profile, load_profiles
from nemotron_ros.edge_llm.serve import server_command
from nemotron_ros.engine.protocol import EngineError

DEVICES = Path(__file__).resolve().parents[3] / 'config' / 'devices'
GIB = 1 << 30


@pytest.fixture
def nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """The profile of the Orin Nano, with its server installed."""
    program = tmp_path / 'llama-server'
    program.touch(mode=0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    return load_profiles(DEVICES)['jetson_orin_nano']


def test_any_server_gets_its_command(nano: Profile, board: Board, tmp_path: Path) -> None:
    command = server_command(nano, board, Path('/model.gguf'), tmp_path)
    assert command[0] == str(tmp_path / 'llama-server')
    assert command[command.index('--port') + 1] == '{port}'
    assert command[command.index('--model') + 1] == '/model.gguf'
    assert server_command(nano, board, Path('/m'), tmp_path, port=8123).count('8123') == 1


def test_what_does_not_fit_is_not_started(nano: Profile, board: Board, tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match=r'jetson_orin_nano needs 3\.5 GiB .* and 3\.0 GiB of'):
        server_command(nano, replace(board, ram_available_bytes=3 * GIB), Path('/m'), tmp_path)


def test_a_server_that_is_missing_is_told(
    nano: Profile, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', '/nonexistent')
    with pytest.raises(EngineError, match='server: llama-server is not there; put a GPU build'):
        server_command(nano, board, Path('/m'), tmp_path)


def test_the_embedded_engine_has_none(board: Board, tmp_path: Path) -> None:
    cpu = load_profiles(DEVICES)['cpu']
    with pytest.raises(EngineError, match='cpu needs no server: the node runs llama_cpp itself'):
        server_command(cpu, board, Path('/m'), tmp_path)


def test_edge_llm_is_not_started_without_its_engine(
    profile: Profile, board: Board, checkpoint: Path, environment: Environment, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match='build it with `nemotron engine build`'):
        server_command(profile, board, checkpoint, tmp_path, environment=str(environment))
