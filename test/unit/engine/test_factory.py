"""The engine that a robot's parameters name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nemotron_ros.engine.factory import ENGINES, EngineSettings, make_engine
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.model_files import Entry
from nemotron_ros.engine.protocol import (
    ChatRequest,
    EngineError,
    EngineState,
    ModelFileError,
    ModelInfo,
)
from nemotron_ros.engine.scripted import ScriptedEngine


def ignored(*_args: object) -> None:
    pass


def test_llama_cpp_by_path(tiny: Path) -> None:
    states: list[EngineState] = []
    settings = EngineSettings('llama_cpp', model=str(tiny), context_tokens=1024)
    engine = make_engine(settings, {}, lambda state, _text: states.append(state))
    assert isinstance(engine, LlamaCppEngine)
    assert engine.pid is None, 'it is not open yet'
    try:
        info = engine.open(ChatRequest(()), ignored)
        assert info == ModelInfo('llama_cpp', tiny.name, 1024)
        assert states == [EngineState.READY]
    finally:
        engine.close()


def test_llama_cpp_by_name(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    catalogue = {'small': Entry('small', 'Small', 's.gguf', len(data), digest, 'none', ())}
    monkeypatch.setenv('NEMOTRON_MODELS', str(tmp_path))
    settings = EngineSettings('llama_cpp', model='small')
    with pytest.raises(ModelFileError, match='nemotron model fetch small'):
        make_engine(settings, catalogue, ignored)
    (tmp_path / 's.gguf').write_bytes(data)
    assert isinstance(make_engine(settings, catalogue, ignored), LlamaCppEngine)


def test_scripted(tmp_path: Path) -> None:
    path = tmp_path / 'script.yaml'
    path.write_text('- text: Yes.')
    engine = make_engine(EngineSettings('scripted', script=str(path)), {}, ignored)
    assert isinstance(engine, ScriptedEngine)
    assert engine.open(ChatRequest(()), ignored).model == 'script.yaml'


@pytest.mark.parametrize('name', ['', 'vllm', 'LLAMA_CPP'])
def test_no_such_engine(name: str) -> None:
    with pytest.raises(EngineError) as error:
        make_engine(EngineSettings(name), {}, ignored)
    assert str(error.value) == f'engine: expected {" or ".join(ENGINES)}, got {name!r}'


@pytest.mark.parametrize('name', ENGINES)
def test_every_named_engine_is_known(name: str, tiny: Path) -> None:
    make_engine(EngineSettings(name, model=str(tiny), script='a.yaml'), {}, ignored)
