"""Profiles: what is shipped is right, and what is wrong is told with its line."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from nemotron_ros.device.profile import Profile, ProfileError, load_profile, load_profiles, named
from nemotron_ros.engine.factory import ENGINES
from nemotron_ros.engine.model_files import load_catalogue

CONFIG = Path(__file__).resolve().parents[3] / 'config'
NAMES = {
    'jetson_thor', 'jetson_agx_orin', 'jetson_orin_nx', 'jetson_orin_nano', 'dgx_spark', 'rtx',
    'cpu',
}  # fmt: skip
GOOD = """\
title: A board
engine: llama_server
model: {catalogue: nemotron}
precision: q4_k_m
context_tokens: 4096
max_batch_size: 1
memory:
  pool: ram
  weights_bytes: 1000
  kv_bytes_per_token: 2
  state_bytes_per_sequence: 3
  working_bytes: 4
server: [llama-server, --host, 127.0.0.1, --port, '{port}', --model, '{model}']
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / 'board.yaml'
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    return [problem.removeprefix(f'{path}:') for problem in caught.value.problems]


def test_every_board_has_a_profile(profiles: Mapping[str, Profile]) -> None:
    assert set(profiles) == NAMES


def test_every_engine_is_one_that_there_is(profiles: Mapping[str, Profile]) -> None:
    assert {profile.engine for profile in profiles.values()} <= set(ENGINES)


def test_servers_call_the_model_alike(profiles: Mapping[str, Profile]) -> None:
    for profile in profiles.values():
        assert not profile.server or 'nemotron-3-nano-4b' in profile.server


def test_orin_has_no_fp8_and_the_nano_no_tensorrt_engine(profiles: Mapping[str, Profile]) -> None:
    assert {profiles[name].precision for name in ('jetson_agx_orin', 'jetson_orin_nx')} == {'fp16'}
    nano = profiles['jetson_orin_nano']
    assert (nano.engine, nano.build) == ('llama_server', None)


@pytest.mark.parametrize('name', ['jetson_thor', 'jetson_agx_orin', 'jetson_orin_nx'])
def test_all_three_sizes_are_passed(profiles: Mapping[str, Profile], name: str) -> None:
    profile = profiles[name]
    command = profile.command('/m', Path('/c'), '/venv', 8123)
    value = dict(pairwise(command))
    assert command[0] == '/venv/bin/tensorrt-edgellm-serve'
    assert value['--max-input-len'] == str(profile.max_input_tokens)
    assert value['--max-kv-cache-capacity'] == str(profile.context_tokens)
    assert value['--max-batch-size'] == str(profile.max_batch_size)
    assert (value['--host'], value['--port']) == ('127.0.0.1', '8123')
    assert (value['--cache-dir'], command[1]) == ('/c', '/m')
    assert profile.max_input_tokens < profile.context_tokens


def test_the_environment_of_the_profile_is_used_where_none_is_given(
    profiles: Mapping[str, Profile],
) -> None:
    command = profiles['jetson_thor'].command('m', Path('/c'))
    assert command[0] == '/opt/edgellm/bin/tensorrt-edgellm-serve'


@pytest.mark.parametrize('name', ['dgx_spark', 'rtx'])
def test_tensorrt_llm_gets_a_kv_cache_of_tokens(
    profiles: Mapping[str, Profile], name: str
) -> None:
    profile = profiles[name]
    command = profile.command('m', Path('/c'))
    options = Path(command[command.index('--extra_llm_api_options') + 1])
    cache = yaml.safe_load(options.read_text())['kv_cache_config']
    assert cache['max_tokens'] == profile.context_tokens * profile.max_batch_size
    assert cache['enable_block_reuse'] is False
    assert cache['mamba_ssm_cache_dtype'] == 'float32'


def test_models_of_the_catalogue_are_in_it_with_these_bytes(
    profiles: Mapping[str, Profile],
) -> None:
    catalogue = load_catalogue(CONFIG / 'models.yaml')
    named_ones = [p for p in profiles.values() if p.model.catalogue]
    assert {p.name: p.memory.weights_bytes for p in named_ones} == {
        p.name: catalogue[p.model.catalogue].bytes for p in named_ones
    }


def test_the_package_of_the_cpu_profile_is_the_one_that_is_installed(
    profiles: Mapping[str, Profile],
) -> None:
    requirements = (CONFIG.parent / 'requirements' / 'base.txt').read_text().split()
    assert profiles['cpu'].needs.package in requirements


def test_a_good_profile_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'board.yaml'
    path.write_text(GOOD)
    profile = load_profile(path)
    assert (profile.name, profile.model.catalogue) == ('board', 'nemotron')
    assert profile.command('/x', Path('/c'), port=5)[3:] == ['--port', '5', '--model', '/x']
    assert profile.command('/x', Path('/c'))[4] == '{port}'


@pytest.mark.parametrize(
    ('old', 'new', 'expected'),
    [
        ('4096', 'many', "5: context_tokens: 'many' is not of type 'integer'"),
        ('4096', '0', '5: context_tokens: 0 is less than the minimum of 1'),
        ('pool: ram', 'pool: disk', "8: memory.pool: 'disk' is not one of"),
        ('  weights_bytes: 1000\n', '', "7: memory: 'weights_bytes' is a required property"),
        ('title', 'name', '1: the file: Additional properties are not allowed'),
        ('{catalogue: nemotron}', '{repo: a/b, revision: main}', '3: model: expected {catalogue'),
        ('127.0.0.1', '0.0.0.0', '13: server: expected `--host 127.0.0.1`, got 0.0.0.0'),
        ('--host, 127.0.0.1, ', '', '13: server: expected `--host 127.0.0.1`, got no --host'),
        ('--model', '--host=0.0.0.0', '13: server: expected `--host 127.0.0.1`, got 127.0.0.1, 0'),
        ('{port}', '8000', '13: server: expected {port}'),
        ('{model}', '{modle}', '13: server.6: expected one of port, model'),
        ('{model}', '{environment}', '13: server.6: {environment} is used, but is not set'),
        ('ram', '"', '14: found unexpected end of stream'),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    found = problems(tmp_path, text)
    assert any(problem.startswith(expected) for problem in found), found
    assert len(found) <= 2


def test_a_profile_that_is_absent_names_those_that_are_there(
    profiles: Mapping[str, Profile],
) -> None:
    with pytest.raises(ProfileError, match=r"device: expected one of cpu, .*, got 'toaster'"):
        named('toaster', profiles)


def test_a_smaller_profile_must_exist(tmp_path: Path) -> None:
    (tmp_path / 'board.yaml').write_text(f'{GOOD}smaller: crumb\n')
    with pytest.raises(ProfileError, match=r"board\.yaml: smaller: there is no profile 'crumb'"):
        load_profiles(tmp_path)


def test_a_folder_without_profiles_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match='holds no profile'):
        load_profiles(tmp_path)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / 'board.yaml').write_bytes(b'\xff\xfe')
    with pytest.raises(ProfileError, match=r'board\.yaml: can not be read'):
        load_profiles(tmp_path)
