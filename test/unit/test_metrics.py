"""What the events of commands add up to, and how it is served."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nemotron_ros import metrics
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.engine.protocol import EngineState
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.metrics import (
    Counts,
    Health,
    MetricsError,
    MetricsServer,
    Tally,
    TraceState,
    families,
    rss_bytes,
)
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.trace.tapped_engine import TurnCost

HEALTH = Health(
    True, EngineState.READY, '', 'llama_cpp', 'nano', 4096, '', 0, Counts(), TraceState()
)


def event(phase: Phase, command_id: str = 'a', detail: object = None) -> Event:
    return Event(command_id, 'session', 0, phase, detail=detail)


def ended(status: str, error: str = '', command_id: str = 'a') -> Event:
    return event(Phase.DONE, command_id, {'status': status, 'error': error})


def called(status: Status, rule: str = '') -> Event:
    result = ToolResult(status, error='too: much', rule=rule)
    record = CallRecord(ToolCall('call_1', 'drive', {}), result)
    return replace(event(Phase.RESULT), record=record)


def test_commands_are_followed_from_the_queue_to_their_end():
    tally = Tally()
    for phase in (Phase.ACCEPTED, Phase.QUEUED):
        tally.note(event(phase, 'a'))
    tally.note(event(Phase.ACCEPTED, 'b'))
    tally.note(event(Phase.PROMPTING, 'b'))
    assert (tally.counts().running, tally.counts().queued) == (1, 1)
    tally.note(event(Phase.PROMPTING, 'a'))
    assert (tally.counts().running, tally.counts().queued) == (2, 0)
    tally.note(ended('SUCCEEDED', command_id='a'))
    tally.note(ended('NOT_DONE', 'no way', 'b'))
    tally.note(ended('SUCCEEDED', command_id='a'))
    counts = tally.counts()
    assert (counts.running, counts.queued) == (0, 0)
    assert counts.commands == {'SUCCEEDED': 2, 'NOT_DONE': 1}
    assert (counts.last_status, counts.last_error) == ('SUCCEEDED', 'no way')


def test_a_call_by_itself_is_no_command_that_runs():
    tally = Tally()
    tally.note(event(Phase.CALLING, 'mine'))
    assert tally.counts().running == 0


def test_calls_are_counted_by_their_end_and_by_what_refused_them():
    tally = Tally()
    for one in (
        called(Status.SUCCEEDED),
        called(Status.DENIED, 'rate'),
        called(Status.DENIED, 'rate'),
        called(Status.INVALID, 'schema'),
        called(Status.NOT_RUN, 'after_failure'),
    ):
        tally.note(one)
    counts = tally.counts()
    assert counts.calls == {'SUCCEEDED': 1, 'DENIED': 2, 'INVALID': 1, 'NOT_RUN': 1}
    assert counts.refused == {'denied by rate': 2, 'invalid by schema': 1}


def test_the_engine_is_as_fast_as_it_writes():
    tally = Tally()
    tally.note_cost(TurnCost(100, 90, 11, 0.5, 2.0))
    tally.note_cost(TurnCost(100, 90, 21, 0.25, 1.0))
    counts = tally.counts()
    assert (counts.turns, counts.prompt_tokens, counts.cached_tokens) == (2, 200, 180)
    assert (counts.completion_tokens, counts.tokens_per_s, counts.first_token_s) == (32, 20, 0.25)
    assert TurnCost(1, 0, 1, 0.1, 0.0).tokens_per_s == 0


def test_memory_is_that_of_the_node_and_of_its_children(tmp_path):
    for name, pages in (('self', 10), ('7', 100), ('8', 1000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'statm').write_text(f'99999 {pages} 3')
    children = tmp_path / 'self' / 'task' / '1'
    children.mkdir(parents=True)
    (children / 'children').write_text('7 8 9 ')
    assert rss_bytes(tmp_path) == 1110 * metrics._BYTES_PER_PAGE
    assert rss_bytes() > 10e6


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'prometheus_client', None)
    with pytest.raises(MetricsError, match='pip install prometheus-client'):
        MetricsServer(12345, lambda: HEALTH)


def test_it_listens_on_loopback_alone():
    pytest.importorskip('prometheus_client', reason='prometheus-client is not installed')
    server = MetricsServer(0, lambda: HEALTH)
    try:
        table = Path('/proc/net/tcp').read_text().split('\n')[1:]
        bound = [line.split()[1] for line in table if line and line.split()[3] == '0A']
        assert [at[:8] for at in bound if int(at[9:], 16) == server.port] == ['0100007F']
    finally:
        server.close()


def test_every_name_ends_as_prometheus_wants_it():
    pytest.importorskip('prometheus_client', reason='prometheus-client is not installed')
    from prometheus_client import CollectorRegistry, generate_latest

    class Once:
        def collect(self):
            return families(replace(HEALTH, counts=Counts(commands={'SUCCEEDED': 2})))

    registry = CollectorRegistry()
    registry.register(Once())
    text = generate_latest(registry).decode()
    assert 'nemotron_commands_total{status="succeeded"} 2.0' in text
    assert 'nemotron_model_info{engine="llama_cpp",model="nano"} 1.0' in text
    assert text.count('nemotron_engine_state{state=') == len(EngineState)
