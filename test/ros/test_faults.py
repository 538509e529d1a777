"""What goes wrong in mid-command: cancels at any moment, servers that die, signals, bad starts."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event, ToolResult
from rclpy.lifecycle import TransitionCallbackReturn
from ros_context import Ros
from scripted_node import active_node
from servers import FibonacciServer, SwitchServer, VelocityLog
from threads import in_thread

from nemotron_ros.bringup import Process, nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient, CommandError
from nemotron_ros.spinning import spinning

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'
R = ExecuteCommand.Result
SUCCESS = TransitionCallbackReturn.SUCCESS
TIMES = 10
SCRIPT = """
- when: count far
  calls: [{name: count, arguments: {order: 1000}}]
- when: count a little
  calls: [{name: count, arguments: {order: 2}}]
"""


@pytest.fixture
def bench(tmp_path) -> dict[str, object]:
    """Give the parameters of a node that drives, switches and counts."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT + (FIXTURES / 'script_bench.yaml').read_text())
    return {
        'engine': 'scripted',
        'script': str(script),
        'tool_file': str(FIXTURES / 'tools_faults.yaml'),
    }


@pytest.fixture
def robot(ros, bench) -> Iterator[SimpleNamespace]:
    """Give an active node, a base that hears cmd_vel, and a client."""
    node = active_node(ros, **bench)
    base = VelocityLog(ros.node('base'))
    client = CommandClient(ros.node('client'))
    client.wait_ready(10.0)
    events: list[Event] = []

    def send(command: str, cancel: CancelToken | None = None) -> R:
        goal = ExecuteCommand.Goal(command=command)
        return client.send(goal, events.append, cancel or CancelToken(30.0))

    yield SimpleNamespace(node=node, base=base, send=send, events=events)
    node.trigger_shutdown()


def threads() -> set[threading.Thread]:
    """Return the threads that are there, but for those of a pool, which stay."""
    return {thread for thread in threading.enumerate() if 'Pool' not in thread.name}


def executing(robot: SimpleNamespace) -> bool:
    """Whether the newest command's call is at the gate or beyond."""
    return bool(robot.events) and robot.events[-1].phase in (
        Event.PHASE_CALLING,
        Event.PHASE_EXECUTING,
    )


# Where a command can be when it is cancelled: what is said, and how it is seen to be there.


def before_it_is_accepted(ros: Ros) -> tuple[str, Callable[[SimpleNamespace], bool]]:
    return 'please drive far', lambda robot: True


def generating(ros: Ros) -> tuple[str, Callable[[SimpleNamespace], bool]]:
    def seen(robot: SimpleNamespace) -> bool:
        return bool(robot.events) and robot.events[-1].phase == Event.PHASE_PROMPTING

    return 'think', seen


def waiting_for_discovery(ros: Ros) -> tuple[str, Callable[[SimpleNamespace], bool]]:
    return 'switch on', executing  # nobody serves it


def driving(ros: Ros) -> tuple[str, Callable[[SimpleNamespace], bool]]:
    return 'please drive far', lambda robot: robot.base.speeds[-1:] == [0.2]


def in_an_action_goal(ros: Ros) -> tuple[str, Callable[[SimpleNamespace], bool]]:
    server = FibonacciServer(ros.node('counter'))
    return 'count far', lambda robot: server.running == 1


@pytest.mark.parametrize(
    'moment',
    [
        before_it_is_accepted,
        generating,
        waiting_for_discovery,
        driving,
        in_an_action_goal,
    ],
    ids=lambda moment: moment.__name__,
)
def test_cancel_at_any_moment(ros, robot, eventually, moment):
    command, is_there = moment(ros)
    assert robot.send('hello').status == R.STATUS_ANSWERED
    before = threads()
    for _ in range(TIMES):
        robot.events.clear()
        cancel = CancelToken(30.0)
        if moment is before_it_is_accepted:
            cancel.cancel()
        result = in_thread(lambda cancel=cancel: robot.send(command, cancel))
        eventually(lambda: is_there(robot))
        began_s = time.monotonic()
        cancel.cancel()
        ended = result()
        assert time.monotonic() - began_s < 3.0
        assert (ended.status, ended.error) == (R.STATUS_CANCELED, 'canceled by the client')
        assert robot.events[-1].phase == Event.PHASE_DONE
        eventually(lambda: robot.base.speeds[-1:] in ([], [0.0]))
        assert robot.send('hello').status == R.STATUS_ANSWERED
    eventually(lambda: threads() <= before, what=str(threads() - before))
    assert not robot.node._tokens


def test_cancel_in_a_service_call(ros, robot, eventually):
    server = SwitchServer(ros.node('switch_node'))
    assert robot.send('switch on').status == R.STATUS_SUCCEEDED
    before = threads()
    for _ in range(TIMES):
        server.silent, asked = True, server.asked
        server.release.clear()
        cancel = CancelToken(30.0)
        result = in_thread(lambda cancel=cancel: robot.send('switch on', cancel))
        eventually(lambda asked=asked: server.asked > asked)
        cancel.cancel()
        ended = result()
        assert ended.status == R.STATUS_CANCELED
        assert ended.calls[0].result.status == ToolResult.STATUS_UNKNOWN
        server.silent = False
        server.release.set()
        assert robot.send('hello').status == R.STATUS_ANSWERED
    assert robot.send('switch on').calls[0].result.value == '"on"'
    eventually(lambda: threads() <= before, what=str(threads() - before))


def test_cancel_about_when_it_ends(robot):
    for number in range(60):
        cancel = CancelToken(30.0)
        result = in_thread(lambda cancel=cancel: robot.send('hello', cancel))
        CancelToken().wait(0.0003 * number)
        cancel.cancel()
        assert result().status in (R.STATUS_ANSWERED, R.STATUS_CANCELED)
    assert not robot.node._tokens
    assert robot.node.trigger_deactivate() == SUCCESS


def test_cancel_that_comes_when_it_has_ended_leaves_nothing(robot):
    robot.send('hello')
    (handle,) = robot.node._action._goal_handles.values()
    robot.node._take_cancel(handle)
    assert not robot.node._tokens


def test_action_server_that_dies_in_mid_goal(ros, robot, eventually):
    theirs = Ros()
    server = FibonacciServer(theirs.node('counter'))
    result = in_thread(lambda: robot.send('count far'))
    eventually(lambda: server.running == 1)
    server.server.destroy()
    ended = result()
    assert ended.status == R.STATUS_NOT_DONE
    assert ended.calls[0].result.status == ToolResult.STATUS_UNKNOWN
    assert 'fibonacci went away' in ended.error
    server.release.set()
    theirs.close()
    FibonacciServer(ros.node('counter'))
    assert robot.send('count a little').status == R.STATUS_SUCCEEDED


@pytest.mark.parametrize(
    ('command', 'make'),
    [('switch on', SwitchServer), ('count a little', FibonacciServer)],
    ids=['service', 'action'],
)
def test_server_that_appears_late_is_waited_for(ros, robot, eventually, command, make):
    result = in_thread(lambda: robot.send(command))
    eventually(lambda: executing(robot))
    CancelToken().wait(0.3)
    make(ros.node('late'))
    assert result().status == R.STATUS_SUCCEEDED


def test_second_goal_while_the_first_waits_for_a_server(robot, eventually):
    first = in_thread(lambda: robot.send('switch on'))
    eventually(lambda: executing(robot))
    second = robot.send('hello')
    assert (second.status, 'switch on' in second.error) == (R.STATUS_REJECTED, True)
    ended = first()
    assert (ended.status, 'not there' in ended.error) == (R.STATUS_NOT_DONE, True)


class Fails:
    """Stands before an object, and makes some calls of one of its methods fail."""

    def __init__(self, real: object, method: str, numbers: set[int]) -> None:
        self._real = real
        self._method = method
        self._numbers = numbers
        self.called = 0

    def __getattr__(self, name: str) -> object:
        return self._call if name == self._method else getattr(self._real, name)

    def _call(self, *arguments: object) -> None:
        self.called += 1
        if self.called in self._numbers:
            raise RuntimeError('cannot publish data')
        getattr(self._real, self._method)(*arguments)


# The states of a goal: accepted, executing, succeeded.
@pytest.mark.parametrize(
    ('method', 'numbers'), [('publish_status', {2, 3}), ('publish_feedback', {1, 2})]
)
def test_goal_runs_though_its_state_can_not_be_published(robot, method, numbers):
    real = robot.node._action._handle
    robot.node._action._handle = fails = Fails(real, method, numbers)
    assert robot.send('please drive a little').status == R.STATUS_SUCCEEDED
    assert fails.called >= 3
    robot.node._action._handle = real
    assert robot.send('hello').status == R.STATUS_ANSWERED
    assert not robot.node._tokens


def test_closing_message_that_can_not_be_published_is_tried_again(robot, monkeypatch, eventually):
    clients = robot.node._executor_for_tools._clients
    publisher = clients.publisher('cmd_vel', 'geometry_msgs/msg/Twist')
    publish, failed = publisher.publish, []

    def fail_twice(message: object) -> None:
        if message.linear.x == 0.0 and len(failed) < 2:
            failed.append(message)
            raise RuntimeError('cannot publish data')
        publish(message)

    monkeypatch.setattr(publisher, 'publish', fail_twice)
    assert robot.send('please drive a little').status == R.STATUS_SUCCEEDED
    assert len(failed) == 2
    eventually(lambda: robot.base.speeds[-1:] == [0.0])


def test_callback_that_raises_takes_none_of_the_others_along(eventually):
    calls = []

    def fail() -> None:
        raise ValueError('a bug')

    with spinning('careless') as node:
        bad = node.create_timer(0.05, fail)
        node.create_timer(0.05, lambda: calls.append(bad.time_since_last_call()))
        eventually(lambda: len(calls) > 5)


def test_action_client_that_the_executor_sees_too_early(ros, monkeypatch, capfd):
    node = ros.node('client')
    add = node.add_waitable

    def add_slowly(waitable: object) -> None:
        add(waitable)
        node.executor.wake()
        CancelToken().wait(0.2)

    monkeypatch.setattr(node, 'add_waitable', add_slowly)
    client = CommandClient(node, 'nobody')
    client.close()
    assert 'callback failed' not in capfd.readouterr().err


# As a process


@contextmanager
def running(process: Process, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process; it is gone at the end, whatever happens."""
    with log.open('w') as output, process.start(output) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize('again', [False, True], ids=['once', 'twice'])
def test_signal_while_driving_ends_motion_first(ros, bench, tmp_path, eventually, number, again):
    base = VelocityLog(ros.node('base'))
    client = CommandClient(ros.node('client'))
    log = tmp_path / 'log'
    with running(nemotron(**bench), log) as child:
        client.wait_ready(20.0)
        goal = ExecuteCommand.Goal(command='please drive far')
        result = in_thread(lambda: client.send(goal, lambda _: None, CancelToken(30.0)))
        eventually(lambda: 0.2 in base.speeds)
        child.send_signal(number)
        if again:
            child.send_signal(signal.SIGINT)
        assert child.wait(10.0) == 0
    eventually(lambda: base.speeds[-1] == 0.0)
    assert 'Traceback' not in log.read_text()
    with suppress(CommandError):  # it may be gone before it could tell
        assert result().status == R.STATUS_STOPPED


def server_of(pid: int) -> int | None:
    """Return the engine's process that a node has started."""
    for task in Path(f'/proc/{pid}/task').glob('*/children'):
        for child in task.read_text().split():
            if 'llama_child' in Path(f'/proc/{child}/cmdline').read_text():
                return int(child)
    return None


def test_signal_ends_a_node_whose_model_never_gets_loaded(bench, tmp_path, eventually):
    pytest.importorskip('xllamacpp', reason='xllamacpp, the embedded engine, is not installed')
    pytest.importorskip('gguf', reason='gguf is not installed')
    from tiny_nemotron import write

    model = tmp_path / 'tiny.gguf'
    write(model)
    log = tmp_path / 'log'
    process = nemotron(**{**bench, 'engine': 'llama_cpp'}, model=str(model))
    with running(process, log) as child:
        eventually(lambda: server_of(child.pid) is not None, 20.0)
        server = server_of(child.pid)
        os.kill(server, signal.SIGSTOP)
        child.send_signal(signal.SIGINT)
        assert child.wait(15.0) == 0
    assert not Path(f'/proc/{server}').exists()
    assert 'Traceback' not in log.read_text()


@pytest.mark.parametrize(
    ('parameters', 'word'),
    [
        ({'max_turns': 99}, 'max_turns'),
        ({'temperature': float('nan')}, 'temperature'),
        ({'seed': 'many'}, 'seed'),
        ({'autostart': 7}, 'autostart'),
        ({'engine': 'steam'}, 'steam'),
        ({'script': '/none.yaml'}, '/none.yaml'),
    ],
    ids=lambda value: ''.join(value) if isinstance(value, dict) else '',
)
def test_bad_parameter_ends_the_process_with_one_clear_line(bench, tmp_path, parameters, word):
    log = tmp_path / 'log'
    with running(nemotron(**{**bench, **parameters}), log) as child:
        assert child.wait(20.0) == 1
    (line,) = log.read_text().splitlines()
    assert word in line


def test_bad_ros_arguments_end_the_process_without_a_traceback(bench, tmp_path):
    log = tmp_path / 'log'
    with running(replace(nemotron(**bench), name='a//b'), log) as child:
        assert child.wait(20.0) == 1
    assert 'a//b' in log.read_text()
    assert 'Traceback' not in log.read_text()
