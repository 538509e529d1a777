"""Whichever way a call comes, nothing reaches the robot that the tool file does not allow."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from types import SimpleNamespace
from typing import Any

from any_calls import ALL, GOOD, calls, names
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder import ROBOT, Recorder, dispatcher

from nemotron_ros.agent import Agent, Command
from nemotron_ros.bridge.direct_calls import DirectCalls
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    ModelInfo,
    Progress,
    TextDelta,
)
from nemotron_ros.tools.result import Status

LONG_S = 10.0
Call = tuple[str, dict[str, Any]]


class Wild:
    """An engine that asks for whatever it was made with, turn by turn."""

    def __init__(self, turns: Sequence[Sequence[Call]]) -> None:
        self._turns = list(turns)

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        return ModelInfo('wild', '', 0)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        for name, arguments in self._turns.pop(0) if self._turns else ():
            yield CallDelta(ToolCall('x', name, arguments))
        yield TextDelta('Done.')

    def close(self) -> None:
        pass


def check(recorder: Recorder, allowed: frozenset[str]) -> None:
    """Hold what reached the robot against the bounds of the file."""
    for name, arguments in recorder.calls:
        assert name in ALL
        assert name in allowed
        assert GOOD[name](arguments), (name, arguments)
    for name, most in (('say', 2), ('turn', 3)):
        assert sum(called == name for called, _ in recorder.calls) <= most


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(calls, max_size=4), max_size=6),
    st.just(['*']) | st.lists(st.sampled_from(sorted(ALL)), max_size=4),
    st.booleans(),
)
def test_what_a_model_asks_for(turns: list[list[Call]], tools: list[str], dry_run: bool) -> None:
    recorder = Recorder()
    agent = Agent(Wild(turns), ROBOT, dispatcher(recorder))
    command = Command('id', 'do it', allowed_tools=tuple(tools), dry_run=dry_run)
    outcome = agent.execute(command, CancelToken(LONG_S), lambda _: None)
    check(recorder, ALL if '*' in tools else frozenset(tools))
    assert not (dry_run and recorder.calls)
    ran = [r.call.name for r in outcome.calls if r.result.status is Status.SUCCEEDED]
    assert ran == [name for name, _ in recorder.calls]  # the account is complete


texts = st.dictionaries(
    st.sampled_from(['distance_m', 'direction', 'angle_deg', 'place']) | st.text(max_size=3),
    st.floats() | st.integers() | st.booleans() | st.text(max_size=3) | st.none(),
    max_size=3,
).map(json.dumps) | st.sampled_from(
    [
        *('', '{', '[]', '"drive"', 'null', '1', '{}', 'NaN', '{"text": "hi"}x'),
        *('{"text": "hi"}', '{"distance_m": 1}', '{"distance_m": 1e999}', '{"distance_m": -1}'),
        *('{"distance_m": 1, "distance_m": 9}', '{"distance_m": 9, "distance_m": 1}'),
        *('{"distance_m": NaN}', '{"distance_m": true}', '{"distance_m": "1"}'),
        *('{"distance_m": 1' + '0' * 400 + '}', '{"angle_deg": 90.0}', '{"angle_deg": 90.5}'),
        *('{"place": "hall"}', '{"place": "Hall"}', '{"place": "h\\u0430ll"}', '[' * 5000),
    ]
)  # fmt: skip


likely = st.sampled_from(
    [
        ('drive', '{"distance_m": 1}', 5.0),
        ('drive', '{"distance_m": 9}', 5.0),
        ('turn', '{"angle_deg": 90}', 5.0),
        ('say', '{"text": "hi"}', 5.0),
        ('go_to', '{"place": "moon"}', 5.0),
        ('go_to', '{"place": "hall"}', 5.0),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(likely | st.tuples(names, texts, st.floats() | st.just(5.0)), max_size=8))
def test_what_another_node_asks_for(asked: list[tuple[str, str, float]]) -> None:
    recorder = Recorder()
    it = dispatcher(recorder)
    direct = DirectCalls(lambda _: None)
    for name, arguments, timeout_s in asked:
        before = len(recorder.calls)
        request = SimpleNamespace(name=name, arguments=arguments, timeout_s=timeout_s, id='')
        result = direct.run(request, it, ALL)
        assert (len(recorder.calls) > before) == (result.status is Status.SUCCEEDED)
    check(recorder, ALL)


steps = st.lists(
    st.tuples(st.just('model'), calls)
    | st.tuples(st.just('node'), calls)
    | st.tuples(st.sampled_from(['stop', 'stop word', 'clear']), st.none()),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_after_a_stop_nothing_comes_through_by_any_path(asked: list[tuple[str, Any]]) -> None:
    recorder = Recorder()
    it = dispatcher(recorder)
    latched = False
    for kind, call in asked:
        before = len(recorder.calls)
        if kind == 'model':
            agent = Agent(Wild([[call]]), ROBOT, it)
            agent.execute(Command('id', 'do it'), CancelToken(LONG_S), lambda _: None)
        elif kind == 'node':
            it.run(ToolCall('1', *call), ALL, CancelToken(LONG_S))
        elif kind == 'clear':
            it.resume()
            latched = False
        elif kind == 'stop':
            assert it.stop('fire', LONG_S)
            latched = True
        else:  # ends everything, and undoes nobody's latch
            agent = Agent(Wild([]), ROBOT, it)
            agent.execute(Command('id', 'Stop!'), CancelToken(LONG_S), lambda _: None)
        if latched:
            assert len(recorder.calls) == before
    assert recorder.halts == sum(kind in ('stop', 'stop word') for kind, _ in asked)
    check(recorder, ALL)
