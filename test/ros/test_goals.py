"""Several goals at once: the line, an operator's priority, a stop through a crowd, questions."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event, ToolResult
from nemotron_msgs.srv import ListTools
from ros_context import Ros
from scripted_node import active_node, ask
from servers import VelocityLog
from std_srvs.srv import Trigger
from threads import in_thread

from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'
G, R = ExecuteCommand.Goal, ExecuteCommand.Result
SCRIPT = """
- when: where
  calls: [{name: ask_user, arguments: {question: 'Which way?'}}]
- when: forward
  text: Forward it is.
"""


@pytest.fixture
def start(ros: Ros, tmp_path: Path) -> Iterator[Callable[..., SimpleNamespace]]:
    """Give a function that starts a node, a base that hears cmd_vel, and a client."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT + (FIXTURES / 'script_bench.yaml').read_text())
    nodes = []

    def begin(**parameters: object) -> SimpleNamespace:
        node = active_node(ros, script=str(script), **parameters)
        nodes.append(node)
        base = VelocityLog(ros.node('base'))
        idle: list[CommandClient] = []
        numbers = itertools.count()
        events: dict[str, list[Event]] = {}

        def send(command: str, cancel: CancelToken | None = None, **fields: object) -> R:
            """Send by a client that nobody else uses now; keep the events by the command."""
            try:
                client = idle.pop()
            except IndexError:
                client = CommandClient(ros.node(f'client_{next(numbers)}'))
                client.wait_ready(10.0)
            told = events.setdefault(command, [])
            goal = G(command=command, **fields)
            try:
                return client.send(goal, told.append, cancel or CancelToken(20.0))
            finally:
                idle.append(client)

        outside = ros.node('outside')
        return SimpleNamespace(node=node, base=base, send=send, events=events, outside=outside)

    yield begin
    for node in nodes:
        node.trigger_shutdown()


def phases(robot: SimpleNamespace, command: str) -> list[int]:
    return [event.phase for event in robot.events.get(command, [])]


def test_a_goal_waits_its_turn_and_one_too_many_is_rejected_at_once(start, eventually):
    robot = start(max_queued=1)
    first = in_thread(lambda: robot.send('please drive on'))
    eventually(lambda: 0.2 in robot.base.speeds)
    second = in_thread(lambda: robot.send('hello'))
    eventually(lambda: phases(robot, 'hello')[-1:] == [Event.PHASE_QUEUED])
    began_s = time.monotonic()
    third = robot.send('me too')
    assert time.monotonic() - began_s < 1.0
    assert third.status == R.STATUS_REJECTED
    assert third.error == (
        "busy with 'please drive on' and 1 waiting; wait for it, cancel it or say stop"
    )
    assert first().status == R.STATUS_SUCCEEDED
    assert (second().status, second().text) == (R.STATUS_ANSWERED, 'Hello.')
    queued = robot.events['hello'][1]
    assert (queued.phase, queued.detail) == (Event.PHASE_QUEUED, '{"ahead": 1}')


def test_goals_that_run_at_once_share_one_base_one_after_the_other(start, eventually):
    robot = start(max_goals=4)
    began_s = time.monotonic()
    commands = [f'drive a little {number}' for number in range(4)]
    results = [in_thread(lambda c=command: robot.send(c)) for command in commands]
    for result in results:
        ended = result()
        assert ended.status == R.STATUS_SUCCEEDED, ended.error
    assert time.monotonic() - began_s >= 4 * 0.3, 'they took turns'
    waits = [e for told in robot.events.values() for e in told if '"motion"' in e.detail]
    assert {event.phase for event in waits} == {Event.PHASE_CALLING}
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    # Between two motions there is an end: never two at once, and none without its stop.
    runs = ''.join('x' if speed else ' ' for speed in robot.base.speeds).split()
    assert len(runs) == 4


def test_one_that_talks_is_not_held_up_by_one_that_drives(start, eventually):
    robot = start(max_goals=2)
    cancel = CancelToken(20.0)
    first = in_thread(lambda: robot.send('please drive far', cancel))
    eventually(lambda: 0.2 in robot.base.speeds)
    began_s = time.monotonic()
    assert robot.send('hello').status == R.STATUS_ANSWERED
    assert time.monotonic() - began_s < 1.0
    assert robot.base.speeds[-1] == 0.2
    cancel.cancel()
    assert first().status == R.STATUS_CANCELED


def test_an_operators_goal_ends_what_runs_and_goes_first(start, eventually):
    robot = start(max_queued=1)
    first = in_thread(lambda: robot.send('please drive far'))
    eventually(lambda: 0.2 in robot.base.speeds)
    second = in_thread(lambda: robot.send('hello'))
    eventually(lambda: phases(robot, 'hello')[-1:] == [Event.PHASE_QUEUED])
    operator = robot.send('please drive a little', priority=G.PRIORITY_OPERATOR)
    assert operator.status == R.STATUS_SUCCEEDED, operator.error
    ended = first()
    assert ended.status == R.STATUS_PREEMPTED
    assert ended.error == "ended for the operator's command 'please drive a little'"
    assert ended.calls[0].result.status == ToolResult.STATUS_CANCELED
    assert second().status == R.STATUS_ANSWERED
    eventually(lambda: robot.base.speeds[-1] == 0.0)


def test_bad_priority_is_rejected(start):
    robot = start()
    result = robot.send('hello', priority=2)
    assert (result.status, result.error) == (
        R.STATUS_REJECTED, 'priority: expected 0 (normal) or 1 (operator), got 2',
    )  # fmt: skip


@pytest.mark.parametrize('how', ['word', 'service'])
def test_a_stop_goes_through_a_crowd(start, eventually, how):
    robot = start(max_goals=2, max_queued=3)
    results = [in_thread(lambda: robot.send('please drive far'))]
    eventually(lambda: 0.2 in robot.base.speeds)
    results += [in_thread(lambda n=n: robot.send(f'please drive far {n}')) for n in range(4)]
    eventually(lambda: len(robot.node._agent._line._places) == 5)
    tools = ask(robot.outside, ListTools, 'nemotron/list_tools', ListTools.Request())
    assert len(tools.tools) == 2
    began_s = time.monotonic()
    if how == 'word':
        assert robot.send('stop').status == R.STATUS_SUCCEEDED
    else:
        assert ask(robot.outside, Trigger, 'nemotron/stop', Trigger.Request()).success
    assert time.monotonic() - began_s < 1.0
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    assert [result().status for result in results] == [R.STATUS_STOPPED] * 5
    assert robot.node._agent._line._places == []
    sent = len(robot.base.speeds)
    CancelToken().wait(0.2)
    assert set(robot.base.speeds[sent:]) <= {0.0}


def test_deactivate_ends_those_that_wait(start, eventually):
    robot = start(max_queued=2)
    results = [in_thread(lambda: robot.send('please drive far'))]
    eventually(lambda: 0.2 in robot.base.speeds)
    results += [in_thread(lambda n=n: robot.send(f'please drive on {n}')) for n in range(2)]
    eventually(lambda: len(robot.node._agent._line._places) == 3)
    robot.node.trigger_deactivate()
    assert [result().status for result in results] == [R.STATUS_STOPPED] * 3
    eventually(lambda: robot.base.speeds[-1] == 0.0)


def test_a_question_comes_out_and_the_session_answers_it(start):
    robot = start(ask_user=True)
    asked = robot.send('go where?')
    assert (asked.status, asked.text) == (R.STATUS_ASKED, 'Which way?')
    (event,) = [e for e in robot.events['go where?'] if e.phase == Event.PHASE_ASKING]
    assert event.detail == '{"question": "Which way?"}'
    answered = robot.send('forward', session_id=asked.session_id)
    assert (answered.status, answered.text) == (R.STATUS_ANSWERED, 'Forward it is.')


def test_nobody_is_asked_by_default(start):
    result = start().send('go where?')
    assert result.status == R.STATUS_NOT_DONE
    assert result.calls[0].result.status == ToolResult.STATUS_INVALID


def test_a_session_that_outgrows_the_context_goes_on(start):
    robot = start(context_tokens=150, max_history_tokens=60000)
    session_id = ''
    for number in range(12):
        result = robot.send(f'hello {number} {"word " * 20}', session_id=session_id)
        assert result.status == R.STATUS_ANSWERED, result.error
        session_id = result.session_id
    told = [e.detail for told in robot.events.values() for e in told]
    assert '{"left_out": 1}' in told
