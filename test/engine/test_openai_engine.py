"""The client itself: addresses, keys, models, and servers of its own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import WARM, asked, calls_of, deltas, ignored, runs
from server import CALLER, CONTEXT_TOKENS, MODEL, ScriptedServer, Turn

from nemotron_ros.cancel import CancelToken
from nemotron_ros.engine.dialects import DIALECTS
from nemotron_ros.engine.endpoint import checked_url
from nemotron_ros.engine.loopback import free_port
from nemotron_ros.engine.openai_engine import OpenAIEngine
from nemotron_ros.engine.protocol import EngineError, EngineState, ModelInfo

VARIABLE = 'NEMOTRON_TEST_KEY'
KEY = 'sk-0123456789-secret'
OWN = Path(__file__).with_name('own_server.py')


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer('vllm') as server:
        yield server


@pytest.fixture
def engine_of() -> Iterator[Callable[..., OpenAIEngine]]:
    engines: list[OpenAIEngine] = []

    def make(url: str = '', dialect: str = 'vllm', **more: Any) -> OpenAIEngine:
        engines.append(OpenAIEngine(DIALECTS[dialect], url, **more))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


# Addresses


@pytest.mark.parametrize(
    'url',
    [
        'http://host:8000',
        'https://host',
        'http://127.0.0.1:1/',
        'http://[::1]:80/v1',
        'http://h/a',
    ],
)
def test_addresses(url: str) -> None:
    assert checked_url(url) == url.rstrip('/').removesuffix('/v1')


@pytest.mark.parametrize(
    ('url', 'reason'),
    [
        ('', r"^url: expected http://HOST:PORT or https://HOST:PORT, got ''$"),
        ('host:8000', r"got 'host:8000'"),
        ('ftp://host', r'got'),
        ('file:///etc/passwd', r'got'),
        ('http://', r'got'),
        ('http://host:99999', r'got'),
        ('http://host:port', r'got'),
        ('http://[::1', r'got'),
        ('http://host/?a=1', r'without \? and #'),
        ('http://host:{port}', r'means nothing without a server_command'),
    ],
)
def test_what_is_no_address(url: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        OpenAIEngine(DIALECTS['vllm'], url)


def test_a_password_in_the_address_is_not_repeated() -> None:
    with pytest.raises(EngineError, match='a key goes into api_key_env') as error:
        OpenAIEngine(DIALECTS['vllm'], f'http://me:{KEY}@host')
    assert KEY not in str(error.value)


@pytest.mark.parametrize('url', ['http://10.0.0.7:{port}', 'http://0.0.0.0:{port}'])
def test_its_own_server_is_on_this_machine(url: str) -> None:
    with pytest.raises(EngineError, match=r'^url: a server that is started here is at 127'):
        OpenAIEngine(DIALECTS['vllm'], url, server_command=('serve',))


def test_its_own_server_is_told_its_port() -> None:
    with pytest.raises(EngineError, match=r'^url: expected \{port\} where the port is'):
        OpenAIEngine(DIALECTS['vllm'], 'http://127.0.0.1:8000', server_command=('serve',))


def test_nobody_is_there(engine_of: Callable[..., OpenAIEngine]) -> None:
    port = free_port()
    began = time.monotonic()
    with pytest.raises(EngineError, match=rf'^url: http://127.0.0.1:{port} can not be reached'):
        engine_of(f'http://127.0.0.1:{port}').open(WARM, ignored)
    assert time.monotonic() - began < 1.0


def test_a_server_that_goes_away(
    engine_of: Callable[..., OpenAIEngine], server: ScriptedServer
) -> None:
    engine = engine_of(server.url)
    engine.open(WARM, ignored)
    server.stop()
    began = time.monotonic()
    with pytest.raises(EngineError, match=f'^url: {server.url}.* can not be reached'):
        deltas(engine, asked('go'))
    assert time.monotonic() - began < 3.0
    with pytest.raises(EngineError, match='which is later than this command may take'):
        list(engine.stream(asked('go'), CancelToken(0.15)))


def test_http_where_https_is_said(
    engine_of: Callable[..., OpenAIEngine], server: ScriptedServer
) -> None:
    with pytest.raises(EngineError, match='can not be reached'):
        engine_of(server.url.replace('http:', 'https:')).open(WARM, ignored)


def test_a_listener_that_says_nothing(engine_of: Callable[..., OpenAIEngine]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as listener:
        engine = engine_of(f'http://127.0.0.1:{listener.getsockname()[1]}')
        threading.Timer(0.3, engine.close).start()
        began = time.monotonic()
        with pytest.raises(EngineError, match='closed while it opened'):
            engine.open(WARM, ignored)
        assert time.monotonic() - began < 0.6


def test_no_proxy_is_asked(
    engine_of: Callable[..., OpenAIEngine],
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ('HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'):
        monkeypatch.setenv(name, f'http://127.0.0.1:{free_port()}')
    engine_of(server.url).open(WARM, ignored)


# Keys


@pytest.fixture
def locked(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """A server that wants a key, and tells what it was given."""
    server.script.key = KEY
    monkeypatch.setenv(VARIABLE, KEY)
    return server


def test_the_key_opens(engine_of: Callable[..., OpenAIEngine], locked: ScriptedServer) -> None:
    engine = engine_of(locked.url, api_key_env=VARIABLE)
    engine.open(WARM, ignored)
    assert calls_of(deltas(engine, asked('go')))


def test_the_key_is_told_nowhere(
    engine_of: Callable[..., OpenAIEngine],
    locked: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    engine = engine_of(locked.url, api_key_env=VARIABLE)
    info = engine.open(WARM, ignored)
    session = engine._session
    locked.script.key = 'another one'
    locked.script.fault = ''
    told = [repr(engine), repr(info), str(vars(engine)), repr(session.client if session else '')]
    with pytest.raises(EngineError, match=f'the server refuses the key in {VARIABLE}') as error:
        deltas(engine, asked('go'))
    told += [str(error.value), repr(error.value.__cause__), caplog.text]
    assert not [text for text in told if KEY in text]
    assert caplog.text, 'something was logged'


def test_a_server_that_repeats_the_key(
    engine_of: Callable[..., OpenAIEngine], locked: ScriptedServer
) -> None:
    engine = engine_of(locked.url, api_key_env=VARIABLE)
    engine.open(WARM, ignored)
    locked.script.fault = 'repeats the key'
    with pytest.raises(EngineError) as error:
        deltas(engine, asked('go'))
    assert str(error.value) == 'the server refused the request: no good: Bearer ***'


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        (None, f'^api_key_env: the environment variable {VARIABLE} is not set$'),
        ('', f'^api_key_env: the environment variable {VARIABLE} is not set$'),
        ('a\nb', f'^api_key_env: {VARIABLE} holds what no key can hold$'),
        ('schlüssel', f'^api_key_env: {VARIABLE} holds what no key can hold$'),
    ],
)
def test_what_is_no_key(
    engine_of: Callable[..., OpenAIEngine],
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
    reason: str,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(EngineError, match=reason):
        engine_of(server.url, api_key_env=VARIABLE).open(WARM, ignored)


# Models


def test_the_model_that_is_served(
    engine_of: Callable[..., OpenAIEngine], server: ScriptedServer
) -> None:
    for name in ('', MODEL):
        engine = engine_of(server.url, model=name)
        assert engine.open(WARM, ignored) == ModelInfo('vllm', MODEL, CONTEXT_TOKENS)


def test_a_model_that_is_not_served(
    engine_of: Callable[..., OpenAIEngine], server: ScriptedServer
) -> None:
    engine = engine_of(server.url, model='other')
    reason = f"^model: the server does not serve 'other'; it serves {MODEL}$"
    with pytest.raises(EngineError, match=reason):
        engine.open(WARM, ignored)


def test_another_server_than_llama_cpp_s(
    engine_of: Callable[..., OpenAIEngine], server: ScriptedServer
) -> None:
    with pytest.raises(EngineError, match=r'status 404'):
        engine_of(server.url, 'llama_server').open(WARM, ignored)


def test_what_the_server_does_not_take_is_told_when_it_opens(
    engine_of: Callable[..., OpenAIEngine],
) -> None:
    with (
        ScriptedServer('openai') as server,
        pytest.raises(EngineError, match='Extra inputs are not permitted: chat_template_kwargs'),
    ):
        engine_of(server.url, 'vllm').open(WARM, ignored)


def test_it_opens_once(engine_of: Callable[..., OpenAIEngine], server: ScriptedServer) -> None:
    engine = engine_of(server.url)
    engine.open(WARM, ignored)
    with pytest.raises(EngineError, match='open already'):
        engine.open(WARM, ignored)
    assert deltas(engine, asked('go')), 'what is open stays open'


def test_close_while_the_server_is_silent(
    engine_of: Callable[..., OpenAIEngine], server: ScriptedServer
) -> None:
    engine = engine_of(server.url)
    engine.open(WARM, ignored)
    server.script.turn, server.script.fault = Turn('It is so and so.'), 'stalls'
    threading.Timer(0.3, engine.close).start()
    began = time.monotonic()
    with pytest.raises(EngineError, match='the engine was closed while it answered'):
        deltas(engine, asked('go'))
    assert time.monotonic() - began < 0.6
    assert server.script.is_idle()


# Servers of its own


def own(*flags: str) -> dict[str, Any]:
    command = (sys.executable, str(OWN), '--port', '{port}', *flags)
    return {'server_command': command, 'start_timeout_s': 20.0}


def test_its_own_server(engine_of: Callable[..., OpenAIEngine]) -> None:
    states: list[EngineState] = []
    told: list[tuple[float, str]] = []
    engine = engine_of(
        **own('--loading-s', '1.5'), on_state=lambda state, _text: states.append(state)
    )
    engine.open(WARM, lambda *news: told.append(news))
    assert (0.0, 'looking for the server') in told
    assert any('loading the weights' in text for _, text in told)
    assert states == [EngineState.READY]
    assert calls_of(deltas(engine, asked('go')))
    pid = engine.pid
    assert pid is not None
    engine.close()
    assert not runs(pid)


def test_a_server_that_other_machines_can_reach(engine_of: Callable[..., OpenAIEngine]) -> None:
    engine = engine_of(**own('--host', '0.0.0.0'))
    with pytest.raises(EngineError, match=r'^server_command: .*other machines.*127\.0\.0\.1'):
        engine.open(WARM, ignored)
    assert engine.pid is None


def test_a_server_that_can_not_start(engine_of: Callable[..., OpenAIEngine]) -> None:
    engine = engine_of(**own('--no-such-flag'))
    with pytest.raises(EngineError, match=r'ended with code 2: .*--no-such-flag'):
        engine.open(WARM, ignored)
    assert engine.pid is None


def test_a_server_that_dies_in_an_answer_is_started_again(
    engine_of: Callable[..., OpenAIEngine],
) -> None:
    engine = engine_of(**own())
    engine.open(WARM, ignored)
    pid = engine.pid
    children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert calls_of(deltas(engine, asked('go'))), 'nothing of it had come'
    assert engine.pid != pid


def test_words_of_the_turn_are_the_server_s(
    engine_of: Callable[..., OpenAIEngine], server: ScriptedServer
) -> None:
    engine = engine_of(server.url)
    engine.open(WARM, ignored)
    server.script.turn = Turn('Grüß Gott.', calls=CALLER.calls)
    assert len(calls_of(deltas(engine, asked('go')))) == 1
