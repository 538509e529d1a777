"""Another tool file while the node is active: checked first, then in force between commands."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import ToolManifest, ToolResult
from nemotron_msgs.srv import CallTool, ListTools
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_context import Ros
from scripted_node import SUCCESS, active_node, ask, scripted_node
from servers import VelocityLog
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from threads import in_thread

from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient

R = ExecuteCommand.Result
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DRIVE = """
    description: Drive for a time.
    parameters: {seconds: {type: number, minimum: 0.1, maximum: 10}}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,
            message: {linear: {x: 0.2}}, for_s: "{{ seconds }}", then: {}}
    guard: {exclusive: motion, max_per_minute: 2}
"""
BEFORE = f"""
robot: bench
estop: {{topic: e_stop}}
tools:
  drive:{DRIVE}"""
AFTER = f"""
robot: bench
estop: {{topic: e_stop}}
tools:
  drive:{DRIVE}
  roll:{DRIVE.replace('0.2', '0.1')}"""
TALKATIVE = f"""
examples: [["go", "{3000 * 'word '}"]]"""
SCRIPT = """
- {when: 'Ready?', text: Yes.}
- {when: '"status"', text: Done.}
- {when: drive on, calls: [{name: drive, arguments: {seconds: 2}}]}
- {when: drive far, calls: [{name: drive, arguments: {seconds: 10}}]}
- {when: roll, calls: [{name: roll, arguments: {seconds: 0.2}}]}
"""


@pytest.fixture
def robot(ros: Ros, tmp_path: Path) -> SimpleNamespace:
    """Give an active node whose tool file can be written anew, and what asks it."""
    tools, script = tmp_path / 'tools.yaml', tmp_path / 'script.yaml'
    tools.write_text(BEFORE)
    script.write_text(SCRIPT)
    node = active_node(
        ros,
        tool_file=str(tools),
        script=str(script),
        context_tokens=2000,
        max_queued=1,
        trace_folder=str(tmp_path / 'traces'),
    )
    outside = ros.node('outside')
    client = CommandClient(ros.node('client'))
    client.wait_ready(10.0)

    def send(command: str) -> R:
        return client.send(ExecuteCommand.Goal(command=command), lambda _: None, CancelToken(30.0))

    def call(name: str, seconds: float) -> ToolResult:
        request = CallTool.Request(name=name, arguments=json.dumps({'seconds': seconds}))
        return ask(outside, CallTool, 'nemotron/call_tool', request).result

    def reload(text: str | None = None) -> Trigger.Response:
        if text is not None:
            tools.write_text(text)
        return ask(outside, Trigger, 'nemotron/reload_tools', Trigger.Request())

    def names() -> list[str]:
        answer = ask(outside, ListTools, 'nemotron/list_tools', ListTools.Request())
        return [tool.name for tool in answer.tools]

    return SimpleNamespace(
        node=node, outside=outside, base=VelocityLog(ros.node('base')), path=tools, send=send,
        call=call, reload=reload, names=names,
    )  # fmt: skip


def test_a_running_command_keeps_its_tools_and_the_next_one_has_the_new(robot, eventually):
    told: list[ToolManifest] = []
    robot.outside.create_subscription(ToolManifest, 'nemotron/tools', told.append, LATCHED)
    before, executor = threading.active_count(), robot.node._executor_for_tools
    running = in_thread(lambda: robot.send('drive on'))
    eventually(lambda: 0.2 in robot.base.speeds)
    queued = in_thread(lambda: robot.send('roll'))
    eventually(lambda: len(robot.node._agent._line._places) == 2)
    answer = robot.reload(AFTER)
    assert (answer.success, answer.message) == (True, f'2 tools of {robot.path}')
    assert robot.names() == ['drive', 'roll']
    eventually(lambda: [tool.name for tool in told[-1].tools] == ['drive', 'roll'])
    assert executor._clients._made  # in use still
    assert [call.result.status for call in running().calls] == [ToolResult.STATUS_SUCCEEDED]
    assert (queued().status, robot.send('roll').status) == (R.STATUS_SUCCEEDED,) * 2
    assert {0.1, 0.2} < set(robot.base.speeds)
    eventually(lambda: not executor._clients._made)  # and let go when it was over
    assert robot.reload().success
    eventually(lambda: threading.active_count() <= before + 1)


def test_what_runs_by_the_old_file_holds_its_group_and_is_stopped(robot, eventually):
    running = in_thread(lambda: robot.send('drive far'))
    eventually(lambda: 0.2 in robot.base.speeds)
    assert robot.reload(AFTER).success
    assert robot.call('roll', 0.2).rule == 'exclusive'
    direct = in_thread(lambda: robot.call('drive', 9.0))
    assert direct().rule == 'exclusive'
    assert ask(robot.outside, Trigger, 'nemotron/stop', Trigger.Request()).success
    assert running().status == R.STATUS_STOPPED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    assert robot.call('roll', 0.2).rule == 'stop'


def test_a_direct_call_is_stopped_too_and_rates_are_kept(robot, eventually):
    direct = in_thread(lambda: robot.call('drive', 9.0))
    eventually(lambda: 0.2 in robot.base.speeds)
    assert robot.reload(AFTER).success
    assert robot.node.trigger_deactivate() == SUCCESS
    assert direct().status == ToolResult.STATUS_CANCELED
    assert robot.node.trigger_activate() == SUCCESS
    assert robot.call('drive', 0.1).status == ToolResult.STATUS_SUCCEEDED
    assert robot.call('drive', 0.1).rule == 'rate'


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('robot: [', ':1: '),
        (AFTER.replace('Twist', 'Twits'), 'tools.drive.topic'),
        (AFTER.replace(', maximum: 10', ''), 'tools.drive.parameters.seconds'),
        (AFTER.replace('{linear: {x: 0.2}}', '{linear: {why: 0.2}}'), 'why'),
        (AFTER + TALKATIVE, 'larger context_tokens'),
    ],
    ids=['no YAML', 'type', 'bounds', 'field', 'too long for the context'],
)
def test_what_is_wrong_changes_nothing(robot, text, problem):
    before = threading.active_count()
    answer = robot.reload(text)
    assert not answer.success
    assert problem in answer.message
    assert answer.message.endswith('nothing was changed')
    assert robot.names() == ['drive']
    assert robot.call('drive', 0.1).status == ToolResult.STATUS_SUCCEEDED
    assert threading.active_count() <= before + 1
    assert robot.reload(AFTER).success


def test_an_e_stop_that_is_pressed_stays_listened_to(robot, eventually):
    button = robot.outside.create_publisher(Bool, 'e_stop', 10)
    eventually(lambda: button.get_subscription_count() > 0)
    button.publish(Bool(data=True))
    eventually(lambda: robot.node._latches.told)
    answer = robot.reload(AFTER.replace('e_stop', 'other_stop'))
    assert 'e-stop /e_stop says stop; release it' in answer.message
    assert robot.reload(AFTER).success  # whose e-stop is the same one
    assert not ask(robot.outside, Trigger, 'nemotron/clear_stop', Trigger.Request()).success
    button.publish(Bool(data=False))
    eventually(lambda: not robot.node._estop.active)
    assert robot.reload(AFTER.replace('e_stop', 'other_stop')).success
    assert robot.call('drive', 0.1).rule == 'stop'  # its latch holds
    assert ask(robot.outside, Trigger, 'nemotron/clear_stop', Trigger.Request()).success
    other = robot.outside.create_publisher(Bool, 'other_stop', 10)
    eventually(lambda: other.get_subscription_count() > 0)
    assert button.get_subscription_count() == 0
    other.publish(Bool(data=True))
    eventually(lambda: robot.node._latches.told == 'e-stop /other_stop')


def test_the_trace_says_which_file_was_in_force(robot, tmp_path):
    assert robot.send('roll').status == R.STATUS_NOT_DONE
    assert robot.reload(f'{AFTER}\nexamples: [["who are you?", "A robot."]]').success
    assert robot.send('roll').status == R.STATUS_SUCCEEDED
    assert robot.node.trigger_shutdown() == SUCCESS
    traces = sorted((tmp_path / 'traces').glob('*.jsonl'))
    lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in traces]
    assert len({origin['tool_file_sha256'] for origin, *_ in lines}) == len(lines) == 2
    turns = [event['detail'] for event in lines[1] if event.get('phase') == 'PROMPTING']
    assert turns[0]['messages'] == [{'role': 'user', 'content': 'roll'}]


def test_a_node_that_is_not_configured_says_so(ros):
    scripted_node(ros)
    answer = ask(ros.node('outside'), Trigger, 'nemotron/reload_tools', Trigger.Request())
    assert not answer.success
    assert 'not configured' in answer.message


def test_another_path_is_a_parameter_and_what_would_come_too_late_is_refused(robot, tmp_path):
    other = tmp_path / 'other.yaml'
    other.write_text(AFTER)

    def put(**values: object) -> list[tuple[bool, str]]:
        wanted = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        request = SetParameters.Request(parameters=wanted)
        answer = ask(robot.outside, SetParameters, 'nemotron/set_parameters', request)
        return [(result.successful, result.reason) for result in answer.results]

    assert put(tool_file=str(other), goal_timeout_max_s=60.0) == [(True, ''), (True, '')]
    assert robot.names() == ['drive']
    assert robot.reload().success
    assert robot.names() == ['drive', 'roll']
    ((good, reason),) = put(max_turns=3)
    assert not good
    assert reason.startswith('max_turns: read when the node is configured; deactivate it')
    assert robot.node.get_parameter('max_turns').value == 6
    assert robot.node.trigger_deactivate() == robot.node.trigger_cleanup() == SUCCESS
    assert put(max_turns=3) == [(True, '')]
