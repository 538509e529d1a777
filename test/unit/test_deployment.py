"""Which engine runs: what the parameters say, and what the board's profile says otherwise."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from nemotron_ros.deployment import CONTEXT_TOKENS, Wanted, engine_settings
from nemotron_ros.device.budget import GIB
from nemotron_ros.device.detect import Board
from nemotron_ros.device.profile import Profile, load_profiles
from nemotron_ros.engine.factory import EngineSettings
from nemotron_ros.engine.protocol import EngineError

PROFILES = load_profiles(Path(__file__).resolve().parents[2] / 'config/devices')
LARGE = Board('x86_64', ram_total_bytes=64 * GIB, ram_available_bytes=32 * GIB)
THOR = Board('aarch64', model='NVIDIA Jetson AGX Thor Developer Kit', ram_total_bytes=128 * GIB)
CACHE = Path('/cache')


def unseen() -> Board:
    """Stand for a board that nobody needs to look at."""
    raise AssertionError('the board is looked at')


def settings(
    wanted: Wanted, board: Board | None = None, profiles: Mapping[str, Profile] = PROFILES
) -> EngineSettings:
    return engine_settings(wanted, profiles, lambda: board or unseen(), {}, CACHE)


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """Stand for a model file; nothing is read of it here but its size."""
    path = tmp_path / 'model.gguf'
    path.write_bytes(b'GGUF' + bytes(100))
    return path


def test_another_engine_than_the_profiles_is_as_the_parameters_say() -> None:
    wanted = Wanted('cpu', engine='scripted', script='/script.yaml', threads=2)
    assert settings(wanted) == EngineSettings(
        'scripted', '', '/script.yaml', CONTEXT_TOKENS, threads=2
    )


@pytest.mark.parametrize('device', ['cpu', 'jetson_thor', 'nothing'])
def test_a_server_that_somebody_else_runs_needs_no_profile(device: str) -> None:
    wanted = Wanted(device, 'vllm', 'nemotron', url='http://fleet:8000', api_key_env='KEY')
    chosen = settings(wanted)
    assert (chosen.engine, chosen.model) == ('vllm', 'nemotron')
    assert (chosen.url, chosen.api_key_env) == ('http://fleet:8000', 'KEY')
    assert (chosen.server_command, chosen.context_tokens) == ((), 0)


def test_a_server_speaks_as_the_boards_own_would() -> None:
    chosen = settings(Wanted('jetson_thor', url='http://127.0.0.1:8000'))
    assert (chosen.engine, chosen.url) == ('edge_llm', 'http://127.0.0.1:8000')
    assert chosen.server_command == ()


def test_the_profile_fills_in_what_is_not_said(gguf: Path) -> None:
    chosen = settings(Wanted('cpu', model=str(gguf)), LARGE)
    assert chosen == EngineSettings('llama_cpp', str(gguf), context_tokens=4096)
    chosen = settings(Wanted('cpu', 'llama_cpp', str(gguf), context_tokens=1024), LARGE)
    assert chosen.context_tokens == 1024


def test_as_many_run_side_by_side_as_the_profile_is_set_up_for(gguf: Path) -> None:
    four = {'cpu': replace(PROFILES['cpu'], max_batch_size=4)}
    assert settings(Wanted('cpu', model=str(gguf)), LARGE, four).batch == 4
    # Of an engine or a server that the profile does not speak for, nothing is known.
    assert settings(Wanted('cpu', 'scripted', script='/script.yaml'), LARGE, four).batch == 1
    assert settings(Wanted('cpu', url='http://127.0.0.1:8000'), LARGE, four).batch == 1


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(gguf: Path) -> None:
    small = replace(LARGE, ram_available_bytes=GIB // 4)
    with pytest.raises(EngineError, match=r'cpu needs 0\.3 GiB .*0\.2 GiB of RAM are free'):
        settings(Wanted('cpu', model=str(gguf)), small)
    roomy = replace(LARGE, ram_available_bytes=GIB // 2)
    assert settings(Wanted('cpu', model=str(gguf)), roomy)
    with pytest.raises(EngineError, match='KV cache 1'):
        settings(Wanted('cpu', model=str(gguf), context_tokens=131072), roomy)


def test_the_size_of_another_model_counts(gguf: Path) -> None:
    with gguf.open('r+b') as file:
        file.truncate(3 * GIB)  # sparse
    with pytest.raises(EngineError, match=r'weights 3\.0'):
        settings(Wanted('cpu', model=str(gguf)), replace(LARGE, ram_available_bytes=GIB))


def test_auto_is_the_profile_of_this_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(EngineError, match=r'Nano-4B-FP8.* is not on disk; fetch it with `hf '):
        settings(Wanted('auto'), THOR)


def test_the_board_is_looked_at_once(gguf: Path) -> None:
    looks: list[Board] = []

    def look() -> Board:
        looks.append(LARGE)
        return LARGE

    wanted = Wanted('auto', model=str(gguf))
    assert engine_settings(wanted, PROFILES, look, {}, CACHE).engine == 'llama_cpp'
    assert looks == [LARGE]


@pytest.mark.parametrize('device', ['thor', '', 'jetson'])
def test_an_unknown_profile_is_told_with_those_that_there_are(device: str) -> None:
    with pytest.raises(EngineError, match=r'device: expected one of cpu, .*jetson_thor'):
        settings(Wanted(device))


PROFILE = """
title: A board of our own
engine: llama_server
model: {{catalogue: nemotron}}
precision: q4_k_m
context_tokens: 2048
max_batch_size: 1
memory: {{pool: ram, weights_bytes: 1, kv_bytes_per_token: 1, state_bytes_per_sequence: 0,
         working_bytes: 1}}
server: ['{program}', --host, 127.0.0.1, --port, '{{port}}', --model, '{{model}}',
         --ctx-size, '{{context_tokens}}']
"""


def test_a_profile_of_ones_own_starts_its_server(tmp_path: Path, gguf: Path) -> None:
    path = tmp_path / 'my_board.yaml'
    path.write_text(PROFILE.format(program=sys.executable))
    chosen = settings(Wanted(str(path), model=str(gguf), context_tokens=512), LARGE)
    assert (chosen.engine, chosen.model, chosen.url) == ('llama_server', '', '')
    assert chosen.server_command == (
        *(sys.executable, '--host', '127.0.0.1', '--port', '{port}'),
        *('--model', str(gguf), '--ctx-size', '512'),
    )


def test_a_server_program_that_is_missing_is_named(tmp_path: Path, gguf: Path) -> None:
    path = tmp_path / 'my_board.yaml'
    path.write_text(PROFILE.format(program='no-such-server'))
    with pytest.raises(EngineError, match='server: no-such-server is not there'):
        settings(Wanted(str(path), model=str(gguf)), LARGE)


def test_a_profile_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r'none\.yaml: can not be read'):
        settings(Wanted(str(tmp_path / 'none.yaml')))
