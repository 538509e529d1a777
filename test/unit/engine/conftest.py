"""The tiny model, as it is and leaning to what a test wants to see of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import tiny_nemotron

from nemotron_ros.engine import saved_prompt

sys.path.insert(0, str(Path(__file__).parent))

LONG_CONTEXT = 1 << 16


@pytest.fixture(autouse=True)
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for what engines have read, empty at first."""
    folder = tmp_path / 'prompts'
    folder.mkdir()
    monkeypatch.setattr(saved_prompt, 'prompts_folder', lambda otherwise: folder)
    return folder


@pytest.fixture(scope='session')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's file, for a context that takes seconds to fill."""
    path = tmp_path_factory.mktemp('model') / 'tiny.gguf'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_nemotron, 'CONTEXT', LONG_CONTEXT)
        tiny_nemotron.write(path)
    return path


@pytest.fixture(scope='session')
def leaning(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a maker of models that often write some of the special tokens, or never."""
    folder = tmp_path_factory.mktemp('leaning models')

    def make(
        name: str,
        *,
        often: tuple[str, ...] = (),
        never: tuple[str, ...] = (),
        misjudged_end: str = '',
    ) -> Path:
        path = folder / f'{name}.gguf'
        path.write_bytes(tiny.read_bytes())
        reader = gguf.GGUFReader(path, 'r+')
        (output,) = (tensor for tensor in reader.tensors if tensor.name == 'output.weight')
        for tokens, factor in ((often, 4), (never, 0)):
            for token in tokens:
                output.data[tiny_nemotron.CONTROL.index(token)] *= np.float32(factor)
        if misjudged_end:
            eot = reader.fields['tokenizer.ggml.eot_token_id']
            eot.parts[eot.data[0]][0] = tiny_nemotron.CONTROL.index(misjudged_end)
        reader.data.flush()
        return path

    return make
