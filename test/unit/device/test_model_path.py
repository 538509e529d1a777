"""Where a model is found, and getting it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from nemotron_ros.device.model_path import fetch_model, find_model, models_of_hub
from nemotron_ros.device.profile import Checkpoint, Profile
from nemotron_ros.engine.protocol import EngineError, ModelFileError

REVISION = 'a' * 40
FILES = {'config.json': '{}', 'tokenizer.json': '{}', 'model.safetensors': 'x'}


@pytest.fixture
def profile(profiles: Mapping[str, Profile]) -> Profile:
    model = Checkpoint(repo='somebody/model', revision=REVISION)
    return replace(profiles['jetson_thor'], model=model)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return what puts files into the hub's cache, which is empty and without a net at first."""
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)

    def cache(revision: str = REVISION, **changes: str) -> Path:
        folder = tmp_path / 'models--somebody--model' / 'snapshots' / revision
        folder.mkdir(parents=True)
        for name, text in FILES.items():
            if changes.get(name.partition('.')[0]) != 'absent':
                (folder / name).write_text(text)
        return folder

    return cache


def test_a_revision_that_is_on_disk_is_found(
    cached: Callable[..., Path], profile: Profile
) -> None:
    folder = cached()
    assert find_model(profile, {}) == folder
    assert fetch_model(profile) == folder


def test_another_revision_is_not_taken_for_it(
    cached: Callable[..., Path], profile: Profile
) -> None:
    cached('b' * 40)
    with pytest.raises(ModelFileError, match=f'hf download somebody/model --revision {REVISION}'):
        find_model(profile, {})


def test_one_that_is_not_whole_is_told(cached: Callable[..., Path], profile: Profile) -> None:
    cached(model='absent')
    with pytest.raises(ModelFileError, match='there are no weights'):
        find_model(profile, {})


def test_without_a_net_it_can_not_be_fetched(
    cached: Callable[..., Path], profile: Profile
) -> None:
    with pytest.raises(EngineError, match=r'model: somebody/model@aaaaaaaaaaaa can not be fetch'):
        fetch_model(profile)


def test_without_room_nothing_is_fetched(
    cached: Callable[..., Path], profile: Profile, tmp_path: Path
) -> None:
    huge = replace(profile, memory=replace(profile.memory, weights_bytes=10**17))
    with pytest.raises(EngineError, match=r'disk: somebody/model@a+ takes 9\d+\.\d GiB in '):
        fetch_model(huge)
    assert models_of_hub() == tmp_path
    assert list(tmp_path.iterdir()) == []
