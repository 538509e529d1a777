"""Calls that other nodes ask for: ids, events, and cancels that come at any time."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from recorder import ROBOT, Recorder, dispatcher, succeed, until_canceled
from threads import in_thread

from nemotron_ros.bridge import direct_calls
from nemotron_ros.bridge.direct_calls import DirectCalls
from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.events import Event, Phase
from nemotron_ros.tools.result import Status, ToolResult

TOOLS = frozenset(ROBOT.tools)


def request(name: str = 'say', arguments: str = '{"text": "hi"}', **fields: Any) -> Any:
    """Return what a CallTool request holds."""
    return SimpleNamespace(
        **{'name': name, 'arguments': arguments, 'timeout_s': 20.0, 'id': '', **fields}
    )


class Bench:
    """Direct calls to a robot that acts by ``act``."""

    def __init__(self, act=succeed) -> None:
        self.events: list[Event] = []
        self.robot = Recorder(act)
        self.calls = DirectCalls(self.events.append)
        self._dispatcher = dispatcher(self.robot)

    def run(self, **fields: Any) -> ToolResult:
        return self.calls.run(request(**fields), self._dispatcher, TOOLS)


def test_a_call_is_told_as_events_under_its_id():
    bench = Bench()
    assert bench.run(id='mine').status is Status.SUCCEEDED
    assert [(e.command_id, e.sequence, e.phase) for e in bench.events] == [
        ('mine', 0, Phase.CALLING),
        ('mine', 1, Phase.EXECUTING),
        ('mine', 2, Phase.RESULT),
    ]
    assert bench.events[1].detail == {'began': 'say'}
    assert bench.events[2].record.result.status is Status.SUCCEEDED


def test_calls_without_an_id_get_one_each():
    bench = Bench()
    for _ in range(2):
        bench.run()
    assert len({event.command_id for event in bench.events} - {''}) == 2


def test_cancel_ends_the_call_of_that_id_and_no_other():
    bench = Bench(until_canceled)
    first = in_thread(lambda: bench.run(name='drive', arguments='{"distance_m": 1}', id='1'))
    second = in_thread(lambda: bench.run(id='2'))
    assert until_true(lambda: len(bench.robot.calls) == 2, 5.0, CancelToken())
    assert bench.calls.cancel('1')
    assert first().status is Status.CANCELED
    assert not bench.calls.cancel('3')
    assert bench.calls.cancel('2')
    assert second().status is Status.CANCELED


def test_cancel_that_overtakes_its_call_keeps_it_from_running():
    bench = Bench()
    assert not bench.calls.cancel('mine')
    assert bench.run(id='mine').status is Status.CANCELED
    assert bench.robot.calls == []
    assert bench.run(id='mine').status is Status.SUCCEEDED  # it was for one call


def test_early_cancels_are_forgotten(monkeypatch):
    bench = Bench()
    monkeypatch.setattr(direct_calls, 'EARLY_CANCEL_S', -1.0)
    bench.calls.cancel('mine')
    assert bench.run(id='mine').status is Status.SUCCEEDED
    monkeypatch.undo()
    for number in range(direct_calls.MAX_EARLY_CANCELS + 1):
        bench.calls.cancel(str(number))
    assert bench.run(id='0').status is Status.SUCCEEDED
    assert bench.run(id='1').status is Status.CANCELED


def test_two_calls_do_not_share_an_id():
    bench = Bench(until_canceled)
    first = in_thread(lambda: bench.run(id='1'))
    assert until_true(lambda: len(bench.robot.calls) == 1, 5.0, CancelToken())
    second = bench.run(id='1')
    assert second.status is Status.INVALID
    assert second.error.startswith('id: ')
    bench.calls.cancel('1')
    assert first().status is Status.CANCELED
    assert len(bench.robot.calls) == 1


@pytest.mark.parametrize(
    ('fields', 'word'),
    [
        ({'timeout_s': math.nan}, 'timeout_s'),
        ({'timeout_s': 0.0}, 'timeout_s'),
        ({'timeout_s': -1.0}, 'timeout_s'),
        ({'timeout_s': math.inf}, 'timeout_s'),
        ({'id': 'x' * 129}, 'id'),
        ({'arguments': ''}, 'arguments'),
        ({'arguments': '[]'}, 'arguments'),
        ({'arguments': '{"text": NaN}'}, 'arguments'),
        ({'arguments': '{"text": "a", "text": "b"}'}, 'arguments'),
        ({'arguments': '{"text": 1e999}'}, 'arguments'),
        ({'arguments': '{"text": ' + '[' * 10_000 + ']' * 10_000 + '}'}, 'arguments'),
        ({'arguments': '{"text": "' + 'x' * 100_000 + '"}'}, 'arguments'),
        ({'name': 'fly'}, 'fly'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_requests_name_the_field_and_run_nothing(fields, word):
    bench = Bench()
    result = bench.run(**fields)
    assert result.status is Status.INVALID
    assert word in result.error
    assert bench.robot.calls == []
