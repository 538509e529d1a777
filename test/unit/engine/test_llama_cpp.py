"""The embedded engine, all real: child process, unix socket, and a tiny model of noise.

Latencies are the best of a few tries: the bound is on the engine, not on what else the
machine does meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    EngineDied,
    EngineError,
    EngineState,
    ModelFileError,
    ModelInfo,
    OutputError,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.engine.server_process import private_folder

CONTEXT = 1 << 16
TRIES = 4


def tool(name: str, required: list[str], **properties: object) -> ToolSpec:
    parameters = {
        'type': 'object',
        'properties': properties,
        'required': required,
        'additionalProperties': False,
    }
    return ToolSpec(name, f'To {name}.', parameters)


TOOLS = (
    tool(
        'drive',
        ['direction', 'distance_m'],
        direction={'enum': ['forward', 'backward']},
        distance_m={'type': 'number', 'exclusiveMinimum': 0, 'maximum': 2.5},
        times={'type': 'integer', 'minimum': 1, 'maximum': 12},
    ),
    tool('say', ['text'], text={'type': 'string', 'minLength': 1, 'maxLength': 12}),
    tool('stop', []),
)
SCHEMAS = {tool.name: Draft202012Validator(tool.parameters) for tool in TOOLS}
# A number is written as the model means it; one out of range is for the validator to refuse.
RANGES = {'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'}
SYSTEM = Message('system', 'You control a robot.')
WARM = ChatRequest((SYSTEM,), TOOLS)


def ignored(*_args: object) -> None:
    pass


def asked(text: str, **changes: object) -> ChatRequest:
    return ChatRequest((SYSTEM, Message('user', text)), TOOLS, **changes)  # type: ignore[arg-type]


ENDLESS = asked('talk', max_tokens=30_000, temperature=1.0)
QUICK = asked('go', max_tokens=1)


def long_prompt(salt: object) -> ChatRequest:
    """Return a request of some 20,000 tokens, which takes the tiny model seconds to read."""
    return asked(f'{salt} ' + 'kitchen ' * 4000)


@pytest.fixture(scope='session')
def caller(leaning: Callable[..., Path]) -> Path:
    """A model that calls tools, or says little."""
    return leaning('caller', often=('<tool_call>', '<|im_end|>'))


@pytest.fixture(scope='session')
def talker(leaning: Callable[..., Path]) -> Path:
    """A model that never comes to an end."""
    return leaning('talker', never=('<tool_call>', '<|im_end|>'))


@pytest.fixture
def engine_of() -> Iterator[Callable[..., LlamaCppEngine]]:
    """Return a maker of open engines."""
    engines = []

    def make(path: Path, context_tokens: int = CONTEXT, **more: object) -> LlamaCppEngine:
        engine = LlamaCppEngine(path, context_tokens, **more)  # type: ignore[arg-type]
        engines.append(engine)
        engine.open(WARM, ignored)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def talking(engine_of: Callable[..., LlamaCppEngine], talker: Path) -> LlamaCppEngine:
    return engine_of(talker)


def deltas(
    engine: LlamaCppEngine, request: ChatRequest, cancel: CancelToken | None = None
) -> list[Delta]:
    return list(engine.stream(request, cancel or CancelToken(30.0)))


def text_of(said: list[Delta]) -> str:
    return ''.join(delta.text for delta in said if isinstance(delta, TextDelta))


def usage(said: list[Delta]) -> UsageDelta:
    cost = said[-1]
    assert isinstance(cost, UsageDelta)
    return cost


def reasoning_of(said: list[Delta]) -> str:
    return ''.join(delta.text for delta in said if isinstance(delta, ReasoningDelta))


def calls_of(said: list[Delta]) -> list[ToolCall]:
    return [delta.call for delta in said if isinstance(delta, CallDelta)]


def wrong_in(call: ToolCall) -> list[str]:
    """Return what a call holds against its tool's schema."""
    errors = SCHEMAS[call.name].iter_errors(dict(call.arguments))
    return [error.message for error in errors if error.validator not in RANGES]


def cut_off(engine: LlamaCppEngine, request: ChatRequest) -> tuple[list[Delta], str]:
    """Return what an answer without an end says, and the error that ends it."""
    said = []
    try:
        for delta in engine.stream(request, CancelToken(30.0)):
            said.append(delta)
    except OutputError as error:
        return said, str(error)
    raise AssertionError('it was not cut off')


def first_delta_s(engine: LlamaCppEngine, request: ChatRequest) -> float:
    """Return how long the first delta takes; then hang up."""
    began = time.monotonic()
    stream = engine.stream(request, CancelToken(30.0))
    next(stream)
    took = time.monotonic() - began
    stream.close()
    return took


def runs(pid: int | None) -> bool:
    return pid is not None and Path(f'/proc/{pid}').exists()


def kill(engine: LlamaCppEngine) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)


# Opening and closing


def test_open_reports_progress(caller: Path) -> None:
    told: list[tuple[float, str]] = []
    engine = LlamaCppEngine(caller, 2048)
    try:
        info = engine.open(WARM, lambda *news: told.append(news))
        parts = [part for part, _ in told]
        assert info == ModelInfo('llama_cpp', 'caller.gguf', 2048)
        assert told[0] == (0.0, 'loading caller.gguf')
        assert told[-1] == (1.0, 'ready')
        assert parts == sorted(parts)
        assert len({part for part in parts if 0.5 < part < 1.0}) > 1, 'the prompt is read in steps'
    finally:
        engine.close()


def test_the_context_told_is_the_one_there_is(tiny: Path) -> None:
    engine = LlamaCppEngine(tiny, 2 * CONTEXT)
    try:
        assert engine.open(WARM, ignored).context_tokens == CONTEXT, 'the model has no more'
    finally:
        engine.close()


def test_states_are_told(engine_of: Callable[..., LlamaCppEngine], caller: Path) -> None:
    told: list[EngineState] = []
    engine = engine_of(caller, on_state=lambda state, _text: told.append(state))
    assert told == [EngineState.READY]
    kill(engine)
    deltas(engine, asked('go'))
    assert told == [EngineState.READY, EngineState.RESTARTING, EngineState.READY]


def test_close_leaves_nothing(caller: Path) -> None:
    engine = LlamaCppEngine(caller, 2048)
    engine.close()
    engine.open(WARM, ignored)
    pid, folder = engine.pid, Path(engine._folder)
    assert runs(pid)
    assert {path.name for path in folder.iterdir()} == {'server.sock'}
    assert folder.stat().st_mode & 0o077 == 0
    engine.close()
    engine.close()
    assert not runs(pid)
    assert not folder.exists()
    assert engine.pid is None
    with pytest.raises(EngineError, match='not open'):
        deltas(engine, asked('go'))


def test_it_can_be_opened_again(caller: Path) -> None:
    engine = LlamaCppEngine(caller, 2048)
    try:
        for _ in range(2):
            engine.open(WARM, ignored)
            assert deltas(engine, asked('go'))
            engine.close()
    finally:
        engine.close()


def test_what_was_read_is_there_after_a_restart(caller: Path, prompts: Path) -> None:
    told: list[str] = []
    for times in (1, 2):
        engine = LlamaCppEngine(caller, CONTEXT)
        try:
            engine.open(WARM, lambda _part, text: told.append(text))
            cost = usage(deltas(engine, asked('go')))
        finally:
            engine.close()
        assert cost.cached_tokens >= 0.85 * cost.prompt_tokens, times
        assert ('reading the prompt' in told) is (times == 1)
        told.clear()
        assert len(list(prompts.iterdir())) == 1


@pytest.mark.parametrize('damage', [b'', b'nothing of the kind'])
def test_a_damaged_file_is_read_again(caller: Path, prompts: Path, damage: bytes) -> None:
    for _ in range(2):
        engine = LlamaCppEngine(caller, CONTEXT)
        try:
            engine.open(WARM, ignored)
            cost = usage(deltas(engine, asked('go')))
        finally:
            engine.close()
        assert cost.cached_tokens >= 0.85 * cost.prompt_tokens
        (saved,) = prompts.iterdir()
        saved.write_bytes(damage)


def test_after_a_crash_the_opening_need_not_be_read_again(
    engine_of: Callable[..., LlamaCppEngine], caller: Path
) -> None:
    engine = engine_of(caller)
    kill(engine)
    cost = usage(deltas(engine, asked('go')))
    assert cost.cached_tokens >= 0.85 * cost.prompt_tokens


@pytest.mark.parametrize('at', [0.0, 0.5])
def test_close_while_it_opens(caller: Path, at: float) -> None:
    engine = LlamaCppEngine(caller, CONTEXT)
    closers: list[threading.Thread] = []
    left: list[tuple[int | None, str]] = []

    def close() -> None:
        while engine.pid is None:
            time.sleep(0.001)
        left.append((engine.pid, engine._folder))
        engine.close()

    def progress(part: float, _text: str) -> None:
        if part == at and not closers:
            closers.append(threading.Thread(target=close))
            closers[0].start()

    request = replace(WARM, messages=long_prompt('').messages) if at else WARM
    with pytest.raises(EngineError, match=r'closed|not open'):
        engine.open(request, progress)
    closers[0].join()
    ((pid, folder),) = left
    assert not runs(pid)
    assert not Path(folder).exists()


def test_path_with_spaces(
    engine_of: Callable[..., LlamaCppEngine], caller: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "a robot's models"
    folder.mkdir()
    path = folder / 'my model é.gguf'
    path.symlink_to(caller)
    assert deltas(engine_of(path, 2048), asked('go'))


def test_truncated_file(caller: Path, tmp_path: Path) -> None:
    path = tmp_path / 'cut.gguf'
    path.write_bytes(caller.read_bytes()[:-1000])
    engine = LlamaCppEngine(path, 2048)
    with pytest.raises(ModelFileError, match='is cut short'):
        engine.open(WARM, ignored)
    assert engine.pid is None


def test_file_that_the_server_refuses(caller: Path, tmp_path: Path) -> None:
    path = tmp_path / 'other.gguf'
    path.write_bytes(caller.read_bytes().replace(b'nemotron_h', b'nemotron_x'))
    engine = LlamaCppEngine(path, 2048)
    with pytest.raises(EngineError, match="unknown model architecture: 'nemotron_x'"):
        engine.open(WARM, ignored)
    assert engine.pid is None


def test_opening_too_long_for_the_context(caller: Path) -> None:
    engine = LlamaCppEngine(caller, 256)
    with pytest.raises(EngineError, match=r'tokens and the context holds 256; use fewer tools'):
        engine.open(WARM, ignored)
    assert engine.pid is None


PARENT = """
import sys
from pathlib import Path
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.protocol import ChatRequest
engine = LlamaCppEngine(Path(sys.argv[1]), 2048)
engine.open(ChatRequest(()), lambda *_: None)
print(engine.pid, engine._folder, flush=True)
input()
"""


def test_child_ends_with_a_killed_parent(caller: Path) -> None:
    command = [sys.executable, '-c', PARENT, str(caller)]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().decode().split()
        assert runs(int(pid))
        parent.kill()
    until = time.monotonic() + 5.0
    while runs(int(pid)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not runs(int(pid))
    shutil.rmtree(folder)


def test_child_ends_while_it_loads(tmp_path: Path) -> None:
    folder = private_folder()  # a socket's whole name must be short
    settings = {
        'model': str(tmp_path / 'model'),
        'socket': f'{folder}/server.sock',
        'key': '',
        'context_tokens': 512,
        'batch_tokens': 128,
        'threads': 1,
        'prompt_threads': 1,
        'prompts_folder': f'{folder}/',
    }
    os.mkfifo(settings['model'])  # whoever opens it waits for one that writes
    command = [sys.executable, '-m', 'nemotron_ros.engine.llama_child']
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    child = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    try:
        assert child.stdin is not None
        child.stdin.write(f'{json.dumps(settings)}\n'.encode())
        child.stdin.flush()
        time.sleep(0.5)
        assert child.poll() is None, 'it waits for the file'
        child.stdin.close()
        child.wait(5.0)
    finally:
        child.kill()
        child.wait()
        shutil.rmtree(folder)


# What it says


def test_every_call_keeps_its_schema(
    engine_of: Callable[..., LlamaCppEngine], caller: Path
) -> None:
    engine = engine_of(caller, 4096)
    calls = []
    for temperature in (0.0, 0.7, 1.5, 3.0):
        for seed in range(8):
            said = deltas(engine, asked(f'go {seed}', temperature=temperature, seed=seed))
            assert isinstance(said[-1], UsageDelta)
            calls += calls_of(said)
            assert calls_of(said) or text_of(said)
    assert [wrong for call in calls for wrong in wrong_in(call)] == []
    assert {call.name for call in calls} == {'drive', 'say', 'stop'}
    assert len(calls) > 30


def test_a_model_can_end_its_turn_whatever_the_server_takes_for_the_end(
    engine_of: Callable[..., LlamaCppEngine], caller: Path, leaning: Callable[..., Path]
) -> None:
    often = ('<tool_call>', '<|im_end|>')
    misjudged = engine_of(leaning('misjudged', often=often, misjudged_end='<|im_start|>'), 4096)
    engine = engine_of(caller, 4096)
    for text in ('go', 'come here please', 'stop'):
        assert deltas(misjudged, asked(text))[:-1] == deltas(engine, asked(text))[:-1]


def test_without_tools_there_are_only_words(
    engine_of: Callable[..., LlamaCppEngine], caller: Path
) -> None:
    engine = engine_of(caller, 4096)
    for seed in range(6):
        request = ChatRequest((SYSTEM, Message('user', 'Hi')), temperature=1.0, seed=seed)
        assert calls_of(deltas(engine, request)) == []


def test_seed_and_temperature_decide(
    engine_of: Callable[..., LlamaCppEngine], talker: Path
) -> None:
    engine = engine_of(talker, 4096)

    def say(temperature: float, seed: int) -> str:
        request = asked('Hi', max_tokens=20, temperature=temperature, seed=seed)
        return text_of(cut_off(engine, request)[0])

    assert say(0.0, 1) == say(0.0, 2)
    assert say(2.0, 1) == say(2.0, 1)
    assert len({say(2.0, seed) for seed in range(4)}) == 4


def test_thinking_is_apart(
    engine_of: Callable[..., LlamaCppEngine], leaning: Callable[..., Path]
) -> None:
    engine = engine_of(leaning('thinker', often=('</think>', '<|im_end|>', '<tool_call>')), 4096)
    thoughts, words, calls = [], [], []
    for seed in range(12):
        said = deltas(engine, asked('go', thinking=True, temperature=1.0, seed=seed))
        kinds = [type(delta) for delta in said]
        assert kinds == sorted(kinds, key=[ReasoningDelta, TextDelta, CallDelta, UsageDelta].index)
        thoughts.append(reasoning_of(said))
        words.append(text_of(said))
        calls += calls_of(said)
    assert any(thoughts)
    assert any(words)
    assert not any('think>' in part for part in thoughts + words)
    assert [wrong for call in calls for wrong in wrong_in(call)] == []
    said = deltas(engine, asked('go', temperature=1.0))
    assert reasoning_of(said) == ''


def test_usage_and_the_kept_prompt(engine_of: Callable[..., LlamaCppEngine], caller: Path) -> None:
    engine = engine_of(caller, 4096)
    usages = []
    for text in ('come here please', 'and now go to the kitchen', 'stop'):
        *said, usage = deltas(engine, asked(text))
        assert isinstance(usage, UsageDelta)
        assert not any(isinstance(delta, UsageDelta) for delta in said)
        usages.append(usage)
    for usage in usages:
        assert usage.prompt_tokens > 500
        assert usage.completion_tokens > 0
        assert 0.85 * usage.prompt_tokens <= usage.cached_tokens < usage.prompt_tokens
    assert len({usage.prompt_tokens for usage in usages}) > 1


def test_cut_off_answer(engine_of: Callable[..., LlamaCppEngine], talker: Path) -> None:
    said, reason = cut_off(engine_of(talker, 4096), asked('Hi', max_tokens=25))
    assert reason == 'the answer was cut off after 25 tokens'
    assert text_of(said)
    assert isinstance(said[-1], UsageDelta)
    assert said[-1].completion_tokens == 25


def test_cut_off_call(engine_of: Callable[..., LlamaCppEngine], caller: Path) -> None:
    engine = engine_of(caller, 4096)
    assert calls_of(deltas(engine, asked('go')))
    said, reason = cut_off(engine, asked('go', max_tokens=9))
    assert reason.startswith("the model's output can not be used: ")
    assert calls_of(said) == []


def test_full_context_cuts_off(engine_of: Callable[..., LlamaCppEngine], talker: Path) -> None:
    said, reason = cut_off(engine_of(talker, 1024), asked('Hi', max_tokens=5000))
    usage = said[-1]
    assert isinstance(usage, UsageDelta)
    assert usage.prompt_tokens + usage.completion_tokens in (1023, 1024)
    assert reason == f'the answer was cut off after {usage.completion_tokens} tokens'


def test_prompt_longer_than_the_context(
    engine_of: Callable[..., LlamaCppEngine], caller: Path
) -> None:
    engine = engine_of(caller, 1024)
    reason = (
        r'^the prompt has \d{4} tokens and the context holds 1024; use fewer tools or examples'
    )
    began = time.monotonic()
    with pytest.raises(EngineError, match=reason) as error:
        deltas(engine, asked('go ' * 1000))
    assert not isinstance(error.value, EngineDied)
    assert time.monotonic() - began < 0.9, 'it is told at once'
    assert deltas(engine, asked('go'))


# Cancelling


def cancelled_s(
    engine: LlamaCppEngine, request: ChatRequest, after: int, wait_s: float = 0.0
) -> float:
    """Cancel a stream after some deltas and a while; return how long it then took to end."""
    token = CancelToken(60.0)
    at = []

    def cancel() -> None:
        at.append(time.monotonic())
        token.cancel()

    if not after:
        threading.Timer(wait_s, cancel).start()
    for number, delta in enumerate(engine.stream(request, token), 1):
        assert not isinstance(delta, UsageDelta), 'it was over before'
        if number == after:
            threading.Timer(wait_s, cancel).start()
    assert token.cause is Cause.CANCELED
    return time.monotonic() - at[0]


def test_cancel_while_it_writes(talking: LlamaCppEngine) -> None:
    times = [cancelled_s(talking, ENDLESS, after=5, wait_s=0.05) for _ in range(TRIES)]
    assert min(times) < 0.1
    assert min(first_delta_s(talking, asked('Hi')) for _ in range(TRIES)) < 0.2


def test_cancel_while_it_reads(talking: LlamaCppEngine) -> None:
    ends, idle = [], []
    for number in range(TRIES):
        ends.append(cancelled_s(talking, long_prompt(number), after=0, wait_s=0.4))
        idle.append(first_delta_s(talking, asked('Hi')))
    assert min(ends) < 0.5
    assert min(idle) < 0.5, 'the server reads on'


def test_cancel_while_it_waits_its_turn(talking: LlamaCppEngine) -> None:
    stream = talking.stream(ENDLESS, CancelToken(60.0))
    next(stream)
    times = [cancelled_s(talking, asked('Hi'), after=0, wait_s=0.1) for _ in range(TRIES)]
    assert min(times) < 0.1
    began = time.monotonic()
    assert deltas(talking, asked('Hi'), CancelToken(0.2)) == []
    assert time.monotonic() - began < 0.7
    stream.close()


def test_the_long_prompt_is_long(talking: LlamaCppEngine) -> None:
    token = CancelToken(1.5)
    assert deltas(talking, long_prompt('?'), token) == []
    assert token.cause is Cause.DEADLINE


def test_deadline(talking: LlamaCppEngine) -> None:
    within_s = 2.0  # the engine leaves busy cores to others, and has to have begun by then
    late = []
    for _ in range(TRIES):
        token = CancelToken(within_s)
        began = time.monotonic()
        said = deltas(talking, ENDLESS, token)
        late.append(time.monotonic() - began - within_s)
        assert text_of(said)
        assert not isinstance(said[-1], UsageDelta)
        assert token.cause is Cause.DEADLINE
    assert min(late) < 0.1


def test_ended_token_asks_nothing(talking: LlamaCppEngine) -> None:
    token = CancelToken()
    token.cancel()
    assert deltas(talking, ENDLESS, token) == []


def test_closing_the_generator_frees_the_server(talking: LlamaCppEngine) -> None:
    times = []
    for _ in range(TRIES):
        stream = talking.stream(ENDLESS, CancelToken(60.0))
        next(stream)
        stream.close()
        times.append(first_delta_s(talking, asked('Hi')))
    assert min(times) < 0.2


def test_streams_from_other_threads(
    engine_of: Callable[..., LlamaCppEngine], caller: Path
) -> None:
    engine = engine_of(caller, 4096)
    said: list[list[Delta]] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: said.append(deltas(engine, asked('go'))))
        thread.start()
        thread.join()
    here = deltas(engine, asked('go'))
    assert [one[:-1] for one in said] == [here[:-1]] * 2


def test_streams_at_the_same_time_take_turns(
    engine_of: Callable[..., LlamaCppEngine], caller: Path
) -> None:
    engine = engine_of(caller, 4096)
    said: list[list[Delta]] = []
    threads = [
        threading.Thread(target=lambda: said.append(deltas(engine, asked('go')))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 4
    assert all(calls_of(one) == calls_of(said[0]) for one in said)


# Dying


def test_death_in_mid_stream(talking: LlamaCppEngine) -> None:
    stream = talking.stream(ENDLESS, CancelToken(60.0))
    next(stream)
    kill(talking)
    began = time.monotonic()
    with pytest.raises(EngineDied, match='died while it answered; it is being started again'):
        list(stream)
    assert time.monotonic() - began < 2.0
    assert first_delta_s(talking, asked('Hi')) < 20.0


@pytest.mark.parametrize('later_s', [0.0, 0.002, 0.5])
def test_death_while_idle_costs_nothing(
    engine_of: Callable[..., LlamaCppEngine], caller: Path, later_s: float
) -> None:
    engine = engine_of(caller, 4096)
    before = deltas(engine, asked('go'))
    pid = engine.pid
    kill(engine)
    time.sleep(later_s)
    assert deltas(engine, asked('go'))[:-1] == before[:-1]
    assert engine.pid not in (pid, None)


def test_close_in_mid_stream(talking: LlamaCppEngine) -> None:
    stream = talking.stream(ENDLESS, CancelToken(60.0))
    next(stream)
    began = time.monotonic()
    talking.close()
    with pytest.raises(EngineError, match='was closed') as error:
        list(stream)
    assert not isinstance(error.value, EngineDied), 'nobody starts it again'
    assert time.monotonic() - began < 2.0
