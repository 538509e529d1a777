"""What must be so before a call runs, who must say yes, and what stops it: over real DDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from geometry_msgs.msg import TransformStamped
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Confirmations, Event, StopStatus, ToolResult
from nemotron_msgs.srv import CallTool, Confirm
from rclpy.action import ActionClient
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from scripted_node import ask, scripted_node
from sensor_msgs.msg import BatteryState
from servers import FibonacciServer, VelocityLog
from std_msgs.msg import Bool, Empty, String
from std_srvs.srv import Trigger
from test_msgs.action import Fibonacci
from threads import in_thread

from nemotron_ros.bridge import transforms
from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.conditions import ConditionChecker
from nemotron_ros.bridge.estop import EStopWatch
from nemotron_ros.bridge.waiting import until_done
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient
from nemotron_ros.tools.estop import EStop, Heartbeat
from nemotron_ros.tools.tool_file import load

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'
R = ExecuteCommand.Result
SUCCESS = TransitionCallbackReturn.SUCCESS
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def robot(ros):
    """Give an active node with a guarded robot, and what stands round it."""
    node = scripted_node(
        ros,
        script=str(FIXTURES / 'script_guarded.yaml'),
        tool_file=str(FIXTURES / 'tools_guarded.yaml'),
    )
    outside = ros.node('outside')
    base = VelocityLog(outside)
    heard: list[object] = []
    for kind, topic in ((Empty, 'stairs'), (String, 'door')):
        outside.create_subscription(kind, topic, heard.append, 10)
    questions: list[Confirmations] = []
    outside.create_subscription(Confirmations, 'nemotron/confirmations', questions.append, LATCHED)
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS

    ask_node = partial(ask, outside)

    def call(name: str, timeout_s: float = 15.0, **arguments: object) -> ToolResult:
        request = CallTool.Request(name=name, arguments=json.dumps(arguments), timeout_s=timeout_s)
        return ask_node(CallTool, 'nemotron/call_tool', request).result

    def trigger(name: str) -> Trigger.Response:
        return ask_node(Trigger, f'nemotron/{name}', Trigger.Request())

    yield SimpleNamespace(
        node=node,
        outside=outside,
        base=base,
        heard=heard,
        questions=questions,
        ask=ask_node,
        call=call,
        trigger=trigger,
    )
    node.trigger_shutdown()


def first_question(robot, eventually):
    eventually(lambda: robot.questions and robot.questions[-1].open)
    return robot.questions[-1].open[0]


# Preconditions


def test_a_call_runs_only_while_its_condition_holds(robot, eventually):
    def refused() -> str:
        result = robot.call('climb')
        assert result.status == ToolResult.STATUS_DENIED
        return result.error

    assert refused() == 'requires: charged: nobody publishes battery_state'
    battery = robot.outside.create_publisher(BatteryState, 'battery_state', BEST_EFFORT)
    level = [0.1]
    timer = robot.outside.create_timer(
        0.05, lambda: battery.publish(BatteryState(percentage=level[0]))
    )
    eventually(
        lambda: refused() == 'requires: charged: battery_state: is 0.1, and must be at least 0.2'
    )
    level[0] = 0.9
    eventually(lambda: robot.call('climb').status == ToolResult.STATUS_SUCCEEDED)
    timer.cancel()
    time.sleep(0.6)
    assert 's old; one no older than 0.5 s is needed' in refused()
    assert robot.heard == [Empty()]


def test_a_transform_must_be_known(ros, tmp_path, monkeypatch):
    monkeypatch.setattr(transforms, 'load_message', lambda name: String)  # tf2_msgs or not
    path = tmp_path / 'tools.yaml'
    path.write_text("""
robot: r
conditions: {localised: {transform: {target: map, source: base}, max_age_s: 0.3}}
tools: {honk: {description: Honk., topic: {name: horn, type: std_msgs/msg/Empty}}}
""")
    tool_file = load(path)
    clients = Clients(ros.node('bridge'))
    checker = ConditionChecker(clients, tool_file)
    localised = tool_file.conditions['localised']
    assert "'map'" in checker(localised, CancelToken(5.0))
    stamped = TransformStamped(child_frame_id='base')
    stamped.header.frame_id = 'map'
    clients.transforms().take(SimpleNamespace(transforms=[stamped]))
    assert checker(localised, CancelToken(5.0)) == ''
    time.sleep(0.35)
    assert 'was last told' in checker(localised, CancelToken(5.0))
    clients.close()


# Confirmation


def test_who_said_yes_is_kept_with_the_result(robot, eventually):
    told: list[Event] = []
    robot.outside.create_subscription(Event, 'nemotron/events', told.append, 100)
    eventually(lambda: robot.node.count_subscribers('/nemotron/events') > 0)
    result = in_thread(lambda: robot.call('open_door', wide=True))
    question = first_question(robot, eventually)
    assert (question.tool, question.description) == ('open_door', 'Open the front door.')
    assert json.loads(question.arguments) == {'wide': True}
    assert question.deadline.sec - question.asked.sec in (7, 8, 9)
    assert robot.heard == []
    answer = robot.ask(
        Confirm, 'nemotron/confirm', Confirm.Request(id=question.id, yes=True, who='Ann')
    )
    assert (answer.success, answer.message) == (True, 'it runs')
    ended = result()
    assert (ended.status, ended.confirmed_by) == (ToolResult.STATUS_SUCCEEDED, 'Ann')
    eventually(lambda: robot.heard == [String(data='wide')])
    (waited,) = [event for event in told if '"waiting_for"' in event.detail]
    assert json.loads(waited.detail)['id'] == question.id
    assert waited.phase == Event.PHASE_CALLING
    eventually(lambda: robot.questions[-1].open == [])
    late = robot.ask(
        Confirm, 'nemotron/confirm', Confirm.Request(id=question.id, yes=True, who='Bob')
    )
    assert not late.success
    assert 'no open question' in late.message


def test_no_is_told_with_who_said_it(robot, eventually):
    result = in_thread(lambda: robot.call('open_door', wide=True))
    question = first_question(robot, eventually)
    robot.ask(Confirm, 'nemotron/confirm', Confirm.Request(id=question.id, who='Ann'))
    ended = result()
    assert (ended.status, ended.error) == (ToolResult.STATUS_DENIED, 'confirmation: Ann said no')
    assert robot.heard == []


def test_a_stop_withdraws_the_question(robot, eventually):
    result = in_thread(lambda: robot.call('open_door', wide=True))
    question = first_question(robot, eventually)
    assert robot.trigger('stop').success
    assert result().status == ToolResult.STATUS_CANCELED
    eventually(lambda: robot.questions[-1].open == [])
    answer = robot.ask(
        Confirm, 'nemotron/confirm', Confirm.Request(id=question.id, yes=True, who='Ann')
    )
    assert not answer.success
    assert robot.heard == []


def test_a_command_tells_that_it_waits_and_ends_in_time(ros, robot, eventually):
    client = CommandClient(ros.node('client'))
    client.wait_ready(5.0)
    events: list[Event] = []
    goal = ExecuteCommand.Goal(command='open the door', timeout_s=1.0)
    result = client.send(goal, events.append, CancelToken(20.0))
    assert result.status == R.STATUS_TIMED_OUT
    assert result.calls[0].result.status == ToolResult.STATUS_TIMED_OUT
    waiting = [json.loads(event.detail) for event in events if '"waiting_for"' in event.detail]
    assert waiting[0]['waiting_for'] == 'confirmation'
    assert 0 < waiting[0]['within_s'] <= 1.0
    assert [e.phase for e in events if '"waiting_for"' in e.detail] == [Event.PHASE_CALLING]
    assert robot.heard == []


def test_the_command_line_lists_and_answers(robot, eventually):
    def confirm(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, '-m', 'nemotron_ros.cli', 'confirm', *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, 'COLUMNS': '120'},
        )

    result = in_thread(lambda: robot.call('open_door', wide=False))
    question = first_question(robot, eventually)
    waiting = confirm()
    assert waiting.returncode == 0
    for shown in (question.id, 'open_door', 'wide: False', 'Open the front door.'):
        assert shown in waiting.stdout
    said = confirm('--yes', '--who', 'Ann')
    assert (said.returncode, said.stdout, said.stderr) == (0, 'it runs\n', '')
    assert result().confirmed_by == 'Ann'
    listed = confirm()
    assert (listed.returncode, listed.stdout) == (0, 'nothing waits for a yes\n')
    unknown = confirm('abc', '--no', '--who', 'Ann')
    assert unknown.returncode == 1
    assert "no open question 'abc'" in unknown.stderr
    assert confirm('abc').returncode == 2


# Stop


def test_the_e_stop_ends_motion_and_holds_until_it_is_released_and_cleared(robot, eventually):
    button = robot.outside.create_publisher(Bool, 'e_stop', 10)
    eventually(lambda: button.get_subscription_count() > 0)
    result = in_thread(lambda: robot.call('drive', seconds=10))
    eventually(lambda: 0.2 in robot.base.speeds)
    button.publish(Bool(data=True))
    assert result().status == ToolResult.STATUS_CANCELED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    refused = robot.call('drive', seconds=1)
    assert refused.error == 'stop: a stop is latched (e-stop /e_stop); clear it first'
    cleared = robot.trigger('clear_stop')
    assert not cleared.success
    assert cleared.message == 'e-stop /e_stop still says stop; release it first'
    button.publish(Bool(data=False))
    time.sleep(0.2)
    # Released, and yet nothing moves before somebody clears it.
    assert robot.call('drive', seconds=1).status == ToolResult.STATUS_DENIED
    assert robot.trigger('clear_stop').success
    assert robot.call('drive', seconds=0.2).status == ToolResult.STATUS_SUCCEEDED


def test_a_stop_ends_what_others_have_begun(ros, robot, eventually):
    counter = FibonacciServer(ros.node('counter'))
    client = ActionClient(robot.outside, Fibonacci, 'fibonacci')
    assert client.wait_for_server(5.0)
    sent = client.send_goal_async(Fibonacci.Goal(order=500))
    assert until_done(sent, 5.0, CancelToken(5.0))
    eventually(lambda: counter.running == 1)
    assert robot.base.speeds == []
    assert robot.trigger('stop').success
    eventually(lambda: robot.base.speeds == [0.0])  # nothing of ours was moving
    eventually(lambda: counter.cancelled == 1)
    client.destroy()


def test_a_stop_outlives_the_tool_file(robot):
    assert robot.trigger('stop').success
    assert robot.node.trigger_deactivate() == SUCCESS
    assert robot.node.trigger_cleanup() == SUCCESS
    assert robot.node.trigger_configure() == SUCCESS
    assert robot.node.trigger_activate() == SUCCESS
    assert robot.call('drive', seconds=0.2).error.startswith('stop: a stop is latched (stop)')
    assert robot.trigger('clear_stop').success
    robot.node.trigger_deactivate()
    robot.node.trigger_cleanup()
    assert robot.trigger('stop').success  # with no tool file, and nothing to stop
    robot.node.trigger_configure()
    robot.node.trigger_activate()
    assert robot.call('drive', seconds=0.2).error.startswith('stop: a stop is latched (stop)')


def test_to_clear_a_stop_does_not_activate_anything(robot):
    robot.node.trigger_deactivate()
    assert robot.trigger('clear_stop').success
    assert 'not active' in robot.node._latches.told
    robot.node.trigger_activate()
    assert robot.node._latches.told == ''


def test_who_comes_late_is_told_that_a_stop_is_latched_and_why(robot, ros, eventually):
    told: list[StopStatus] = []
    assert robot.trigger('stop').success
    qos = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    ros.node('late').create_subscription(StopStatus, 'nemotron/stop_status', told.append, qos)
    eventually(lambda: bool(told))
    assert (told[-1].latched, told[-1].reasons) == (True, ['stop'])
    assert robot.node.trigger_deactivate() == SUCCESS  # which is no stop that could be cleared
    robot.node._latches.latch('e-stop /e_stop')
    eventually(lambda: told[-1].reasons == ['e-stop /e_stop', 'stop'])
    assert robot.trigger('clear_stop').success
    eventually(lambda: (told[-1].latched, told[-1].reasons) == (False, []))


def test_a_stop_that_meets_trouble_is_latched_and_says_so(robot, monkeypatch):
    def broken() -> None:
        raise RuntimeError('no wire')

    monkeypatch.setattr(robot.node._executor_for_tools, 'halt', broken)
    answer = robot.trigger('stop')
    assert (answer.success, answer.message) == (False, 'not everything was seen to end')
    assert robot.call('drive', seconds=1).status == ToolResult.STATUS_DENIED


@pytest.fixture
def watch(ros):
    """Give a function that watches for an e-stop, and keeps the reasons to stop."""
    made = []

    def make(estop: EStop) -> SimpleNamespace:
        reasons: list[str] = []
        made.append(EStopWatch(ros.node('watch'), estop, reasons.append))
        return SimpleNamespace(watch=made[-1], reasons=reasons)

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize('qos', [LATCHED, BEST_EFFORT, QoSProfile(depth=1)])
def test_an_e_stop_of_any_quality_is_heard(ros, watch, eventually, qos):
    trips = watch(EStop('e_stop'))
    button = ros.node('button').create_publisher(Bool, 'e_stop', qos)
    eventually(lambda: button.get_subscription_count() > 0)
    time.sleep(0.5)
    assert button.get_subscription_count() == (2 if qos is LATCHED else 1)
    button.publish(Bool(data=False))
    time.sleep(0.1)
    assert (trips.reasons, trips.watch.active) == ([], '')
    for _ in range(3):  # told again and again, it is one stop
        button.publish(Bool(data=True))
        time.sleep(0.02)
    eventually(lambda: trips.reasons == ['e-stop /e_stop'])
    assert trips.watch.active == 'e-stop /e_stop'
    button.publish(Bool(data=False))
    eventually(lambda: trips.watch.active == '')
    button.publish(Bool(data=True))
    eventually(lambda: len(trips.reasons) == 2)


def test_an_e_stop_that_was_pressed_before_is_heard(ros, watch, eventually):
    button = ros.node('button').create_publisher(Bool, 'e_stop', LATCHED)
    button.publish(Bool(data=True))
    trips = watch(EStop('e_stop'))
    eventually(lambda: trips.reasons == ['e-stop /e_stop'])


def test_a_heartbeat_that_falls_silent_stops(ros, watch, eventually):
    heart = ros.node('heart')
    beats = heart.create_publisher(Empty, 'alive', 10)
    timer = heart.create_timer(0.02, lambda: beats.publish(Empty()))
    trips = watch(EStop(heartbeat=Heartbeat('alive', 'std_msgs/msg/Empty', 0.3)))
    time.sleep(0.8)
    assert (trips.reasons, trips.watch.active) == ([], '')
    timer.cancel()
    silent_s = time.monotonic()
    eventually(lambda: trips.reasons == ['heartbeat /alive'])
    assert time.monotonic() - silent_s < 1.0
    assert trips.watch.active == 'heartbeat /alive'
    timer.reset()
    eventually(lambda: trips.watch.active == '')
    assert len(trips.reasons) == 1


def test_a_heartbeat_that_never_comes_stops(watch, eventually, monkeypatch):
    monkeypatch.setattr('nemotron_ros.bridge.estop.DISCOVERY_S', 0.3)
    trips = watch(EStop(heartbeat=Heartbeat('alive', 'std_msgs/msg/Empty', 0.1)))
    eventually(lambda: trips.reasons == ['heartbeat /alive'])
