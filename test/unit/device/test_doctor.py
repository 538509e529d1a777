"""The doctor: each check fails on what it is for, and says what to do."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from nemotron_ros.bringup import config_path
from nemotron_ros.cli import doctor, main
from nemotron_ros.device.detect import Board, Choice, Gpu
from nemotron_ros.device.doctor import (
    Check,
    check_board,
    check_model,
    check_software,
    port_is_free,
)
from nemotron_ros.device.model_path import parent_on_disk
from nemotron_ros.device.profile import Checkpoint, Profile
from nemotron_ros.engine.model_files import load_catalogue

GIB = 1 << 30
THOR = Board(
    arch='aarch64',
    model='NVIDIA Jetson AGX Thor Developer Kit',
    l4t='R39.2.0',
    jetpack='7.2',
    driver='610.10',
    ram_total_bytes=122 * GIB,
    ram_available_bytes=100 * GIB,
    glibc='2.39',
)
PC = Board(
    arch='x86_64',
    driver='580.95',
    gpu=Gpu('NVIDIA GeForce RTX 5090', '12.0', 32 * GIB, 30 * GIB),
    ram_available_bytes=20 * GIB,
    glibc='2.39',
)


def failures(
    profile: Profile, board: Board, choice: Profile | None = None
) -> dict[str, tuple[str, str]]:
    """Return what failed, with what was found and the advice."""
    checks = check_board(profile, board, Choice(choice or profile, 'it says so'))
    return {check.name: (check.found, check.advice) for check in checks if not check.ok}


def test_a_board_that_has_everything_is_well(profiles: Mapping[str, Profile]) -> None:
    assert failures(profiles['jetson_thor'], THOR) == {}
    assert failures(profiles['rtx'], PC) == {}


def test_what_is_checked_depends_on_what_is_needed(profiles: Mapping[str, Profile]) -> None:
    def names(name: str) -> set[str]:
        profile = profiles[name]
        return {check.name for check in check_board(profile, THOR, Choice(profile, ''))}

    assert names('cpu') == {'board', 'memory'}
    assert names('jetson_thor') == {
        'board', 'architecture', 'JetPack', 'glibc', 'driver', 'memory',
    }  # fmt: skip
    assert 'GPU' in names('rtx')


@pytest.mark.parametrize(
    ('change', 'name', 'found', 'advice'),
    [
        ({'arch': 'x86_64'}, 'architecture', 'x86_64', 'aarch64 is needed'),
        ({'jetpack': '6.2', 'l4t': 'R36.4.3'}, 'JetPack', '6.2 (R36.4.3)', 'install JetPack 7.2'),
        ({'jetpack': '', 'l4t': ''}, 'JetPack', 'unknown (no Jetson Linux)', 'jetson_orin_nano'),
        ({'glibc': '2.35'}, 'glibc', '2.35', '2.39 or later'),
        ({'driver': '', 'l4t': ''}, 'driver', 'none', "install NVIDIA's driver"),
        ({'ram_available_bytes': 5 * GIB}, 'memory', '9.7 GiB (weights 7.4', 'jetson_orin_nano'),
    ],
)
def test_what_is_missing_is_told(
    profiles: Mapping[str, Profile],
    change: dict[str, object],
    name: str,
    found: str,
    advice: str,
) -> None:
    board = replace(THOR, **change)  # type: ignore[arg-type]
    failed = failures(profiles['jetson_agx_orin'], board)
    assert found in failed[name][0]
    assert advice in failed[name][1]


def test_the_driver_of_a_jetson_comes_with_its_linux(profiles: Mapping[str, Profile]) -> None:
    assert failures(profiles['jetson_thor'], replace(THOR, driver='')) == {}


def test_a_later_correction_of_a_jetpack_is_the_same(profiles: Mapping[str, Profile]) -> None:
    assert failures(profiles['jetson_thor'], replace(THOR, jetpack='7.2.1')) == {}


def test_an_engine_is_tied_to_its_board(profiles: Mapping[str, Profile]) -> None:
    orin, thor = profiles['jetson_agx_orin'], profiles['jetson_thor']
    assert failures(orin, THOR, thor)['board'] == (
        THOR.model,
        'use the profile jetson_thor: it says so',
    )


def test_what_is_only_loaded_may_run_elsewhere(profiles: Mapping[str, Profile]) -> None:
    assert failures(profiles['jetson_orin_nano'], THOR, profiles['jetson_thor']) == {}


@pytest.mark.parametrize(
    ('gpu', 'found'),
    [(None, 'none'), (Gpu('RTX 3090', '8.6', 24 * GIB, 24 * GIB), 'RTX 3090, compute capab')],
)
def test_a_gpu_that_is_too_old_is_told(
    profiles: Mapping[str, Profile], gpu: Gpu | None, found: str
) -> None:
    assert failures(profiles['rtx'], replace(PC, gpu=gpu))['GPU'][0].startswith(found)


# Software


def software(profile: Profile, environment: str = '', port: int = 0) -> dict[str, Check]:
    return {check.name: check for check in check_software(profile, environment, port)}


def test_the_package_must_be_this_one(profiles: Mapping[str, Profile]) -> None:
    cpu = profiles['cpu']
    assert software(cpu)['package'].ok
    other = replace(cpu, needs=replace(cpu.needs, package='xllamacpp==1.0'))
    assert software(other)['package'].advice == 'install it with `pip install xllamacpp==1.0`'
    absent = replace(cpu, needs=replace(cpu.needs, package='no-such-thing==1.0'))
    assert software(absent)['package'].found == 'no-such-thing not installed'


def test_the_server_must_be_there(profiles: Mapping[str, Profile], tmp_path: Path) -> None:
    thor = profiles['jetson_thor']
    absent = software(thor, str(tmp_path))['server']
    assert not absent.ok
    assert 'pip install "tensorrt-edgellm[server]==0.11.0"' in absent.advice
    program = tmp_path / 'bin' / 'tensorrt-edgellm-serve'
    program.parent.mkdir()
    program.touch(mode=0o755)
    assert software(thor, str(tmp_path))['server'] == Check(
        'server', True, str(program), thor.install
    )


def test_a_port_that_is_taken_is_told(profiles: Mapping[str, Profile]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        assert not port_is_free(port)
        assert not software(profiles['rtx'], port=port)['port'].ok
    assert port_is_free(port)
    assert software(profiles['rtx'], port=port)['port'].ok


def test_the_embedded_engine_needs_no_port(profiles: Mapping[str, Profile]) -> None:
    assert set(software(profiles['cpu'])) == {'package'}


# The model


def test_a_model_that_is_not_there_is_told_with_the_room_for_it(
    profiles: Mapping[str, Profile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('NEMOTRON_MODELS', str(tmp_path))
    catalogue = load_catalogue(config_path('models.yaml'))
    nano = profiles['jetson_orin_nano']
    model, disk = check_model(nano, catalogue, tmp_path / 'not' / 'there')
    assert (model.ok, model.advice) == (False, 'fetch it with `nemotron model fetch nemotron`')
    assert disk.ok
    huge = replace(nano, memory=replace(nano.memory, weights_bytes=10**17))
    assert not list(check_model(huge, catalogue, tmp_path))[1].ok


def test_a_revision_that_is_not_there_is_told(profiles: Mapping[str, Profile]) -> None:
    absent = Checkpoint(repo='nobody/nothing', revision='0' * 40)
    model, _disk = check_model(replace(profiles['rtx'], model=absent), {}, Path('/'))
    assert model.found == 'model: nobody/nothing@000000000000 is not on disk'
    assert model.advice == f'fetch it with `hf download nobody/nothing --revision {"0" * 40}`'


def test_a_folder_that_is_not_there_yet_lies_in_one_that_is(tmp_path: Path) -> None:
    assert parent_on_disk(tmp_path / 'a' / 'b') == tmp_path
    assert parent_on_disk(tmp_path) == tmp_path


# The command


def test_it_ends_with_1_when_a_check_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', '--device', 'jetson_thor', '--json']) == 1
    told = json.loads(capsys.readouterr().out)
    assert told['profile'] == 'jetson_thor'
    failed = {check['name'] for check in told['checks'] if not check['ok']}
    assert {'board', 'server', 'Edge-LLM'} <= failed
    assert all(check['advice'] for check in told['checks'] if not check['ok'])


def test_it_ends_with_0_when_all_is_well(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    profiles: Mapping[str, Profile],
) -> None:
    monkeypatch.setattr(doctor, 'check_model', lambda *_: [Check('model', True, '/model')])
    monkeypatch.setattr(doctor, 'load_profiles', lambda _: {'cpu': profiles['cpu']})
    assert main(['doctor']) == 0
    shown = capsys.readouterr().out
    assert 'cpu: CPU' in shown
    assert 'FAIL' not in shown


def test_a_command_that_helps_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('COLUMNS', '60')
    assert main(['doctor', '--device', 'jetson_thor']) == 1
    cells = [line.split('│')[4].strip() for line in capsys.readouterr().out.splitlines() if '│' in line]  # fmt: skip  # noqa: E501
    assert '3fe6dab75665a93884214ad4b1b95cf02717d081' in ''.join(cells)


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--port', '0'], 'expected a port from 1 to 65535'),
        (['--port', '70000'], 'expected a port'),
    ],
)
def test_wrong_use_is_told(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(['doctor', *arguments])
    assert caught.value.code == 2
    assert expected in capsys.readouterr().err


def test_a_profile_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', '--device', 'toaster']) == 1
    assert 'device: expected one of cpu, dgx_spark, ' in capsys.readouterr().err
