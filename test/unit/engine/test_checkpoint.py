"""A checkpoint folder, whole and in every state of not being it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nemotron_ros.engine.checkpoint import Checkpoint, find_checkpoint
from nemotron_ros.engine.protocol import ModelFileError

CONFIG = {'model_type': 'nemotron_h', 'max_position_embeddings': 262144}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / 'nano'
    folder.mkdir()
    (folder / 'config.json').write_text(json.dumps(CONFIG))
    (folder / 'tokenizer.json').write_text('{}')
    (folder / 'model.safetensors').write_bytes(b'weights')
    return folder


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the model hub with one model in it, and no net."""
    from huggingface_hub import constants

    cache = tmp_path / 'hub'
    cache.mkdir()
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(cache))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    return cache


def test_a_whole_one(folder: Path) -> None:
    assert find_checkpoint(str(folder)) == Checkpoint(folder, 'nano', 'nemotron_h', '', 262144)


def test_one_of_the_hub_cache(folder: Path, hub_cache: Path) -> None:
    model = hub_cache / 'models--someone--nano'
    (model / 'refs').mkdir(parents=True)
    (model / 'refs' / 'main').write_text('a' * 40)
    (model / 'snapshots').mkdir()
    folder.rename(model / 'snapshots' / ('a' * 40))
    found = find_checkpoint('someone/nano')
    assert found.name == 'someone/nano'
    assert found.folder == model / 'snapshots' / ('a' * 40)


@pytest.mark.parametrize('config', [{}, {'quantization_config': {'quant_method': 'modelopt'}}])
def test_how_the_weights_are_packed(folder: Path, config: dict[str, object]) -> None:
    (folder / 'config.json').write_text(json.dumps({**CONFIG, **config}))
    if not config:
        (folder / 'hf_quant_config.json').write_text('{}')
    assert find_checkpoint(str(folder)).quantization == 'modelopt'


@pytest.mark.parametrize('model', ['', '/no/such/folder', './here', '~/nothing/here'])
def test_no_folder(model: str) -> None:
    with pytest.raises(ModelFileError, match='is no folder; expected a checkpoint folder'):
        find_checkpoint(model)


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(ModelFileError, match='is no folder'):
        find_checkpoint(str(folder / 'config.json'))


@pytest.mark.parametrize('model', ['nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16', 'a/b/c', 'no name!'])
def test_not_in_the_cache(model: str) -> None:
    with pytest.raises(ModelFileError, match=f'hf download {model}'):
        find_checkpoint(model)


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def no_net(*address: object, **_more: object) -> None:
        asked.append(address)
        raise OSError('no net')

    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    monkeypatch.setattr('socket.getaddrinfo', no_net)
    monkeypatch.setattr('socket.socket.connect', no_net)
    with pytest.raises(ModelFileError, match='is not in the model cache'):
        find_checkpoint('someone/else')
    assert asked == []


@pytest.mark.parametrize(
    ('file', 'message'),
    [
        ('config.json', 'there is no config.json'),
        ('tokenizer.json', 'there is no tokenizer'),
        ('model.safetensors', 'there are no weights'),
    ],
)
def test_a_file_that_is_missing(folder: Path, file: str, message: str) -> None:
    (folder / file).unlink()
    with pytest.raises(ModelFileError, match=message):
        find_checkpoint(str(folder))


@pytest.mark.parametrize('text', ['', '{', '[1]', '"text"', '\x00'])
def test_a_damaged_configuration(folder: Path, text: str) -> None:
    (folder / 'config.json').write_text(text)
    with pytest.raises(ModelFileError, match=r'config\.json: .*fetch the model again'):
        find_checkpoint(str(folder))


def test_a_download_that_was_broken_off(folder: Path) -> None:
    names = {'a': 'model.safetensors', 'b': 'model-2.safetensors', 'c': 'model-3.safetensors'}
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': names}))
    with pytest.raises(ModelFileError, match=r'2 files .* missing, such as model-2\.safetensors'):
        find_checkpoint(str(folder))
