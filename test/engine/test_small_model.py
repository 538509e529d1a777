"""A real, small model of the catalogue, in llama.cpp's own server and in its child process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import SYSTEM, TOOLS, calls_of, ignored, text_of
from jsonschema import Draft202012Validator

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Example, Message, ToolCall
from nemotron_ros.chat.prompt import opening
from nemotron_ros.engine.dialects import DIALECTS
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.model_files import fetch, load_catalogue
from nemotron_ros.engine.openai_engine import OpenAIEngine
from nemotron_ros.engine.protocol import (
    ChatRequest,
    Delta,
    Engine,
    EngineError,
    OutputError,
    UsageDelta,
)

HERE = Path(__file__).parent
COMMANDS = ('drive forward one metre', 'stop now', 'say hello', 'go back half a metre, slowly')
EXAMPLES = (
    Example(
        'move ahead 2 m', (ToolCall('1', 'drive', {'direction': 'forward', 'distance_m': 2.0}),)
    ),
    Example('halt', (ToolCall('1', 'stop', {}),)),
    Example('greet them', (ToolCall('1', 'say', {'text': 'Hello!'}),)),
    Example('back 1 m', (ToolCall('1', 'drive', {'direction': 'backward', 'distance_m': 1}),)),
)
OPENING = opening(TOOLS, EXAMPLES)
SCHEMAS = {tool.name: Draft202012Validator(tool.parameters) for tool in TOOLS}
RANGES = {'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'}


@pytest.fixture(scope='module')
def model() -> Path:
    """SmolLM2 135M, fetched at the first use."""
    catalogue = load_catalogue(HERE.parents[1] / 'config' / 'models.yaml')
    try:
        return fetch('smollm2-135m', catalogue, ignored)
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope='module', params=['llama_cpp', 'llama_server'])
def engine(request: pytest.FixtureRequest, model: Path) -> Iterator[Engine]:
    """Its template writes no tools: they are written into the prompt, and calls are JSON."""
    command = (sys.executable, str(HERE / 'llama_server.py'), '--port', '{port}')
    command += ('--model', str(model))
    dialect = DIALECTS['llama_server']
    engine: Engine = (
        LlamaCppEngine(model)
        if request.param == 'llama_cpp'
        else OpenAIEngine(dialect, server_command=command, start_timeout_s=60.0)
    )
    engine.open(ChatRequest(OPENING, TOOLS), ignored)
    yield engine
    engine.close()


def asked(text: str, **more: Any) -> ChatRequest:
    return ChatRequest((*OPENING, Message('user', text)), TOOLS, **more)


def said_by(engine: Engine, request: ChatRequest) -> list[Delta]:
    """Return what it says; a model so small may go on and on."""
    stream = engine.stream(request, CancelToken(60.0))
    said: list[Delta] = []
    try:
        said.extend(stream)
    except OutputError as error:
        assert 'cut' in str(error), 'all else is held'  # noqa: PT017
    return said


def test_every_call_keeps_its_schema(engine: Engine) -> None:
    calls = []
    for seed, text in enumerate(COMMANDS):
        temperature = 0.0 if seed < 2 else 1.0
        said = said_by(engine, asked(text, temperature=temperature, seed=seed, max_tokens=60))
        calls += calls_of(said)
        assert calls_of(said) or text_of(said)
    assert calls
    for call in calls:
        errors = SCHEMAS[call.name].iter_errors(dict(call.arguments))
        assert [error.message for error in errors if error.validator not in RANGES] == []


def test_the_prompt_is_read_once(engine: Engine) -> None:
    for text in COMMANDS[:2]:
        cost = said_by(engine, asked(text, max_tokens=60))[-1]
        assert isinstance(cost, UsageDelta)
        assert cost.cached_tokens >= 0.7 * cost.prompt_tokens


def test_without_tools_there_are_only_words(engine: Engine) -> None:
    request = ChatRequest((SYSTEM, Message('user', 'Say one word.')), max_tokens=30)
    said = said_by(engine, request)
    assert calls_of(said) == []
    assert text_of(said)
