"""What is written over the robot."""

from __future__ import annotations

import pytest

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.markers.caption import CALLS, COLUMNS, Gate, calls_text, command_text, gate
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.trace.goal import Goal, with_goal
from nemotron_ros.watch.news import StopTold
from nemotron_ros.watch.view import View, after

PENDING = ToolResult(Status.PENDING)
DONE = ToolResult(Status.SUCCEEDED)
DENIED = ToolResult(Status.DENIED, error='why', rule='rate')
FAILED = ToolResult(Status.FAILED, error='stuck')


def told(words: str, *steps: tuple[Phase, str, ToolResult, object]) -> View:
    """Return what is known of a command and what it calls."""
    events = [with_goal(Event('one', 's', 0, Phase.ACCEPTED), Goal(words))]
    for number, (phase, name, result, detail) in enumerate(steps, 1):
        record = CallRecord(ToolCall(name, name, {'n': 1}), result) if name else None
        events.append(Event('one', 's', number, phase, record=record, detail=detail))
    view = View('nemotron')
    for event in events:
        view = after(view, event, 1.0)
    return view


CALLING = (Phase.CALLING, 'drive', PENDING, None)


@pytest.mark.parametrize(
    ('steps', 'state', 'words'),
    [
        ((), Gate.FREE, ''),
        ((CALLING,), Gate.BUSY, ''),
        ((CALLING, (Phase.RESULT, 'drive', DONE, None)), Gate.FREE, ''),
        (
            (CALLING, (Phase.CALLING, 'drive', PENDING, {'waiting_for': 'confirmation'})),
            Gate.ASKING,
            'drive waits for a yes',
        ),
        ((CALLING, (Phase.DONE, '', PENDING, {'status': 'STOPPED'})), Gate.FREE, ''),
    ],
)
def test_the_gate(steps, state, words):
    assert gate(told('go', *steps)) == (state, words)


def test_a_latched_stop_comes_before_all_else():
    view = after(told('go', CALLING), StopTold('e_stop'), 2.0)
    assert gate(view) == (Gate.STOPPED, 'STOPPED: e_stop')


def test_a_command_is_wrapped_and_cut():
    (command,) = told('word ' * 100).commands
    lines = command_text(command).splitlines()
    assert len(lines) == 3
    assert all(len(line) <= COLUMNS for line in lines)
    assert lines[-1].endswith('...')


def test_a_command_that_has_ended_says_how():
    view = told('go home', (Phase.DONE, '', PENDING, {'status': 'NOT_DONE'}))
    assert command_text(view.commands[0]) == 'go home\n[not_done]'


def test_calls_say_what_became_of_them_and_why_not():
    steps = []
    for name, result in (('a', DONE), ('b', DENIED), ('c', FAILED)):
        steps += [(Phase.CALLING, name, PENDING, None), (Phase.RESULT, name, result, None)]
    view = told('go', *steps, (Phase.CALLING, 'd', PENDING, None))
    assert calls_text(view.commands[0]).splitlines() == [
        'a(n: 1): ok',
        'b(n: 1): denied by rate',
        'c(n: 1): failed',
        '> d(n: 1)',
    ]
    view = told('go', *((Phase.CALLING, str(n), PENDING, None) for n in range(9)))
    assert len(calls_text(view.commands[0]).splitlines()) == CALLS
