"""Transitions of the node: again and again, in mid-command, and back from an error."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nemotron_msgs.action import ExecuteCommand
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_context import Ros
from scripted_node import active_node, ask, scripted_node
from servers import VelocityLog
from std_srvs.srv import Trigger
from threads import in_thread

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient, CommandError
from nemotron_ros.engine.factory import make_engine
from nemotron_ros.engine.protocol import ModelInfo
from nemotron_ros.engine.scripted import ScriptedEngine

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'
SUCCESS = TransitionCallbackReturn.SUCCESS
R = ExecuteCommand.Result
TIMES = 5


def send(client: CommandClient, command: str) -> R:
    goal = ExecuteCommand.Goal(command=command)
    return client.send(goal, lambda _: None, CancelToken(30.0))


def state(outside) -> int:
    return ask(outside, GetState, 'nemotron/get_state', GetState.Request()).current_state.id


def change(outside, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return ask(outside, ChangeState, 'nemotron/change_state', request).success


def test_it_goes_round_again_and_again_and_leaves_no_thread(ros, eventually):
    node = active_node(ros)
    client = CommandClient(ros.node('client'))
    client.wait_ready(10.0)
    assert send(client, 'hello').status == R.STATUS_ANSWERED
    before = threading.active_count()
    for _ in range(TIMES):
        assert node.trigger_deactivate() == node.trigger_cleanup() == SUCCESS
        assert node.trigger_configure() == node.trigger_activate() == SUCCESS
        assert send(client, 'hello').status == R.STATUS_ANSWERED
    eventually(lambda: threading.active_count() <= before)


def test_a_transition_that_is_asked_for_twice_changes_nothing(ros):
    active_node(ros)
    outside = ros.node('outside')
    client = CommandClient(ros.node('client'))
    client.wait_ready(10.0)
    assert not change(outside, Transition.TRANSITION_ACTIVATE)
    assert not change(outside, Transition.TRANSITION_CONFIGURE)
    assert state(outside) == State.PRIMARY_STATE_ACTIVE
    assert send(client, 'hello').status == R.STATUS_ANSWERED
    assert change(outside, Transition.TRANSITION_DEACTIVATE)
    assert not change(outside, Transition.TRANSITION_DEACTIVATE)
    assert state(outside) == State.PRIMARY_STATE_INACTIVE


class SlowEngine:
    """A scripted engine that opens when it is let."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine
        self.stream = engine.stream
        self.opening, self.let = threading.Event(), threading.Event()

    def open(self, *arguments: object) -> ModelInfo:
        self.opening.set()
        assert self.let.wait(20.0)
        return self._engine.open(*arguments)

    def close(self) -> None:
        self.let.set()
        self._engine.close()


def test_a_node_that_loads_answers_and_is_stopped(ros, monkeypatch):
    engines = []

    def slow(*arguments: object) -> SlowEngine:
        engines.append(SlowEngine(make_engine(*arguments)))
        return engines[-1]

    monkeypatch.setattr('nemotron_ros.node.make_engine', slow)
    node = scripted_node(ros)
    outside = ros.node('outside')
    configured = in_thread(lambda: change(outside, Transition.TRANSITION_CONFIGURE))
    until_true(lambda: engines and engines[0].opening.is_set(), 10.0, CancelToken())
    assert state(outside) == State.TRANSITION_STATE_CONFIGURING
    assert not change(outside, Transition.TRANSITION_CONFIGURE)
    assert not change(outside, Transition.TRANSITION_ACTIVATE)
    with pytest.raises(CommandError, match='is configuring and not active; it loads its model'):
        CommandClient(ros.node('client')).wait_ready(1.0)
    assert ask(outside, Trigger, 'nemotron/stop', Trigger.Request()).success
    assert state(outside) == State.TRANSITION_STATE_CONFIGURING
    engines[0].let.set()
    assert configured()
    assert state(outside) == State.PRIMARY_STATE_INACTIVE
    assert change(outside, Transition.TRANSITION_ACTIVATE)
    assert node._latches.told == 'stop'


def test_deactivation_and_shutdown_in_mid_command_end_it_first(ros, eventually):
    node = active_node(ros)
    base = VelocityLog(ros.node('base'))
    client = CommandClient(ros.node('client'))
    client.wait_ready(10.0)
    for transition in (node.trigger_deactivate, node.trigger_shutdown):
        base.speeds.clear()
        result = in_thread(lambda: send(client, 'please drive far'))
        eventually(lambda: 0.2 in base.speeds)
        assert transition() == SUCCESS
        assert result().status == R.STATUS_STOPPED
        eventually(lambda: base.speeds[-1:] == [0.0])
        if transition == node.trigger_deactivate:
            assert node.trigger_activate() == SUCCESS


@pytest.mark.parametrize('name', ['tool_file', 'script'])
def test_a_configuration_that_fails_is_mended_and_tried_again(ros, name):
    node = active_node(ros)
    good = node.get_parameter(name)
    assert node.trigger_deactivate() == node.trigger_cleanup() == SUCCESS
    node.set_parameters([Parameter(name, value='/none.yaml')])
    for _ in range(2):
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert node._engine is node._tools is node._agent is None
    node.set_parameters([good])
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS
    client = CommandClient(ros.node('client'))
    client.wait_ready(10.0)
    assert send(client, 'hello').status == R.STATUS_ANSWERED


def test_a_bug_in_a_transition_leaves_the_node_recoverable(ros, monkeypatch):
    node = active_node(ros)
    outside = ros.node('outside')
    assert node.trigger_deactivate() == node.trigger_cleanup() == SUCCESS

    def fail(*_: object) -> None:
        raise ValueError('a bug')

    with monkeypatch.context() as broken:
        broken.setattr(node._monitor, 'open', fail)
        node.trigger_configure()
    assert state(outside) == State.PRIMARY_STATE_UNCONFIGURED
    assert node.trigger_configure() == node.trigger_activate() == SUCCESS


def test_a_node_that_was_destroyed_is_in_the_graph_no_more(ros, eventually):
    outside, theirs = ros.node('outside'), Ros()
    node = active_node(theirs)
    eventually(lambda: 'nemotron' in outside.get_node_names())
    theirs.close()
    eventually(lambda: 'nemotron' not in outside.get_node_names(), what=f'{node} is there still')
