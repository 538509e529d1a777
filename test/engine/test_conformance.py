"""What every engine does, whichever it is: the same checks for all of them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from asking import (
    SYSTEM,
    TOOLS,
    WARM,
    asked,
    calls_of,
    cut_off,
    deltas,
    ignored,
    reasoning_of,
    runs,
    serves,
    text_of,
    tool,
)
from jsonschema import Draft202012Validator
from workbench import Bench

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.messages import Message
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    Engine,
    EngineDied,
    EngineError,
    OutputError,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)

Applies = Callable[[object, str], None]
TRIES = 3
SCHEMAS = {tool.name: Draft202012Validator(tool.parameters) for tool in TOOLS}
# A number is written as the model means it; one out of range is for the validator to refuse.
RANGES = {'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'}


def ended(before: set[threading.Thread], within_s: float = 5.0) -> bool:
    """Whether the threads that there were not before end in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not {thread for thread in threading.enumerate() if thread.is_alive()} - before:
            return True
        time.sleep(0.02)
    return False


# Opening and closing


def test_open_tells_its_progress(bench: Bench) -> None:
    rig = bench.fresh('caller')
    told: list[tuple[float, str]] = []
    info = rig.engine.open(WARM, lambda *news: told.append(news))
    parts = [part for part, _ in told]
    assert parts[-1] == 1.0
    assert all(0.0 <= a <= b <= 1.0 for a, b in pairwise(parts))
    assert all(text for _, text in told)
    assert info.model
    assert info.engine
    rig.engine.close()


def test_stream_before_open_is_refused(bench: Bench) -> None:
    with pytest.raises(EngineError, match='not open'):
        deltas(bench.fresh('caller').engine, asked('go'))


def test_close_leaves_nothing_behind(bench: Bench) -> None:
    rig = bench.fresh('caller')
    threads = set(threading.enumerate())
    files = set(os.listdir('/proc/self/fd'))
    rig.engine.open(WARM, ignored)
    pids = rig.pids()
    deltas(rig.engine, asked('go'))
    rig.engine.close()
    assert [pid for pid in pids if runs(pid)] == []
    assert ended(threads)
    assert len(os.listdir('/proc/self/fd')) <= len(files)


def test_close_twice_and_before_open(bench: Bench) -> None:
    rig = bench.fresh('caller')
    rig.engine.close()
    rig.engine.open(WARM, ignored)
    rig.engine.close()
    rig.engine.close()
    with pytest.raises(EngineError, match='not open'):
        deltas(rig.engine, asked('go'))


def test_it_can_be_opened_again(bench: Bench) -> None:
    rig = bench.fresh('caller')
    for _ in range(2):
        rig.engine.open(WARM, ignored)
        assert deltas(rig.engine, asked('go'))
        rig.engine.close()


def test_open_that_fails_leaves_nothing_behind(bench: Bench, applies: Applies) -> None:
    rig = bench.fresh('caller')
    applies(rig.spoil, 'nothing can make it fail')
    assert rig.spoil is not None
    rig.spoil()
    threads = set(threading.enumerate())
    with pytest.raises(EngineError) as error:
        rig.engine.open(WARM, ignored)
    assert not isinstance(error.value, OutputError)
    assert len(str(error.value)) < 1000, 'it can be read'
    assert rig.pids() == []
    assert ended(threads)
    with pytest.raises(EngineError, match='not open'):
        deltas(rig.engine, asked('go'))
    with pytest.raises(EngineError) as again:
        rig.engine.open(WARM, ignored)
    assert 'already' not in str(again.value), 'it is not half open'


# What it says


def test_usage_comes_last_and_once(bench: Bench) -> None:
    *said, last = deltas(bench.opened('caller').engine, asked('go'))
    assert isinstance(last, UsageDelta)
    assert not any(isinstance(delta, UsageDelta) for delta in said)
    assert said


def test_usage_is_counted(bench: Bench, applies: Applies) -> None:
    rig = bench.opened('caller')
    applies(rig.counts_tokens, 'it counts no tokens')
    *_, usage = deltas(rig.engine, asked('go'))
    assert isinstance(usage, UsageDelta)
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert 0 <= usage.cached_tokens <= usage.prompt_tokens


def test_no_delta_is_empty(bench: Bench) -> None:
    said = deltas(bench.opened('caller').engine, asked('go'))
    pieces = [d.text for d in said if isinstance(d, (TextDelta, ReasoningDelta))]
    assert all(pieces)


def test_calls_are_whole_and_keep_their_schema(bench: Bench) -> None:
    rig = bench.opened('caller')
    calls = []
    for seed in range(6):
        request = asked(f'go {seed}', temperature=1.0, seed=seed)
        calls += calls_of(deltas(rig.engine, request))
    assert calls
    for call in calls:
        assert call.id
        errors = SCHEMAS[call.name].iter_errors(dict(call.arguments))
        assert [e.message for e in errors if e.validator not in RANGES] == []


def test_without_tools_there_are_only_words(bench: Bench, applies: Applies) -> None:
    rig = bench.opened('caller')
    applies(rig.is_held, 'nothing keeps its model from a call; an unknown one is refused')
    request = ChatRequest((SYSTEM, Message('user', 'Hi')), temperature=1.0)
    for seed in range(3):
        assert calls_of(deltas(rig.engine, replace(request, seed=seed))) == []


def test_same_seed_same_words(bench: Bench, applies: Applies) -> None:
    rig = bench.opened('caller')
    request = asked('go', temperature=1.0, seed=7)
    first, second = (deltas(rig.engine, request)[:-1] for _ in range(2))
    assert first == second


def test_cut_off_at_max_tokens(bench: Bench, applies: Applies) -> None:
    rig = bench.opened('talker')
    applies(rig.counts_tokens, 'it counts no tokens')
    said, error = cut_off(rig.engine, asked('talk', max_tokens=12))
    assert text_of(said)
    assert isinstance(said[-1], UsageDelta)
    assert said[-1].completion_tokens == 12
    assert str(error) == 'the answer was cut off after 12 tokens'


def test_a_call_that_is_cut_off_is_none(bench: Bench, applies: Applies) -> None:
    rig = bench.opened('caller')
    applies(rig.counts_tokens, 'it counts no tokens')
    for max_tokens in range(1, 8):
        said, _ = cut_off(rig.engine, asked('go', max_tokens=max_tokens))
        assert calls_of(said) == []


def test_thinking_stays_off(bench: Bench) -> None:
    rig = bench.opened('caller')
    for seed in range(4):
        said = deltas(rig.engine, asked('go', temperature=1.0, seed=seed))
        assert reasoning_of(said) == ''
        assert 'think>' not in text_of(said)


def test_thinking_is_apart(bench: Bench, applies: Applies) -> None:
    rig = bench.opened('talker')
    applies(rig.thinks, 'thinking can not be switched')
    said, _ = cut_off(rig.engine, asked('go', thinking=True, max_tokens=40, temperature=1.0))
    assert reasoning_of(said)
    assert 'think>' not in reasoning_of(said) + text_of(said)
    kinds = [type(delta) for delta in said]
    assert kinds == sorted(kinds, key=[ReasoningDelta, TextDelta, CallDelta, UsageDelta].index)


def test_a_prompt_that_is_too_long_is_refused(bench: Bench, applies: Applies) -> None:
    rig = bench.opened('caller')
    applies(rig.knows_its_context, 'it has no context of its own')
    with pytest.raises(EngineError, match=r'tokens|context') as error:
        deltas(rig.engine, asked('kitchen ' * 70_000))
    assert not isinstance(error.value, OutputError)
    assert deltas(rig.engine, asked('go')), 'the next one is answered'


# Cancelling


def cancelled_s(engine: Engine, request: ChatRequest, after: int, wait_s: float) -> float:
    """Cancel a stream after some deltas and a while; return how long it then took to end."""
    token = CancelToken(60.0)
    at: list[float] = []

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


def test_cancel_while_it_writes(bench: Bench) -> None:
    rig = bench.opened('talker')
    times = [cancelled_s(rig.engine, rig.endless, after=3, wait_s=0.05) for _ in range(TRIES)]
    assert min(times) < 0.1
    assert rig.script is None or rig.script.is_idle(), 'the server goes on'
    assert serves(rig.engine) < 5.0


def test_cancel_while_it_reads(bench: Bench, applies: Applies) -> None:
    rig = bench.opened('talker')
    applies(rig.long_prompt, 'it reads no prompt')
    assert rig.long_prompt is not None
    times = []
    for number in range(TRIES):
        salted = (SYSTEM, Message('user', f'{number} {rig.long_prompt.messages[-1].content}'))
        request = replace(rig.long_prompt, messages=salted)
        times.append(cancelled_s(rig.engine, request, after=0, wait_s=0.2))
    assert min(times) < 0.1
    assert rig.script is None or rig.script.is_idle(), 'the server goes on'
    assert serves(rig.engine) < 5.0


def test_deadline(bench: Bench) -> None:
    rig = bench.opened('talker')
    late = []
    for _ in range(TRIES):
        token = CancelToken(0.3)
        began = time.monotonic()
        said = list(rig.engine.stream(rig.endless, token))
        late.append(time.monotonic() - began - 0.3)
        assert not any(isinstance(delta, UsageDelta) for delta in said)
        assert token.cause is Cause.DEADLINE
    assert min(late) < 0.1
    assert rig.script is None or rig.script.is_idle(), 'the server goes on'


def test_an_ended_token_asks_nothing(bench: Bench) -> None:
    rig = bench.opened('talker')
    token = CancelToken()
    token.cancel()
    assert list(rig.engine.stream(rig.endless, token)) == []


def test_closing_the_generator_frees_it(bench: Bench) -> None:
    rig = bench.opened('talker')
    stream = rig.engine.stream(rig.endless, CancelToken(60.0))
    next(stream)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 0.5
    assert rig.script is None or rig.script.is_idle(), 'the server goes on'
    assert serves(rig.engine) < 5.0


def test_two_at_once(bench: Bench) -> None:
    rig = bench.opened('caller')
    alone = deltas(rig.engine, asked('go'))[:-1]
    said: list[list[Delta]] = []
    threads = [
        threading.Thread(target=lambda: said.append(deltas(rig.engine, asked('go'))[:-1]))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert said == [alone, alone]


def test_cancelling_one_of_two_leaves_the_other(bench: Bench) -> None:
    rig = bench.opened('talker')
    token = CancelToken(60.0)
    first = rig.engine.stream(rig.endless, token)
    next(first)
    second = rig.engine.stream(rig.endless, CancelToken(60.0))
    threading.Timer(0.1, token.cancel).start()
    assert next(second), 'it is answered, at once or when the first has ended'
    assert not any(isinstance(delta, UsageDelta) for delta in first)
    second.close()


def test_close_in_mid_stream(bench: Bench) -> None:
    rig = bench.fresh('talker')
    rig.engine.open(WARM, ignored)
    stream = rig.engine.stream(rig.endless, CancelToken(60.0))
    next(stream)
    began = time.monotonic()
    rig.engine.close()
    with pytest.raises(EngineError, match='closed'):
        list(stream)
    assert time.monotonic() - began < 6.0


# Dying


def test_death_in_mid_stream(bench: Bench, applies: Applies) -> None:
    rig = bench.fresh('talker')
    applies(rig.kill, 'it has no process of its own')
    assert rig.kill is not None
    rig.engine.open(WARM, ignored)
    stream = rig.engine.stream(rig.endless, CancelToken(60.0))
    next(stream)
    rig.kill()
    began = time.monotonic()
    with pytest.raises(EngineDied, match='being started again'):
        list(stream)
    assert time.monotonic() - began < 2.0
    assert serves(rig.engine) < 20.0, 'the next one is answered'


def test_death_while_idle_costs_nothing(bench: Bench, applies: Applies) -> None:
    rig = bench.fresh('caller')
    applies(rig.kill, 'it has no process of its own')
    assert rig.kill is not None
    rig.engine.open(WARM, ignored)
    before = deltas(rig.engine, asked('go'))[:-1]
    rig.kill()
    assert deltas(rig.engine, asked('go'))[:-1] == before


# Much


def test_five_hundred_tools(bench: Bench) -> None:
    rig = bench.opened('caller')
    tools = tuple(
        tool(f'go_to_{n}', ['how'], how={'enum': ['slowly', 'fast']}) for n in range(500)
    )
    request = replace(asked('go', max_tokens=300), tools=tools)
    began = time.monotonic()
    with suppress(EngineError):
        # Reading them all takes some longer than that; they end in time all the same.
        said = deltas(rig.engine, request, timeout_s=3.0)
        assert {call.name for call in calls_of(said)} <= {tool.name for tool in tools} | {'drive'}
    assert time.monotonic() - began < 4.0
    assert deltas(rig.engine, asked('go')), 'the next one is answered'
