"""The node through its own door: goals over real DDS, with a scripted engine."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import State
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import EngineStatus, Event, ToolResult
from nemotron_msgs.srv import CallTool, ListTools
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from scripted_node import active_node, scripted_node
from servers import SwitchServer, VelocityLog
from std_srvs.srv import Trigger
from threads import in_thread

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient, CommandError

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'
R = ExecuteCommand.Result
SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture
def robot(ros):
    """Give an active node, a base that hears cmd_vel, a switch, and a client."""
    node = active_node(ros)
    outside = ros.node('outside')
    base = VelocityLog(outside)
    switch = SwitchServer(ros.node('switch_node'))
    client = CommandClient(ros.node('client'))
    client.wait_ready(5.0)
    events: list[Event] = []

    def send(command: str, cancel: CancelToken | None = None, **fields: object) -> R:
        goal = ExecuteCommand.Goal(command=command, **fields)
        return client.send(goal, events.append, cancel or CancelToken(20.0))

    def call(kind: type, name: str, request: object) -> object:
        service = outside.create_client(kind, name)
        assert until_true(service.service_is_ready, 5.0, CancelToken(5.0))
        future = service.call_async(request)
        assert until_done(future, 10.0, CancelToken(10.0))
        return future.result()

    yield SimpleNamespace(
        node=node, base=base, switch=switch, client=client, send=send, call=call, events=events
    )
    node.trigger_shutdown()


def test_command_calls_a_tool_and_answers(robot, eventually):
    result = robot.send('please drive a little')
    assert (result.status, result.text) == (R.STATUS_SUCCEEDED, 'Done.')
    call = result.calls[0]
    assert (call.name, call.result.status) == ('drive', ToolResult.STATUS_SUCCEEDED)
    assert call.result.duration_s >= 0.3
    assert result.session_id
    eventually(lambda: robot.base.speeds[-1:] == [0.0])
    phases = [event.phase for event in robot.events]
    assert phases[0] == Event.PHASE_ACCEPTED
    assert phases[-1] == Event.PHASE_DONE
    assert [event.sequence for event in robot.events] == list(range(len(phases)))


def test_answer_in_words(robot):
    result = robot.send('hello')
    assert (result.status, result.text, result.calls) == (R.STATUS_ANSWERED, 'Hello.', [])


def test_an_action_succeeds_only_by_what_was_done(robot):
    robot.send('hello')
    robot.send('please drive a little')
    ended = [handle.status for handle in robot.node._action._goal_handles.values()]
    assert ended == [GoalStatus.STATUS_ABORTED, GoalStatus.STATUS_SUCCEEDED]


def test_events_topic_tells_the_same_story(robot, ros, eventually):
    told: list[Event] = []
    ros.node('witness').create_subscription(Event, 'nemotron/events', told.append, 100)
    eventually(lambda: robot.node.count_subscribers('/nemotron/events') > 0)
    robot.send('please drive a little')
    eventually(lambda: told and told[-1].phase == Event.PHASE_DONE)
    assert told == robot.events


def test_failed_call_ends_the_turn_and_is_told(robot):
    result = robot.send('switch off')
    assert result.status == R.STATUS_NOT_DONE
    assert 'the switch is stuck' in result.error
    assert [c.result.status for c in result.calls] == [
        ToolResult.STATUS_FAILED,
        ToolResult.STATUS_NOT_RUN,
    ]
    assert robot.base.speeds == []


@pytest.mark.parametrize(('command', 'word'), [('too fast', 'seconds'), ('unknown tool', 'fly')])
def test_bad_calls_never_reach_ros(robot, command, word):
    result = robot.send(command)
    assert result.status == R.STATUS_NOT_DONE
    assert result.calls[0].result.status == ToolResult.STATUS_INVALID
    assert word in result.error
    assert robot.base.speeds == []


def test_tool_that_the_goal_does_not_allow_is_denied(robot):
    result = robot.send('please drive a little', allowed_tools=['switch'])
    assert result.status == R.STATUS_NOT_DONE
    assert result.calls[0].result.status == ToolResult.STATUS_DENIED
    assert robot.base.speeds == []


def test_empty_allow_list_allows_nothing(robot):
    result = robot.send('please drive a little', allowed_tools=[])
    assert result.calls[0].result.status == ToolResult.STATUS_DENIED


def test_dry_run_sends_nothing(robot):
    result = robot.send('switch on', mode=ExecuteCommand.Goal.MODE_DRY_RUN)
    assert result.calls[0].result.status == ToolResult.STATUS_NOT_RUN
    assert robot.switch.asked == 0


@pytest.mark.parametrize(
    ('fields', 'word'),
    [
        ({'command': ''}, 'command'),
        ({'command': '   \n'}, 'command'),
        ({'command': 'x' * 100_000}, '100000 characters'),
        ({'command': 'hello', 'allowed_tools': ['switch', 'warp']}, "'warp'"),
        ({'command': 'hello', 'timeout_s': 0.0}, 'timeout_s'),
        ({'command': 'hello', 'timeout_s': -1.0}, 'timeout_s'),
        ({'command': 'hello', 'timeout_s': math.nan}, 'timeout_s'),
        ({'command': 'hello', 'timeout_s': math.inf}, 'timeout_s'),
        ({'command': 'hello', 'mode': 7}, 'mode'),
        ({'command': 'hello', 'thinking': 3}, 'thinking'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_goals_are_rejected_with_the_reason(robot, fields, word):
    result = robot.send(**fields)
    assert result.status == R.STATUS_REJECTED
    assert word in result.error
    assert robot.send('hello').status == R.STATUS_ANSWERED


def test_second_goal_is_turned_away_and_the_first_goes_on(robot, eventually):
    first = in_thread(lambda: robot.send('please drive on'))
    eventually(lambda: 0.2 in robot.base.speeds)
    second = robot.send('hello')
    assert second.status == R.STATUS_REJECTED
    assert 'busy' in second.error
    assert first().status == R.STATUS_SUCCEEDED


def test_stop_word_ends_a_running_command_without_the_model(robot, eventually):
    first = in_thread(lambda: robot.send('please drive far'))
    eventually(lambda: 0.2 in robot.base.speeds)
    stop = robot.send('STOP!')
    assert (stop.status, stop.usage.prompt_tokens) == (R.STATUS_SUCCEEDED, 0)
    assert first().status == R.STATUS_STOPPED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    assert robot.send('please drive a little').status == R.STATUS_SUCCEEDED


def test_stop_service_latches_until_it_is_cleared(robot, eventually):
    first = in_thread(lambda: robot.send('please drive far'))
    eventually(lambda: 0.2 in robot.base.speeds)
    assert robot.call(Trigger, 'nemotron/stop', Trigger.Request()).success
    assert first().status == R.STATUS_STOPPED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    held = robot.send('please drive a little')
    assert held.calls[0].result.status == ToolResult.STATUS_DENIED
    assert robot.call(Trigger, 'nemotron/clear_stop', Trigger.Request()).success
    assert robot.send('please drive a little').status == R.STATUS_SUCCEEDED


def test_cancel_while_driving(robot, eventually):
    cancel = CancelToken(20.0)
    result = in_thread(lambda: robot.send('please drive far', cancel))
    eventually(lambda: 0.2 in robot.base.speeds)
    cancel.cancel()
    ended = result()
    assert ended.status == R.STATUS_CANCELED
    assert ended.calls[0].result.status == ToolResult.STATUS_CANCELED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    assert robot.send('hello').status == R.STATUS_ANSWERED


def test_cancel_while_generating(robot, eventually):
    cancel = CancelToken(20.0)
    result = in_thread(lambda: robot.send('think', cancel))
    eventually(lambda: any(e.phase == Event.PHASE_PROMPTING for e in robot.events))
    cancel.cancel()
    assert result().status == R.STATUS_CANCELED
    assert robot.send('hello').status == R.STATUS_ANSWERED


def test_cancel_before_it_is_accepted(robot):
    for _ in range(20):
        cancel = CancelToken(20.0)
        cancel.cancel()
        assert robot.send('please drive far', cancel).status == R.STATUS_CANCELED
    assert robot.base.speeds[-1:] in ([], [0.0])


def test_timeout_of_the_goal(robot, eventually):
    result = robot.send('please drive far', timeout_s=0.8)
    assert result.status == R.STATUS_TIMED_OUT
    assert result.calls[0].result.status == ToolResult.STATUS_TIMED_OUT
    eventually(lambda: robot.base.speeds[-1:] == [0.0])
    assert robot.send('hello').status == R.STATUS_ANSWERED


def test_deactivate_ends_what_runs(robot, eventually):
    result = in_thread(lambda: robot.send('please drive far'))
    eventually(lambda: 0.2 in robot.base.speeds)
    assert robot.node.trigger_deactivate() == SUCCESS
    assert result().status == R.STATUS_STOPPED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    with pytest.raises(CommandError, match='rejected'):
        robot.send('hello')
    assert robot.node.trigger_activate() == SUCCESS
    assert robot.send('hello').status == R.STATUS_ANSWERED


def test_deactivate_ends_what_another_node_has_called(robot, eventually):
    request = CallTool.Request(name='drive', arguments='{"seconds": 10}', timeout_s=20.0)
    answer = in_thread(lambda: robot.call(CallTool, 'nemotron/call_tool', request))
    eventually(lambda: 0.2 in robot.base.speeds)
    assert robot.node.trigger_deactivate() == SUCCESS
    assert answer().result.status == ToolResult.STATUS_CANCELED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    refused = robot.call(CallTool, 'nemotron/call_tool', request).result
    assert (refused.status, refused.rule) == (ToolResult.STATUS_DENIED, 'inactive')
    assert refused.error == 'the node is not active'
    assert robot.node.trigger_activate() == SUCCESS
    assert robot.send('please drive a little').status == R.STATUS_SUCCEEDED


def test_lifecycle_round_trip(robot):
    for _ in range(3):
        assert robot.node.trigger_deactivate() == SUCCESS
        assert robot.node.trigger_cleanup() == SUCCESS
        assert robot.node.trigger_configure() == SUCCESS
        assert robot.node.trigger_activate() == SUCCESS
        assert robot.send('hello').status == R.STATUS_ANSWERED


def test_list_tools(robot):
    answer = robot.call(ListTools, 'nemotron/list_tools', ListTools.Request())
    assert [tool.name for tool in answer.tools] == ['drive', 'switch']
    assert answer.tools[0].kind == 'topic'
    assert answer.tools[1].interface == 'switch (std_srvs/srv/SetBool)'


@pytest.mark.parametrize(
    ('name', 'arguments', 'timeout_s', 'status', 'rule'),
    [
        ('switch', '{"on": true}', 5.0, ToolResult.STATUS_SUCCEEDED, ''),
        ('switch', '{"on": 1}', 5.0, ToolResult.STATUS_INVALID, 'schema'),
        ('switch', '{"on": true, "also": 1}', 5.0, ToolResult.STATUS_INVALID, 'schema'),
        ('drive', '{"seconds": NaN}', 5.0, ToolResult.STATUS_INVALID, 'request'),
        ('drive', '[]', 5.0, ToolResult.STATUS_INVALID, 'request'),
        ('drive', '{', 5.0, ToolResult.STATUS_INVALID, 'request'),
        ('drive', '{"seconds": 1}', math.nan, ToolResult.STATUS_INVALID, 'request'),
        ('fly', '{}', 5.0, ToolResult.STATUS_INVALID, 'unknown'),
    ],
)
def test_call_tool_passes_the_same_gate(robot, name, arguments, timeout_s, status, rule):
    request = CallTool.Request(name=name, arguments=arguments, timeout_s=timeout_s)
    answer = robot.call(CallTool, 'nemotron/call_tool', request)
    assert (answer.result.status, answer.result.rule) == (status, rule), answer.result.error


BAD_FILES = {
    'unknown type': (
        'tools: {x: {description: d, read: {topic: t, type: std_msgs/msg/Nothing, value: 1}}}',
        'Nothing',
    ),
    'missing field': (
        'tools: {x: {description: d, topic: {name: t, type: std_msgs/msg/String, '
        'message: {words: hi}}}}',
        'words',
    ),
    'motion without bounds': (
        'tools: {x: {description: d, parameters: {v: {type: number}}, topic: {name: cmd_vel, '
        'type: geometry_msgs/msg/Twist, message: {linear: {x: "{{ v }}"}}, then: {}}, '
        'guard: {exclusive: motion}}}',
        'maximum',
    ),
    'not YAML': ('tools: [', 'tools.yaml:1'),
}


@pytest.mark.parametrize('name', BAD_FILES)
def test_bad_tool_file_leaves_the_node_unconfigured(ros, tmp_path, name, eventually):
    text, word = BAD_FILES[name]
    path = tmp_path / 'tools.yaml'
    path.write_text(f'robot: r\n{text}\n' if name != 'not YAML' else text)
    node = scripted_node(ros, tool_file=str(path))
    states: list[EngineStatus] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    ros.node('watch').create_subscription(
        EngineStatus, 'nemotron/engine_status', states.append, latched
    )
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    eventually(lambda: bool(states))
    assert states[-1].state == EngineStatus.STATE_FAILED
    assert word in states[-1].message
    assert node._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED
    node.set_parameters([Parameter('tool_file', value=str(FIXTURES / 'tools_bench.yaml'))])
    assert node.trigger_configure() == SUCCESS
    node.trigger_shutdown()


PROFILE = """
title: A board of our own
engine: llama_server
model: {{catalogue: nemotron}}
precision: f16
context_tokens: 4096
max_batch_size: 1
memory: {{pool: ram, weights_bytes: 1, kv_bytes_per_token: 1, state_bytes_per_sequence: 0,
         working_bytes: 1}}
server: ['{python}', '{server}', --host, 127.0.0.1, --port, '{{port}}', --model, '{{model}}',
         --ctx-size, '{{context_tokens}}']
"""


def test_server_of_the_boards_profile_is_started_and_ended(ros, tmp_path, eventually):
    pytest.importorskip('xllamacpp', reason='xllamacpp, the embedded engine, is not installed')
    pytest.importorskip('gguf', reason='gguf is not installed')
    from leaning_model import write_tiny

    server = FIXTURES.parent / 'engine/llama_server.py'
    profile, model = tmp_path / 'my_board.yaml', write_tiny(tmp_path / 'tiny.gguf')
    profile.write_text(PROFILE.format(python=sys.executable, server=server))
    node = scripted_node(ros, engine='', device=str(profile), model=str(model))
    states: list[EngineStatus] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    ros.node('watch').create_subscription(
        EngineStatus, 'nemotron/engine_status', states.append, latched
    )
    assert node.trigger_configure() == SUCCESS
    eventually(lambda: states and states[-1].state == EngineStatus.STATE_READY)
    assert [state.state for state in states].count(EngineStatus.STATE_READY) == 1
    assert (states[-1].engine, states[-1].context_tokens) == ('llama_server', 4096)
    pid = node._engine.pid
    assert Path(f'/proc/{pid}').exists()
    assert node.trigger_cleanup() == SUCCESS
    assert not Path(f'/proc/{pid}').exists()


def test_missing_model_file_leaves_the_node_unconfigured(ros, tmp_path, eventually):
    node = scripted_node(ros, engine='llama_cpp', model=str(tmp_path / 'none.gguf'))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    node.set_parameters([Parameter('engine', value='scripted')])
    assert node.trigger_configure() == SUCCESS
    node.trigger_shutdown()
