"""The tiny model, as it is and leaning to what a test wants to see of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from leaning_model import write_leaning, write_tiny

from nemotron_ros.engine import saved_prompt

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for what engines have read, empty at first."""
    folder = tmp_path / 'prompts'
    folder.mkdir()
    monkeypatch.setattr(saved_prompt, 'prompts_folder', lambda otherwise: folder)
    return folder


@pytest.fixture(scope='session')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's file."""
    return write_tiny(tmp_path_factory.mktemp('model') / 'tiny.gguf')


@pytest.fixture(scope='session')
def leaning(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a maker of models that often write some of the special tokens, or never."""
    folder = tmp_path_factory.mktemp('leaning models')

    def make(name: str, **leanings: object) -> Path:
        return write_leaning(tiny, folder / f'{name}.gguf', **leanings)  # type: ignore[arg-type]

    return make
