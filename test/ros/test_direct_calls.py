"""Direct calls over DDS: cancelled by id, told as events; the manifest of the tools."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nemotron_msgs.msg import Event, ToolManifest, ToolResult
from nemotron_msgs.srv import CallTool, CancelCall, ListTools
from rclpy.qos import DurabilityPolicy, QoSProfile
from scripted_node import SUCCESS, active_node, ask
from servers import SwitchServer, VelocityLog
from threads import in_thread


@pytest.fixture
def robot(ros):
    """Give an active node, what it tells, and a base that hears cmd_vel."""
    node = active_node(ros)
    outside = ros.node('outside')
    events: list[Event] = []
    outside.create_subscription(Event, 'nemotron/events', events.append, 100)
    yield SimpleNamespace(node=node, outside=outside, base=VelocityLog(outside), events=events)
    node.trigger_shutdown()


def test_call_is_cancelled_by_its_id(robot, eventually):
    request = CallTool.Request(name='drive', arguments='{"seconds": 10}', id='mine')
    answer = in_thread(lambda: ask(robot.outside, CallTool, 'nemotron/call_tool', request))
    eventually(lambda: 0.2 in robot.base.speeds)
    cancel = CancelCall.Request(id='mine')
    assert ask(robot.outside, CancelCall, 'nemotron/cancel_call', cancel).found
    assert answer().result.status == ToolResult.STATUS_CANCELED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    phases = [event.phase for event in robot.events if event.command_id == 'mine']
    assert (phases[0], phases[-1]) == (Event.PHASE_CALLING, Event.PHASE_RESULT)
    assert not ask(robot.outside, CancelCall, 'nemotron/cancel_call', cancel).found


def test_arguments_that_can_not_be_read_are_answered(robot):
    request = CallTool.Request(name='drive', arguments='[' * 50_000)
    answer = ask(robot.outside, CallTool, 'nemotron/call_tool', request)
    assert answer.result.status == ToolResult.STATUS_INVALID
    assert 'nested' in answer.result.error


def test_manifest_announces_the_tools_and_their_end(ros, robot, eventually):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    told: list[ToolManifest] = []
    ros.node('late').create_subscription(ToolManifest, 'nemotron/tools', told.append, latched)
    eventually(lambda: len(told) == 1)
    listed = ask(robot.outside, ListTools, 'nemotron/list_tools', ListTools.Request())
    assert told[0].tools == listed.tools
    assert (told[0].robot, told[0].tool_file) == (listed.robot, listed.tool_file)
    assert told[0].robot == 'bench'
    drive = told[0].tools[0]
    assert json.loads(drive.parameters)['properties']['seconds']['maximum'] == 10
    assert json.loads(drive.rules) == {'exclusive': 'motion'}
    assert robot.node.trigger_deactivate() == SUCCESS
    assert robot.node.trigger_cleanup() == SUCCESS
    eventually(lambda: len(told) == 2)
    assert told[1].tools == []


def test_deactivate_frees_the_tools_clients_and_activate_makes_them_again(ros, robot, eventually):
    switch = SwitchServer(ros.node('switch_node'))
    request = CallTool.Request(name='switch', arguments='{"on": true}', timeout_s=5.0)
    answer = ask(robot.outside, CallTool, 'nemotron/call_tool', request)
    assert answer.result.status == ToolResult.STATUS_SUCCEEDED

    def clients() -> dict[str, list[str]]:
        found = robot.outside.get_client_names_and_types_by_node('nemotron_tools', '/')
        return dict(found)

    assert clients() == {'/switch': ['std_srvs/srv/SetBool']}
    assert robot.node.trigger_deactivate() == SUCCESS
    eventually(lambda: clients() == {})
    assert robot.outside.count_publishers('/cmd_vel') == 1  # a stop ends motion all the same
    assert robot.node.trigger_activate() == SUCCESS
    eventually(lambda: clients() != {})
    answer = ask(robot.outside, CallTool, 'nemotron/call_tool', request)
    assert answer.result.status == ToolResult.STATUS_SUCCEEDED
    assert switch.asked == 2
