"""The command client: what it waits for, hears, cancels, and says when nobody answers."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import TransitionCallbackReturn
from ros_context import Ros
from scripted_node import active_node, scripted_node
from servers import VelocityLog
from threads import in_thread

from nemotron_ros import client as client_module
from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.bringup import nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient, CommandError
from nemotron_ros.spinning import in_thread as in_thread_of

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'
BENCH = {
    'engine': 'scripted',
    'script': str(FIXTURES / 'script_bench.yaml'),
    'tool_file': str(FIXTURES / 'tools_bench.yaml'),
}
R = ExecuteCommand.Result
SUCCESS = TransitionCallbackReturn.SUCCESS
WORDS = [f'word{number}' for number in range(300)]


def send(client: CommandClient, command: str, on_event=lambda _: None, cancel=None) -> R:
    """Give a command."""
    goal = ExecuteCommand.Goal(command=command)
    return client.send(goal, on_event, cancel or CancelToken(30.0))


@pytest.fixture
def robot(ros, tmp_path):
    """Give an active node that drives or talks much, and a client that found it."""
    script = tmp_path / 'script.yaml'
    chatter = f'- {{when: chatter, text: "{" ".join(WORDS)}"}}\n'
    script.write_text(chatter + Path(BENCH['script']).read_text())
    node = active_node(ros, script=str(script))
    base = VelocityLog(ros.node('base'))
    client = CommandClient(ros.node('client'))
    client.wait_ready(10.0)
    yield SimpleNamespace(node=node, base=base, client=client)
    node.trigger_shutdown()


def test_nobody_there(ros):
    client = CommandClient(ros.node('client'), 'no/such_robot')
    with pytest.raises(CommandError, match=r'no/such_robot/execute_command.*ROS_DOMAIN_ID'):
        client.wait_ready(0.5)


def test_state_of_a_node_that_is_not_active_is_told(ros):
    node = scripted_node(ros)
    client = CommandClient(ros.node('client'))
    with pytest.raises(CommandError, match=r'nemotron is unconfigured.*ros2 lifecycle set'):
        client.wait_ready(2.0)
    node.trigger_shutdown()


def test_node_that_becomes_active_is_waited_for(ros):
    waits = in_thread(lambda: CommandClient(ros.node('client')).wait_ready(20.0))
    node = scripted_node(ros)
    assert node.trigger_configure() == SUCCESS
    CancelToken().wait(0.3)
    assert node.trigger_activate() == SUCCESS
    assert waits()
    node.trigger_shutdown()


@pytest.mark.parametrize('listener_s', [0.0, 0.003], ids=['quick', 'slow'])
def test_every_event_comes_in_order_before_the_result(robot, listener_s):
    for _ in range(10 if listener_s == 0.0 else 2):
        events: list[Event] = []

        def take(event: Event, events: list[Event] = events) -> None:
            time.sleep(listener_s)
            events.append(event)

        result = send(robot.client, 'chatter', take)
        told = list(events)
        assert [event.sequence for event in told] == list(range(len(told)))
        assert told[-1].phase == Event.PHASE_DONE
        assert ''.join(event.text_delta for event in told) == result.text == ' '.join(WORDS)


def test_many_quick_commands(robot):
    for _ in range(50):
        events: list[Event] = []
        assert send(robot.client, 'hello', events.append).status == R.STATUS_ANSWERED
        assert [event.sequence for event in events] == list(range(len(events)))
        assert events[-1].phase == Event.PHASE_DONE


def test_deadline_of_the_token_cancels(robot, eventually):
    result = send(robot.client, 'please drive far', cancel=CancelToken(1.0))
    assert result.status == R.STATUS_CANCELED
    eventually(lambda: robot.base.speeds[-1:] == [0.0])
    assert send(robot.client, 'hello').status == R.STATUS_ANSWERED


def test_cancel_after_the_end_changes_nothing(robot):
    cancel = CancelToken(30.0)
    assert send(robot.client, 'hello', cancel=cancel).status == R.STATUS_ANSWERED
    cancel.cancel()
    assert send(robot.client, 'please drive a little').status == R.STATUS_SUCCEEDED


def test_listener_that_raises_ends_the_command(robot, eventually):
    def listen(event: Event) -> None:
        if event.phase == Event.PHASE_CALLING:
            raise OSError('the screen is gone')

    with pytest.raises(OSError, match='the screen is gone'):
        send(robot.client, 'please drive far', listen)
    eventually(lambda: not robot.node._tokens)
    eventually(lambda: robot.base.speeds[-1:] in ([], [0.0]))
    assert send(robot.client, 'hello').status == R.STATUS_ANSWERED


def test_two_clients_hear_their_own_events(ros, robot, eventually):
    other = CommandClient(ros.node('other'))
    other.wait_ready(10.0)
    heard: list[list[Event]] = [[], []]
    first = in_thread(lambda: send(robot.client, 'please drive on', heard[0].append))
    eventually(lambda: 0.2 in robot.base.speeds)
    turned_away = send(other, 'hello', heard[1].append)
    assert (turned_away.status, 'busy' in turned_away.error) == (R.STATUS_REJECTED, True)
    assert send(other, 'stop', heard[1].append).status == R.STATUS_SUCCEEDED
    assert first().status == R.STATUS_STOPPED
    commands = [{event.command_id for event in events} for events in heard]
    assert [len(ids) for ids in commands] == [1, 2]
    assert not commands[0] & commands[1]


def test_node_that_is_destroyed_in_mid_command(ros, eventually):
    theirs = Ros()
    active_node(theirs)
    client = CommandClient(ros.node('client'))
    client.wait_ready(10.0)
    events: list[Event] = []
    result = in_thread(lambda: send(client, 'think', events.append))
    eventually(lambda: bool(events))
    theirs.close()
    with pytest.raises(CommandError, match='nemotron/execute_command went away'):
        result()


@pytest.mark.slow
def test_node_that_is_killed_in_mid_command(ros, eventually):
    with (child := nemotron(**BENCH).start()):
        client = CommandClient(ros.node('client'))
        client.wait_ready(20.0)
        events: list[Event] = []
        result = in_thread(lambda: send(client, 'think', events.append), 60.0)
        eventually(lambda: bool(events))
        child.kill()
        # After 20 s: for so long DDS takes one who says nothing for alive.
        with pytest.raises(CommandError, match='went away'):
            result()


def test_goal_that_is_taken_too_late_is_cancelled(ros, monkeypatch, eventually):
    monkeypatch.setattr(client_module, 'ANSWER_S', 0.3)
    cancelled = threading.Event()

    def take_goal(_: object) -> GoalResponse:
        CancelToken().wait(1.0)
        return GoalResponse.ACCEPT

    def take_cancel(_: object) -> CancelResponse:
        cancelled.set()
        return CancelResponse.ACCEPT

    async def execute(handle: object) -> R:
        await in_thread_of(node, lambda: cancelled.wait(10.0))
        if until_true(lambda: handle.is_cancel_requested, 5.0, CancelToken(5.0)):
            handle.canceled()
        return R()

    node = ros.node('slow')
    ActionServer(
        node,
        ExecuteCommand,
        'slow/execute_command',
        execute_callback=execute,
        goal_callback=take_goal,
        cancel_callback=take_cancel,
        callback_group=ReentrantCallbackGroup(),
    )
    client = CommandClient(ros.node('client'), 'slow')
    eventually(client._client.server_is_ready)
    with pytest.raises(CommandError, match='has not answered within'):
        send(client, 'please drive far')
    assert cancelled.wait(10.0)
