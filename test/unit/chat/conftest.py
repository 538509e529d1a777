"""Makes the shared fixtures importable, and a server with the tiny model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / 'fixtures'))

import tiny_nemotron
import xllamacpp


@pytest.fixture(scope='session')
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[xllamacpp.Server]:
    """The engine's own server in this process, with random weights."""
    path = tmp_path_factory.mktemp('model') / 'tiny.gguf'
    tiny_nemotron.write(path)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 4096
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = 256
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.ui = False
    server = xllamacpp.Server(params)
    yield server
    del server
