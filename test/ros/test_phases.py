"""A command that is cancelled, stopped or out of time, whatever it is doing, over real DDS.

Each case runs twice; ``NEMOTRON_TEST_REPEATS=100`` makes that a hundred times.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event, ToolResult
from ros_context import Ros
from scripted_node import active_node, ask
from servers import FibonacciServer, UndecidedServer, VelocityLog
from std_msgs.msg import Empty
from std_srvs.srv import Trigger
from threads import in_thread

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient

R = ExecuteCommand.Result
REPEATS = int(os.environ.get('NEMOTRON_TEST_REPEATS', '2'))
TIMEOUT_S = 0.6
"""Long enough to get to every phase, and short enough to wait for."""
SOON_S = 5.0
QUIET_S = 0.15
"""Three times the period of what drives: longer than that, and it has ended."""

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'
TOOLS = f"""
include: [{FIXTURES / 'tools_faults.yaml'}]
robot: phases
tools:
  open_door:
    description: Open the door.
    topic: {{name: door, type: std_msgs/msg/Empty}}
    guard: {{confirm: true, confirm_within_s: 30}}
"""
WORDS = ' '.join(f'word{number}' for number in range(100))
SCRIPT = f"""
- {{when: '"tool": "beep"', text: Then I wait for a while., delay_s: 60}}
- {{when: think, text: I think., delay_s: 60}}
- {{when: talk, text: {WORDS}, delay_s: 10}}
- {{when: drive, calls: [{{name: drive, arguments: {{seconds: 10}}}}]}}
- {{when: beep, calls: [{{name: beep, arguments: {{}}}}]}}
- {{when: door, calls: [{{name: open_door, arguments: {{}}}}]}}
- {{when: switch, calls: [{{name: switch, arguments: {{'on': true}}}}]}}
- {{when: count, calls: [{{name: count, arguments: {{order: 1000}}}}]}}
- {{when: begin, calls: [{{name: begin, arguments: {{}}}}]}}
- {{text: Hello.}}
"""


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Give an active node with one place to wait, its servers, and a client."""
    folder: Path = tmp_path_factory.mktemp('phases')
    (folder / 'tools.yaml').write_text(TOOLS)
    (folder / 'script.yaml').write_text(SCRIPT)
    ros = Ros()
    node = active_node(
        ros,
        tool_file=str(folder / 'tools.yaml'),
        script=str(folder / 'script.yaml'),
        max_queued=1,
    )
    body, outside = ros.node('base'), ros.node('outside')
    base = VelocityLog(body)
    body.create_subscription(Empty, 'beep', lambda _: None, 1)
    counter = FibonacciServer(ros.node('counter'))
    undecided = UndecidedServer(ros.node('ditherer'))
    client, other = (CommandClient(ros.node(name)) for name in ('client', 'other'))
    client.wait_ready(10.0)
    other.wait_ready(10.0)
    events: list[Event] = []

    def send(command: str, cancel: CancelToken | None = None, timeout_s: float = 30.0) -> R:
        goal = ExecuteCommand.Goal(command=command, timeout_s=timeout_s)
        return client.send(goal, events.append, cancel or CancelToken(30.0))

    def send_other(command: str, cancel: CancelToken) -> R:
        return other.send(ExecuteCommand.Goal(command=command), lambda _: None, cancel)

    # Every client is there, and every pool of threads, before anything is counted.
    assert send('hello').status == R.STATUS_ANSWERED
    yield SimpleNamespace(
        node=node, outside=outside, base=base, counter=counter, undecided=undecided, send=send,
        send_other=send_other, events=events,
    )  # fmt: skip
    node.trigger_shutdown()
    ros.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    assert until_true(condition, SOON_S, CancelToken(SOON_S)), what


Phase = Callable[[SimpleNamespace], bool]
"""Whether the newest command is where it should be ended."""


def newest(robot: SimpleNamespace) -> int | None:
    return robot.events[-1].phase if robot.events else None


def seen(robot: SimpleNamespace, phase: int) -> bool:
    return any(event.phase == phase for event in list(robot.events))


PHASES: dict[str, tuple[str, Phase]] = {
    'queued': ('hello', lambda robot: newest(robot) == Event.PHASE_QUEUED),
    'prompting': ('think', lambda robot: newest(robot) == Event.PHASE_PROMPTING),
    'generating': ('talk', lambda robot: newest(robot) == Event.PHASE_GENERATING),
    'confirming': (
        'door',
        lambda robot: bool(robot.events) and 'confirmation' in robot.events[-1].detail,
    ),
    'discovering': ('switch', lambda robot: newest(robot) == Event.PHASE_CALLING),
    'offered': ('begin', lambda robot: robot.undecided.asked > robot.undecided.ended),
    'accepted': ('count', lambda robot: robot.counter.running == 1),
    'executing': ('drive', lambda robot: robot.base.speeds[-1:] == [0.2]),
    'between steps': (
        'beep',
        lambda robot: seen(robot, Event.PHASE_RESULT) and newest(robot) == Event.PHASE_PROMPTING,
    ),
}
NOT_SENT = {'queued', 'prompting', 'generating'}
ENDINGS = {
    'cancel': (R.STATUS_CANCELED, 'canceled by the client'),
    'deadline': (R.STATUS_TIMED_OUT, "the goal's timeout_s ran out"),
    'stop': (R.STATUS_STOPPED, 'ended by a stop'),
}
CUT_SHORT = {ToolResult.STATUS_CANCELED, ToolResult.STATUS_TIMED_OUT}
CALL = {
    'confirming': CUT_SHORT,
    'discovering': {*CUT_SHORT, ToolResult.STATUS_FAILED},
    'offered': CUT_SHORT,
    'accepted': CUT_SHORT,
    'executing': CUT_SHORT,
    'between steps': {ToolResult.STATUS_SUCCEEDED},
}


@pytest.mark.timeout(60 + 10 * REPEATS)
@pytest.mark.parametrize('ending', ENDINGS)
@pytest.mark.parametrize('phase', PHASES)
def test_a_command_ends_whatever_it_does(robot: SimpleNamespace, phase: str, ending: str) -> None:
    once(robot, phase, ending)  # makes the clients that the tool keeps
    before = resources(robot)

    def more() -> dict[str, int]:
        now = resources(robot)
        return {name: now[name] - count for name, count in before.items() if now[name] > count}

    for _ in range(REPEATS):
        once(robot, phase, ending)
    wait_until(lambda: not more(), f'{more()} more than {before}')


def once(robot: SimpleNamespace, phase: str, ending: str) -> None:
    command, is_there = PHASES[phase]
    robot.events.clear()
    robot.base.speeds.clear()
    robot.undecided.decide.clear()
    first = CancelToken(30.0)
    if phase == 'queued':
        busy = in_thread(lambda: robot.send_other('drive', first))
        wait_until(lambda: 0.2 in robot.base.speeds, 'the first command drives')
    cancel = CancelToken(30.0)
    timeout_s = TIMEOUT_S if ending == 'deadline' else 30.0
    began_s = time.monotonic()
    result = in_thread(lambda: robot.send(command, cancel, timeout_s))
    wait_until(lambda: is_there(robot), f'not {phase}: {robot.events}')
    if ending != 'deadline':
        began_s = time.monotonic()
    if ending == 'cancel':
        cancel.cancel()
    elif ending == 'stop':
        stopped = in_thread(
            lambda: ask(robot.outside, Trigger, 'nemotron/stop', Trigger.Request())
        )
    if phase == 'offered':
        CancelToken().wait(began_s + TIMEOUT_S - time.monotonic() if ending == 'deadline' else 0.0)
        robot.undecided.decide.set()
    ended = result()
    took_s = time.monotonic() - began_s
    assert (ended.status, ended.error) == ENDINGS[ending]
    assert (TIMEOUT_S if ending == 'deadline' else 0.0) <= took_s < TIMEOUT_S + 1.0
    assert robot.events[-1].phase == Event.PHASE_DONE
    assert [event.sequence for event in robot.events] == list(range(len(robot.events)))
    statuses = [call.result.status for call in ended.calls]
    if phase in NOT_SENT:
        assert statuses == []
    else:
        assert len(statuses) == 1
        assert statuses[0] in CALL[phase], ended.calls
    if phase == 'queued' and ending == 'stop':
        assert busy().status == R.STATUS_STOPPED
    elif phase == 'queued':
        assert robot.base.speeds[-1] == 0.2, 'the one before it goes on'
        first.cancel()
        assert busy().status == R.STATUS_CANCELED
    if ending == 'stop':
        assert stopped().success
    assert robot.counter.running == 0
    assert robot.undecided.ended == robot.undecided.asked
    if robot.base.speeds:
        wait_until(lambda: robot.base.speeds[-1] == 0.0, 'motion has ended')
        sent = len(robot.base.speeds)
        CancelToken().wait(QUIET_S)
        assert set(robot.base.speeds[sent:]) <= {0.0}, 'nothing moves afterwards'
    if ending == 'stop':
        assert ask(robot.outside, Trigger, 'nemotron/clear_stop', Trigger.Request()).success
    assert robot.send('hello').status == R.STATUS_ANSWERED


def resources(robot: SimpleNamespace) -> dict[str, int]:
    """Return a count of what a command holds while it runs."""
    node = robot.node
    return {
        'threads': sum('Pool' not in thread.name for thread in threading.enumerate()),
        'open files': len(os.listdir('/proc/self/fd')),
        'tokens': len(node._tokens),
        'places': len(node._agent._line._places),
        'questions': len(node._confirmations._open),
        'calls': len(node._dispatcher._ledger._running),
    }
