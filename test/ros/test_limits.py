"""Limits of motion on real messages and real DDS: refused before, ended on the way."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from geometry_msgs.msg import (
    PointStamped,
    Pose,
    PoseArray,
    PoseStamped,
    Twist,
    TwistStamped,
    TwistWithCovarianceStamped,
    Vector3Stamped,
)
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMsg
from servers import VelocityLog
from std_msgs.msg import String
from test_msgs.action import Fibonacci
from threads import in_thread

from nemotron_ros.bridge.check import check
from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.bridge.fence import moves
from nemotron_ros.bridge.motion_limits import carries_motion, check_motion
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Denied, Guard
from nemotron_ros.tools.limits import Fence, MotionLimits
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

SQUARE = ((-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0))
LIMITS = MotionLimits(0.5, 1.0, Fence('odom', SQUARE, 'odom', 'nav_msgs/msg/Odometry', 0.5))


def twist(x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> Twist:
    message = Twist()
    message.linear.x, message.linear.y, message.linear.z = x, y, z
    message.angular.z = turn
    return message


def pose(x: float, y: float = 0.0, frame: str = 'odom') -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y = x, y
    return message


def in_covariance(message: Twist) -> TwistWithCovarianceStamped:
    whole = TwistWithCovarianceStamped()
    whole.twist.twist = message
    return whole


def array(*poses: PoseStamped) -> PoseArray:
    message = PoseArray(poses=[one.pose for one in poses])
    message.header.frame_id = poses[0].header.frame_id
    return message


@pytest.mark.parametrize(
    'message',
    [
        twist(0.5),
        twist(-0.5, turn=-1.0),
        twist(0.3, 0.4),
        TwistStamped(twist=twist(0.5)),
        pose(2.0, -2.0),
        PathMsg(poses=[pose(0), pose(1)]),
        array(pose(0), pose(1)),
        Vector3Stamped(),
        String(data='99 m/s'),
    ],
)
def test_what_is_within_the_limits_may_go_out(message) -> None:
    check_motion(message, LIMITS, 'out')


@pytest.mark.parametrize(
    ('message', 'told'),
    [
        (twist(0.51), 'out.linear: 0.51 m/s is over the limit of 0.5 m/s'),
        (twist(-0.51), 'out.linear: 0.51 m/s'),
        (twist(0.4, 0.4), 'out.linear: 0.565685 m/s'),
        (twist(0, 0, -1), 'out.linear: 1 m/s'),
        (twist(turn=-1.1), 'out.angular: 1.1 rad/s is over the limit of 1 rad/s'),
        (twist(math.nan), 'out.linear: nan m/s'),
        (twist(turn=math.inf), 'out.angular: inf rad/s'),
        (TwistStamped(twist=twist(0.6)), 'out.twist.linear: 0.6 m/s'),
        (in_covariance(twist(0.6)), 'out.twist.twist.linear: 0.6 m/s'),
        (pose(2.1), 'out.pose.position: (2.1, 0) m is outside the fence'),
        (pose(math.nan), 'out.pose.position: (nan, 0) m is outside the fence'),
        (pose(1, frame='map'), "out.pose.position: a point in frame 'map'; the fence is in"),
        (pose(1, frame=''), "out.pose.position: a point in frame ''"),
        (Pose(), "out.position: a point in frame ''"),
        (PointStamped(), "out.point: a point in frame ''"),
        (PathMsg(poses=[pose(0), pose(3)]), 'out.poses[1].pose.position: (3, 0) m'),
        (array(pose(0), pose(3)), 'out.poses[1].position: (3, 0) m'),
    ],
)
def test_what_is_over_a_limit_is_refused_with_its_field_and_numbers(message, told) -> None:
    with pytest.raises(Denied) as denied:
        check_motion(message, LIMITS, 'out')
    assert str(denied.value).startswith(told)
    assert denied.value.rule == 'limits'


@pytest.mark.parametrize(
    ('kind', 'carries'),
    [
        (Twist, True),
        (PoseStamped, True),
        (PathMsg, True),
        (Odometry, True),
        (PointStamped, True),
        (Vector3Stamped, False),
        (String, False),
        (Fibonacci.Goal, False),
    ],
)
def test_which_messages_move_something(kind, carries: bool) -> None:
    assert carries_motion(kind) == carries


@pytest.mark.parametrize(('guard', 'watched'), [('{}', False), ('{exclusive: motion}', True)])
def test_a_goal_is_watched_if_it_moves_the_robot(tmp_path, guard: str, watched: bool) -> None:
    path = tmp_path / 'tools.yaml'
    path.write_text(
        'robot: r\ntools: {count: {description: Count., action: {name: fibonacci, '
        f'type: test_msgs/action/Fibonacci, timeout_s: 5}}, guard: {guard}}}}}'
    )
    assert moves(load(path).tools['count']) == watched


def test_without_limits_everything_goes_out() -> None:
    check_motion(twist(99.0), MotionLimits(), 'out')
    check_motion(pose(99.0, frame='moon'), MotionLimits(99.0, 99.0), 'out')


TOOLS = """
robot: fenced
tables: {places: {near: {x: 1.0}, far: {x: 1.5}}}
limits:
  max_linear_mps: 0.5
  max_angular_radps: 1.0
  fence: {frame: odom, rectangle: {x: [-2, 2], y: [-2, 2]},
          pose: {topic: odom, type: nav_msgs/msg/Odometry, max_silence_s: 0.4}}
tools:
  drive:
    description: Drive.
    parameters:
      mps: {type: number, minimum: -5, maximum: 5}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,
            message: {linear: {x: "{{ mps }}"}}, for_s: 3, then: {}}
    guard: {exclusive: motion}
  go:
    description: Go.
    parameters:
      x: {type: number, minimum: -50, maximum: 50}
    topic: {name: goal_pose, type: geometry_msgs/msg/PoseStamped,
            message: {header: {frame_id: odom}, pose: {position: {x: "{{ x }}"}}},
            then: {topic: cmd_vel, type: geometry_msgs/msg/Twist}}
    guard: {exclusive: motion}
  go_to:
    description: Go to a place.
    parameters: {place: {enum: "{{ places }}"}}
    topic: {name: goal_pose, type: geometry_msgs/msg/PoseStamped,
            message: {header: {frame_id: odom}, pose: {position: {x: "{{ places[place].x }}"}}},
            then: {topic: cmd_vel, type: geometry_msgs/msg/Twist}}
    guard: {exclusive: motion}
  say:
    description: Say.
    topic: {name: speech, type: std_msgs/msg/String}
"""


class Base:
    """A base that tells where it is, until it is told to be silent."""

    def __init__(self, node) -> None:
        self.x = 0.0
        self.frame = 'odom'
        self.silent = False
        self.log = VelocityLog(node)
        self._publisher = node.create_publisher(Odometry, 'odom', 10)
        node.create_timer(0.02, self._tell)
        for kind, name in ((PoseStamped, 'goal_pose'), (String, 'speech')):
            node.create_subscription(kind, name, self._take, 10)
        self.taken: list[object] = []

    def _take(self, message) -> None:
        self.taken.append(message)

    def _tell(self) -> None:
        if not self.silent:
            message = Odometry()
            message.header.frame_id = self.frame
            message.pose.pose.position.x = self.x
            self._publisher.publish(message)


@pytest.fixture
def base(ros) -> Base:
    return Base(ros.node('base'))


@pytest.fixture
def run(ros, base: Base, tmp_path: Path):
    path = tmp_path / 'tools.yaml'
    path.write_text(TOOLS)
    tool_file = load(path)
    executor = RosExecutor(ros.node('bridge'), tool_file)
    dispatcher = Dispatcher(tool_file, Guard(tool_file), executor)

    def call(name: str, cancel: CancelToken | None = None, **arguments):
        return dispatcher.run(
            ToolCall('1', name, arguments), frozenset(tool_file.tools), cancel or CancelToken(20.0)
        )

    yield call
    executor.close()


def test_over_the_limits_nothing_is_sent(run, base: Base) -> None:
    for result, told in (
        (run('drive', mps=0.6), 'limits: cmd_vel.linear: 0.6 m/s is over the limit of 0.5 m/s'),
        (run('drive', mps=-5), 'limits: cmd_vel.linear: 5 m/s'),
        (run('go', x=2.5), 'limits: goal_pose.pose.position: (2.5, 0) m is outside the fence'),
    ):
        assert result.status is Status.DENIED
        assert result.error.startswith(told)
    time.sleep(0.2)
    assert (base.log.speeds, base.taken) == ([], [])


def test_who_leaves_the_fence_is_stopped_with_the_reason(run, base: Base, eventually) -> None:
    result = in_thread(lambda: run('drive', mps=0.4))
    eventually(lambda: 0.4 in base.log.speeds)
    base.x = 2.5
    began_s = time.monotonic()
    eventually(lambda: base.log.speeds[-1] == 0.0)
    took_s = time.monotonic() - began_s
    assert took_s < 0.5
    ended = result()
    assert ended.status is Status.FAILED
    assert ended.error.startswith('ended: odom: (2.5, 0) m is outside the fence; ended after ')
    again = run('drive', mps=0.1)
    assert again.status is Status.DENIED
    assert again.error == (
        'limits: the robot is not inside the fence: odom: (2.5, 0) m is outside the fence'
    )
    base.x = 0.0
    eventually(lambda: run('go', x=1.0).status is Status.SUCCEEDED)


def test_whose_place_is_not_told_any_more_is_stopped(run, base: Base, eventually) -> None:
    result = in_thread(lambda: run('drive', mps=0.4))
    eventually(lambda: 0.4 in base.log.speeds)
    base.silent = True
    ended = result()
    assert ended.status is Status.FAILED
    assert ended.error.startswith('ended: odom has been silent for 0.4 s')
    eventually(lambda: base.log.speeds[-1] == 0.0)


def test_inside_the_fence_a_motion_ends_as_it_would(run, base: Base, eventually) -> None:
    assert run('drive', mps=0.4).status is Status.SUCCEEDED
    cancel = CancelToken(20.0)
    result = in_thread(lambda: run('drive', cancel, mps=0.3))
    eventually(lambda: 0.3 in base.log.speeds)
    cancel.cancel()
    assert result().status is Status.CANCELED
    assert run('drive', CancelToken(0.5), mps=0.3).status is Status.TIMED_OUT


def test_an_odometry_in_another_frame_says_nothing_of_the_fence(run, base: Base) -> None:
    base.frame = 'map'
    time.sleep(0.1)
    result = run('drive', mps=0.4)
    assert result.status is Status.DENIED
    assert "frame 'map'" in result.error


def test_what_does_not_move_needs_no_odometry(run, base: Base, eventually) -> None:
    base.silent = True
    assert run('say').status is Status.SUCCEEDED
    eventually(lambda: base.taken != [])


@pytest.mark.parametrize(
    ('old', 'new', 'told'),
    [
        ('far: {x: 1.5}', 'far: {x: 2.5}', '(2.5, 0) m is outside the fence, with place: far'),
        ('"{{ mps }}"', '0.6', 'message.linear: 0.6 m/s is over the limit of 0.5 m/s'),
        ('"{{ mps }}"', '"{{ mps }}", y: 0.6', 'message.linear: 0.6 m/s is over the limit'),
        ('then: {}}', 'then: {message: {linear: {x: 9}}}}', 'topic.then.message.linear: 9 m/s'),
        ('{frame_id: odom}', '{frame_id: map}', "a point in frame 'map'"),
        (
            'robot: fenced',
            'robot: fenced\nconditions: {up: {topic: t, type: no_msgs/msg/No, max_age_s: 1}}',
            'conditions.up.type: ',
        ),
        (
            'robot: fenced',
            'robot: fenced\nestop: {heartbeat: {topic: t, type: n_msgs/msg/N, max_silence_s: 1}}',
            'estop.heartbeat.type: ',
        ),
    ],
)
def test_what_is_known_before_any_call_is_told_by_the_check(tmp_path, old, new, told) -> None:
    path = tmp_path / 'tools.yaml'
    path.write_text(TOOLS)
    assert check(load(path)) == []
    path.write_text(TOOLS.replace(old, new))
    problems = check(load(path))
    assert problems
    assert told in problems[0]


def test_a_pose_that_is_not_known_as_a_whole_is_not_judged_before_the_call(tmp_path) -> None:
    path = tmp_path / 'tools.yaml'
    # Both places are inside; the pose of `go`, as far as it is known, is at the origin.
    path.write_text(TOOLS.replace('rectangle: {x: [-2, 2]', 'rectangle: {x: [1, 2]'))
    assert check(load(path)) == []
