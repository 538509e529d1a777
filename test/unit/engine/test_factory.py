"""The engine that a robot's parameters name."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nemotron_ros.engine.dialects import DIALECTS
from nemotron_ros.engine.factory import ENGINES, LOCAL_ENGINES, EngineSettings, make_engine
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


@pytest.mark.parametrize('name', ['', 'gpt', 'LLAMA_CPP'])
def test_no_such_engine(name: str) -> None:
    with pytest.raises(EngineError) as error:
        make_engine(EngineSettings(name), {}, ignored)
    assert str(error.value) == f'engine: expected {" or ".join(ENGINES)}, got {name!r}'


@pytest.mark.parametrize('name', ENGINES)
def test_every_named_engine_is_known(name: str, tiny: Path) -> None:
    url = 'http://127.0.0.1:8000' if name in DIALECTS else ''
    make_engine(EngineSettings(name, model=str(tiny), script='a.yaml', url=url), {}, ignored)


def test_what_the_design_names_is_there() -> None:
    assert set(ENGINES) >= {
        'edge_llm', 'tensorrt_llm', 'llama_cpp', 'vllm', 'transformers', 'scripted',
    }  # fmt: skip


@pytest.mark.parametrize('name', DIALECTS)
def test_a_server_has_to_be_somewhere(name: str) -> None:
    with pytest.raises(EngineError, match=f'^url: the engine {name} is a server; say where'):
        make_engine(EngineSettings(name), {}, ignored)


@pytest.mark.parametrize('name', LOCAL_ENGINES)
@pytest.mark.parametrize('setting', [{'url': 'http://host:1'}, {'server_command': ('vllm',)}])
def test_an_engine_of_this_process_has_no_server(
    name: str, setting: dict[str, Any], tiny: Path
) -> None:
    with pytest.raises(EngineError, match=f'^{next(iter(setting))}: the engine {name} runs by'):
        make_engine(EngineSettings(name, model=str(tiny), **setting), {}, ignored)


def test_heavy_packages_are_not_imported() -> None:
    """Of what only some engines need, nothing is pulled in by making another."""
    program = (
        'import sys\n'
        'import nemotron_ros.engine.factory\n'
        "print([name for name in ('torch', 'transformers', 'tensorrt_llm', 'xllamacpp', "
        "'numpy', 'rclpy') if name in sys.modules])"
    )
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    told = subprocess.check_output([sys.executable, '-c', program], env=environment, text=True)
    assert told.strip() == '[]'
