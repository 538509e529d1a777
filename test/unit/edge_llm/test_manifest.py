"""The manifest: it refuses every engine that was not built here, and says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from stand_in import Environment

from nemotron_ros.device.detect import Board
from nemotron_ros.device.profile import Profile
from nemotron_ros.edge_llm import build, manifest
from nemotron_ros.edge_llm.build import Plan
from nemotron_ros.edge_llm.find import find_engine
from nemotron_ros.edge_llm.manifest import EngineFolderError, Origin


@pytest.fixture
def built(plan: Callable[..., Plan], board: Board) -> Plan:
    decided = plan()
    build.run(decided, board, lambda line: None)
    return decided


def refusal(plan: Plan, with_hashes: bool = False) -> str:
    with pytest.raises(EngineFolderError) as caught:
        manifest.check(plan.engine_dir, plan.origin, with_hashes)
    return str(caught.value)


@pytest.mark.parametrize('field', [field.name for field in fields(Origin)])
def test_each_difference_is_refused_and_told(built: Plan, field: str) -> None:
    was = getattr(built.origin, field)
    now = was + 1 if isinstance(was, int) else f'{was}x'
    elsewhere = replace(built, origin=replace(built.origin, **{field: now}))
    assert f'{field}: it was built for {was!r}, and here it is {now!r}' in refusal(elsewhere)


def test_all_differences_are_told_at_once(built: Plan) -> None:
    origin = replace(built.origin, board='NVIDIA Jetson AGX Orin', jetpack='7.0', tensorrt='10.9')
    message = refusal(replace(built, origin=origin))
    assert all(f'{word}: it was built for' in message for word in ('board', 'jetpack', 'tensorrt'))
    assert message.endswith('build it here with `nemotron engine build`')


def test_a_file_that_is_missing_or_cut_short_is_told(built: Plan) -> None:
    (built.engine_dir / 'config.json').unlink()
    engine = built.engine_dir / 'llm.engine'
    engine.write_bytes(engine.read_bytes()[:-1])
    message = refusal(built)
    assert 'config.json: is missing' in message
    assert 'llm.engine: has ' in message


def test_damage_is_found_by_the_hash(built: Plan) -> None:
    engine = built.engine_dir / 'llm.engine'
    engine.write_bytes(b'\1' + engine.read_bytes()[1:])
    manifest.check(built.engine_dir, built.origin, with_hashes=False)
    assert 'llm.engine: is damaged' in refusal(built, with_hashes=True)


@pytest.mark.parametrize(
    'text',
    ['', '{}', '[]', 'null', '{"origin": {}, "command": [], "built_at": "", "files": {}}'],
)
def test_a_manifest_that_is_none_is_told(built: Plan, text: str) -> None:
    (built.engine_dir / manifest.NAME).write_text(text)
    assert 'manifest.json: can not be read' in refusal(built)


def test_a_manifest_without_the_engine_is_no_engine(built: Plan) -> None:
    path = built.engine_dir / manifest.NAME
    data = json.loads(path.read_text())
    del data['files']['llm.engine']
    path.write_text(json.dumps(data))
    assert 'llm.engine: is not in its manifest' in refusal(built)


def test_a_folder_without_one_is_told(built: Plan) -> None:
    (built.engine_dir / manifest.NAME).unlink()
    assert 'there is no engine with a manifest' in refusal(built)


def test_the_engine_is_found_where_it_was_built(
    built: Plan,
    profile: Profile,
    board: Board,
    checkpoint: Path,
    environment: Environment,
    tmp_path: Path,
) -> None:
    where = (checkpoint, built.origin.model, tmp_path / 'cache', str(environment))
    found = find_engine(profile, board, *where, with_hashes=True)
    assert found.origin == built.origin
    with pytest.raises(EngineFolderError, match=r"jetson_linux: it was built for 'R39\.2\.0'"):
        find_engine(profile, replace(board, l4t='R38.4.0', jetpack='7.1'), *where)
    with pytest.raises(EngineFolderError, match='there is no engine'):
        find_engine(replace(profile, max_input_tokens=1024), board, *where)
