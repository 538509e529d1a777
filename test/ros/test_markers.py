"""The markers of a node, as RViz and Foxglove get them: over real DDS."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('visualization_msgs', reason='visualization_msgs is not here')

from geometry_msgs.msg import PoseStamped
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.srv import CallTool
from scripted_node import active_node, ask
from std_srvs.srv import Trigger
from threads import in_thread
from visualization_msgs.msg import Marker, MarkerArray

from nemotron_ros.bringup import config_path
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient
from nemotron_ros.markers.draw import LIFETIME_S, markers
from nemotron_ros.markers.ground import ground_of
from nemotron_ros.tools.tool_file import load
from nemotron_ros.watch.view import View

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'
TOOLS = """\
robot: bench
tables:
  places: {kitchen: {x: 1.0, y: 2.0, yaw: 1.0}, hall: {x: 2.0, y: 0.0, yaw: 0.0}}
limits:
  fence: {frame: odom, rectangle: {x: [-3, 3], y: [-2, 2]},
          pose: {topic: odom, type: nav_msgs/msg/Odometry}}
tools:
  go_to:
    description: Go to a place.
    parameters: {place: {enum: "{{ places }}"}}
    service: {name: go, type: std_srvs/srv/Trigger, request: {}, timeout_s: 5}
  point_at:
    description: Tell others of a place.
    parameters: {place: {enum: "{{ places }}"}}
    topic:
      name: goal_pose
      type: geometry_msgs/msg/PoseStamped
      message: {header: {frame_id: odom}, pose: {position: {x: "{{ places[place].x }}"}}}
    guard: {confirm: true, confirm_within_s: 20}
"""


class Seen:
    """The markers as a viewer has them: added, replaced and removed."""

    def __init__(self, ros) -> None:
        self.now: dict[tuple[str, int], Marker] = {}
        self.arrays = 0
        self._node = ros.node('viewer')
        self._node.create_subscription(MarkerArray, 'nemotron/markers', self._take, 10)

    def _take(self, array: MarkerArray) -> None:
        self.arrays += 1
        for marker in array.markers:
            if marker.action == Marker.DELETE:
                del self.now[marker.ns, marker.id]
            else:
                self.now[marker.ns, marker.id] = marker

    def text(self, space: str) -> str:
        marker = self.now.get((space, 0))
        return '' if marker is None else marker.text

    def red(self) -> bool:
        return self.now['guard', 0].color.g < 0.3 < self.now['guard', 0].color.r


@pytest.fixture
def node(ros, tmp_path):
    """Give an active node whose robot knows two places."""
    tools, script = tmp_path / 'tools.yaml', tmp_path / 'script.yaml'
    tools.write_text(TOOLS)
    script.write_text(
        '- {when: show the hall, calls: [{name: point_at, arguments: {place: hall}}]}\n'
        '- {text: There it is.}\n'
    )
    node = active_node(ros, tool_file=str(tools), script=str(script))
    yield node
    node.trigger_shutdown()


def test_a_viewer_sees_the_world_the_command_its_goal_and_the_gate(ros, node, eventually):
    seen = Seen(ros)
    eventually(lambda: len(seen.now) >= 6, what='the world, to whoever comes late')
    assert {key for key in seen.now if key[0] == 'places'} == {('places', 0), ('places', 1)}
    assert [seen.now['place_names', n].text for n in (0, 1)] == ['kitchen', 'hall']
    plain = seen.now['places', 1].scale.x
    outside = ros.node('outside')
    outside.create_subscription(PoseStamped, 'goal_pose', lambda _: None, 10)
    client = CommandClient(outside)
    client.wait_ready(10.0)
    goal = ExecuteCommand.Goal(command='show the hall', timeout_s=30.0)
    result = in_thread(lambda: client.send(goal, lambda _: None, CancelToken(30.0)))
    eventually(lambda: seen.text('guard_text') == 'point_at waits for a yes')
    assert seen.text('command') == 'show the hall'
    assert seen.text('calls') == '> point_at(place: hall)'
    assert seen.now['places', 1].scale.x > plain, 'where it is going stands out'
    assert not seen.red()
    ask(outside, Trigger, 'nemotron/stop', Trigger.Request())
    assert result().status == ExecuteCommand.Result.STATUS_STOPPED
    eventually(lambda: seen.text('guard_text') == 'STOPPED: stop')
    assert seen.red()
    eventually(lambda: seen.text('command') == 'show the hall\n[stopped]')
    assert seen.now['places', 1].scale.x == plain
    ask(outside, Trigger, 'nemotron/clear_stop', Trigger.Request())
    eventually(lambda: ('guard_text', 0) not in seen.now, what='what is no more is removed')
    node.trigger_deactivate()
    node.trigger_cleanup()
    eventually(lambda: ('places', 0) not in seen.now, what='without a tool file, no world')


def test_another_tool_file_is_another_world(ros, node, eventually, tmp_path):
    seen = Seen(ros)
    eventually(lambda: ('places', 1) in seen.now)
    tools = TOOLS.replace('hall: {x: 2.0, y: 0.0, yaw: 0.0}', 'attic: {x: 2.5, y: 0.0}')
    (tmp_path / 'tools.yaml').write_text(tools)
    answer = ask(ros.node('outside'), Trigger, 'nemotron/reload_tools', Trigger.Request())
    assert answer.success, answer.message
    eventually(lambda: seen.now['place_names', 1].text == 'attic')


def test_a_direct_call_is_seen_too(ros, node, eventually):
    seen = Seen(ros)
    eventually(lambda: seen.now)
    request = CallTool.Request(name='go_to', arguments='{"place": "attic"}', id='mine')
    ask(ros.node('outside'), CallTool, 'nemotron/call_tool', request)
    eventually(lambda: seen.text('command') == 'call mine')
    assert seen.text('calls') == 'go_to(place: attic): invalid by schema'


def test_where_nobody_looks_nothing_is_sent(ros, node, eventually, monkeypatch):
    sent = []
    publisher = node._monitor._markers._publisher
    monkeypatch.setattr(publisher, 'publish', sent.append)
    time.sleep(0.7)
    assert sent == []
    ros.node('viewer').create_subscription(MarkerArray, 'nemotron/markers', lambda _: None, 10)
    eventually(lambda: sent)


def test_every_marker_can_be_drawn():
    ground = ground_of(load(config_path('tools', 'headless_robot.yaml')))
    drawn = markers(ground, View('nemotron', stopped='e_stop'))
    keys = [(marker.ns, marker.id) for marker in drawn]
    assert len(set(keys)) == len(keys), 'two of one name would replace each other'
    for marker in drawn:
        assert marker.header.frame_id in ('odom', 'base_link')
        assert marker.lifetime.sec == LIFETIME_S
        turned = marker.pose.orientation
        assert math.isclose(math.hypot(turned.x, turned.y, turned.z, turned.w), 1.0)
        assert marker.color.a > 0
        sizes = (marker.scale.x, marker.scale.y, marker.scale.z)
        if marker.type == Marker.TEXT_VIEW_FACING:
            assert marker.text
            assert sizes[2] > 0
        elif marker.type == Marker.LINE_STRIP:
            assert sizes[0] > 0
            assert marker.points[0] == marker.points[-1], 'it is closed'
        else:
            assert min(sizes) > 0
    kitchen = next(m for m in drawn if m.ns == 'places')
    assert (kitchen.pose.position.x, kitchen.pose.position.y) == (2.5, 1.6)
