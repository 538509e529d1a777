"""What leaves for ROS: only the file's own topics, types, fields and numbers, whoever calls."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from geometry_msgs.msg import PoseStamped, Twist
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.clock import ROSClock
from std_msgs.msg import String

from nemotron_ros.bridge.interfaces import load_message
from nemotron_ros.bridge.motion_limits import check_motion
from nemotron_ros.bridge.publish import publish
from nemotron_ros.bridge.robot_time import RobotTime
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.limits import MotionLimits
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

# Arguments that reach further than the limits: only these are in the way.
TOOLS = """
robot: wire
limits:
  max_linear_mps: 0.5
  max_angular_radps: 1.0
  fence: {frame: map, polygon: [[0, 0], [4, 0], [0, 4]],
          pose: {topic: odom, type: nav_msgs/msg/Odometry}}
tools:
  push:
    description: Push.
    parameters:
      x: {type: number, minimum: -3, maximum: 3}
      y: {type: number, minimum: -3, maximum: 3, default: 0}
      turn: {type: number, minimum: -3, maximum: 3}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, then: {},
            message: {linear: {x: "{{ x }}", y: "{{ y }}"}, angular: {z: "{{ turn }}"}}}
    guard: {exclusive: motion}
  go:
    description: Go.
    parameters:
      x: {type: number, minimum: -9, maximum: 9}
      frame: {type: string, maxLength: 8}
    topic: {name: goal_pose, type: geometry_msgs/msg/PoseStamped,
            message: {header: {frame_id: "{{ frame }}"}, pose: {position: {x: "{{ x }}", y: 1}}},
            then: {topic: cmd_vel, type: geometry_msgs/msg/Twist}}
    guard: {exclusive: motion}
  say:
    description: Say.
    parameters: {text: {type: string, maxLength: 20}}
    topic: {name: speech, type: std_msgs/msg/String, message: {data: "{{ text }}"}}
"""
TYPES = {'cmd_vel': Twist, 'goal_pose': PoseStamped, 'speech': String}


class Wire:
    """Clients whose publishers only keep what is published: no DDS."""

    def __init__(self, limits: MotionLimits) -> None:
        self.limits = limits
        self.time = RobotTime(SimpleNamespace(get_clock=ROSClock))
        self.sent: list[tuple[str, Any]] = []

    def publisher(self, topic: str, type_name: str) -> Any:
        wire = self

        class Publisher:
            def get_subscription_count(self) -> int:
                return 1

            def publish(self, message: Any) -> None:
                assert isinstance(message, load_message(type_name))
                wire.sent.append((topic, message))

        return Publisher()


class Publishing:
    """The executor of the three tools, without the watch of the fence."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def execute(self, tool, arguments, cancel, progress):
        return publish(self._wire, tool.binding, dict(arguments), cancel, progress)

    def halt(self) -> None:
        pass


@pytest.fixture(scope='module')
def tool_file(tmp_path_factory):
    path: Path = tmp_path_factory.mktemp('wire') / 'tools.yaml'
    path.write_text(TOOLS)
    return load(path)


numbers = st.floats() | st.floats(-4, 4) | st.integers(-10, 10) | st.sampled_from([0.5, 1.0, -0.5])
words = st.text(max_size=9) | st.sampled_from(['map', 'odom', '/map', '{{ 1 }}', 'cmd_vel'])
arguments = st.fixed_dictionaries(
    {}, optional={'x': numbers, 'y': numbers, 'turn': numbers, 'frame': words, 'text': words}
)
exact = st.one_of(
    st.tuples(st.just('push'), st.fixed_dictionaries({'x': numbers, 'turn': numbers})),
    st.tuples(
        st.just('push'), st.fixed_dictionaries({'x': numbers, 'y': numbers, 'turn': numbers})
    ),
    st.tuples(st.just('go'), st.fixed_dictionaries({'x': numbers, 'frame': words})),
    st.tuples(st.just('say'), st.fixed_dictionaries({'text': words})),
)
near = st.tuples(
    st.sampled_from(['push', 'go', 'say', 'cmd_vel', '/push', 'push ', 'PUSH']), arguments
)


@settings(max_examples=300, deadline=None)
@given(calls=st.lists(exact | near, max_size=8))
def test_nothing_is_sent_that_the_file_does_not_say(tool_file, calls) -> None:
    wire = Wire(tool_file.limits)
    it = Dispatcher(tool_file, Guard(tool_file), Publishing(wire))
    for name, given_arguments in calls:
        before = len(wire.sent)
        call = ToolCall('1', name, given_arguments)
        result = it.run(call, frozenset(tool_file.tools), CancelToken(5.0))
        sent = wire.sent[before:]
        assert bool(sent) == (result.status is Status.SUCCEEDED), result
        for topic, message in sent:
            assert type(message) is TYPES[topic]
            if topic == 'cmd_vel':
                v, w = message.linear, message.angular
                assert math.sqrt(v.x**2 + v.y**2) <= 0.5 + 1e-12
                assert abs(w.z) <= 1.0
                assert (v.z, w.x, w.y) == (0, 0, 0)
            elif topic == 'goal_pose':
                assert message.header.frame_id == 'map'
                assert 0 <= message.pose.position.x <= 3.0  # y is 1, and x + y at most 4
                assert message.pose.position.y == 1
            else:
                assert message.data == given_arguments['text']
        if sent and name in ('push', 'go'):
            assert sent[-1] == ('cmd_vel', Twist())


@given(x=numbers, y=numbers, turn=numbers)
def test_the_check_agrees_with_arithmetic(tool_file, x, y, turn) -> None:
    message = Twist()
    message.linear.x, message.linear.y, message.angular.z = float(x), float(y), float(turn)
    good = math.hypot(x, y) <= 0.5 and abs(turn) <= 1.0
    try:
        check_motion(message, tool_file.limits, 'out')
    except Exception:
        assert not good
    else:
        assert good
