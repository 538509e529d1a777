"""Checked calls on real DDS: topics, reads, services, actions, and everything that goes wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import BatteryState
from servers import FibonacciServer, SwitchServer, VelocityLog
from std_msgs.msg import String
from threads import in_thread

from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

TOOLS = """
robot: bench
tools:
  drive:
    description: Drive for a time.
    parameters:
      seconds: {type: number, minimum: 0.1, maximum: 10}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,
            message: {linear: {x: 0.2}}, for_s: "{{ seconds }}", then: {}}
    guard: {exclusive: motion}
  drive_to:
    description: Drive until odom says so.
    parameters:
      x_m: {type: number, minimum: 0, maximum: 5}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20, message: {linear: {x: 0.2}},
            until: {topic: odom, type: nav_msgs/msg/Odometry,
                    when: "{{ now.pose.pose.position.x - start.pose.pose.position.x >= x_m }}",
                    within_s: 1.5},
            then: {}}
    guard: {exclusive: motion}
  say:
    description: Say.
    parameters: {text: {type: string, maxLength: 50}}
    topic: {name: speech, type: std_msgs/msg/String, message: {data: "{{ text }}"}}
  battery:
    description: Charge.
    read: {topic: battery_state, type: sensor_msgs/msg/BatteryState,
           value: "{{ percentage * 100 }}", max_age_s: 1}
  switch:
    description: Switch.
    parameters: {on: {type: boolean}}
    service: {name: switch, type: std_srvs/srv/SetBool, request: {data: "{{ on }}"},
              value: "{{ message }}", timeout_s: 1.5}
  count:
    description: Count.
    parameters: {order: {type: integer, minimum: 1, maximum: 1000}}
    action: {name: fibonacci, type: test_msgs/action/Fibonacci, goal: {order: "{{ order }}"},
             value: "{{ sequence }}", timeout_s: 2}
"""


@pytest.fixture
def run(ros, tmp_path: Path):
    """Give a function that runs one call and returns its result."""
    path = tmp_path / 'tools.yaml'
    path.write_text(TOOLS)
    tool_file = load(path)
    executor = RosExecutor(ros.node('bridge'), tool_file)
    dispatcher = Dispatcher(tool_file, Guard(tool_file), executor)

    def call(name: str, cancel: CancelToken | None = None, progress=lambda _: None, **arguments):
        return dispatcher.run(
            ToolCall('1', name, arguments),
            frozenset(tool_file.tools),
            cancel or CancelToken(20.0),
            progress,
        )

    call.dispatcher = dispatcher
    yield call
    executor.close()


def test_publishes_at_a_rate_for_a_time_and_closes_with_a_stop(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    assert run('drive', seconds=0.5).status is Status.SUCCEEDED
    eventually(lambda: log.speeds[-1:] == [0.0])
    assert 9 <= log.speeds.count(0.2) <= 12
    assert log.speeds.count(0.0) == 1


def test_cancel_while_driving_stops_at_once(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    cancel = CancelToken(20.0)
    result = in_thread(lambda: run('drive', cancel, seconds=10))
    eventually(lambda: 0.2 in log.speeds)
    began = time.monotonic()
    cancel.cancel()
    assert result().status is Status.CANCELED
    eventually(lambda: log.speeds[-1] == 0.0)
    assert time.monotonic() - began < 0.3


def test_deadline_while_driving_stops_and_says_timed_out(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    result = run('drive', CancelToken(1.0), seconds=10)
    assert result.status is Status.TIMED_OUT
    eventually(lambda: log.speeds[-1:] == [0.0])


def test_stop_ends_motion_and_latches_until_resumed(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    result = in_thread(lambda: run('drive', seconds=10))
    eventually(lambda: 0.2 in log.speeds)
    assert run.dispatcher.stop('test', 2.0)
    assert result().status is Status.CANCELED
    eventually(lambda: log.speeds[-1] == 0.0)
    assert run('drive', seconds=1).status is Status.DENIED
    run.dispatcher.resume()
    assert run('drive', seconds=0.1).status is Status.SUCCEEDED


def test_publishing_to_nobody_is_a_failure(run):
    result = run('say', text='hello')
    assert result.status is Status.FAILED
    assert 'nobody subscribes to speech' in result.error


def test_text_arrives_as_it_is(ros, run, eventually):
    heard: list[str] = []
    ros.node('ears').create_subscription(String, 'speech', lambda m: heard.append(m.data), 10)
    for text in ('[1, 2]', '{{ 7 * 7 }}', 'ü 5', "'x'"):
        assert run('say', text=text).status is Status.SUCCEEDED
        eventually(lambda text=text: heard[-1:] == [text])


class Odom:
    """A robot that moves 0.05 m with each message."""

    def __init__(self, node) -> None:
        self.x = 0.0
        self.step = 0.05
        self.publisher = node.create_publisher(Odometry, 'odom', qos_profile_sensor_data)
        self.timer = node.create_timer(0.05, self.tick)

    def tick(self) -> None:
        self.x += self.step
        message = Odometry()
        message.pose.pose.position.x = self.x
        self.publisher.publish(message)


def test_drives_until_a_best_effort_sensor_shows_arrival(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    odom = Odom(ros.node('wheels'))
    assert run('drive_to', x_m=0.4).status is Status.SUCCEEDED
    eventually(lambda: log.speeds[-1:] == [0.0])
    assert odom.x >= 0.4


def test_blocked_robot_times_out_and_stops(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    Odom(ros.node('wheels')).step = 0.0
    result = run('drive_to', x_m=4)
    assert result.status is Status.TIMED_OUT
    eventually(lambda: log.speeds[-1:] == [0.0])


def test_silent_odometry_ends_the_motion(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    wheels = ros.node('wheels')
    odom = Odom(wheels)
    odom.step = 0.0
    result = in_thread(lambda: run('drive_to', x_m=4))
    eventually(lambda: 0.2 in log.speeds)
    odom.timer.cancel()
    ended = result()
    assert ended.status is Status.FAILED
    assert 'silent' in ended.error
    eventually(lambda: log.speeds[-1] == 0.0)


def test_without_odometry_no_motion_begins(ros, run):
    log = VelocityLog(ros.node('base'))
    result = run('drive_to', x_m=1)
    assert result.status is Status.FAILED
    assert 'odom' in result.error
    assert log.speeds == []


@pytest.mark.parametrize(
    'qos',
    [
        qos_profile_sensor_data,
        QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    ],
    ids=['best effort', 'reliable', 'latched'],
)
def test_reads_whatever_the_publisher_offers(ros, run, qos):
    node = ros.node('battery')
    publisher = node.create_publisher(BatteryState, 'battery_state', qos)
    message = BatteryState(percentage=0.5)
    node.create_timer(0.05, lambda: publisher.publish(message))
    result = run('battery')
    assert (result.status, result.value) == (Status.SUCCEEDED, 50.0)


def test_stale_value_is_not_told(ros, run, eventually):
    publisher = ros.node('battery').create_publisher(BatteryState, 'battery_state', 1)
    result = in_thread(lambda: run('battery'))
    eventually(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(BatteryState(percentage=0.5))
    assert result().status is Status.SUCCEEDED
    CancelToken().wait(1.1)
    stale = run('battery')
    assert stale.status is Status.FAILED
    assert 'old' in stale.error


def test_publisher_with_another_qos_after_a_restart_is_heard(ros, run):
    node = ros.node('battery')
    first = node.create_publisher(BatteryState, 'battery_state', 1)
    timer = node.create_timer(0.05, lambda: first.publish(BatteryState(percentage=0.5)))
    assert run('battery').value == 50.0
    timer.cancel()
    node.destroy_publisher(first)
    second = node.create_publisher(BatteryState, 'battery_state', qos_profile_sensor_data)
    node.create_timer(0.05, lambda: second.publish(BatteryState(percentage=0.25)))
    CancelToken().wait(1.1)
    assert run('battery').value == 25.0


def test_service_answers(ros, run):
    SwitchServer(ros.node('switch_node'))
    done = run('switch', on=True)
    assert (done.status, done.value) == (Status.SUCCEEDED, 'on')
    failed = run('switch', on=False)
    assert (failed.status, failed.error) == (Status.FAILED, 'the switch is stuck')


def test_service_that_is_not_there(run):
    result = run('switch', CancelToken(1.0), on=True)
    assert result.status is Status.FAILED
    assert 'not there' in result.error


def test_service_that_never_answers_is_unknown(ros, run):
    server = SwitchServer(ros.node('switch_node'))
    server.silent = True
    result = run('switch', on=True)
    server.release.set()
    assert server.asked == 1
    assert result.status is Status.UNKNOWN
    assert 'not known' in result.error


def test_service_that_goes_away_is_unknown(ros, run, eventually):
    node = ros.node('switch_node')
    server = SwitchServer(node)
    server.silent = True
    result = in_thread(lambda: run('switch', on=True))
    eventually(lambda: server.asked == 1)
    node.destroy_service(server.service)
    assert result().status is Status.UNKNOWN
    server.release.set()


def test_action_gives_feedback_and_value(ros, run):
    FibonacciServer(ros.node('counter'))
    feedback: list[object] = []
    result = run('count', progress=feedback.append, order=4)
    assert (result.status, result.value) == (Status.SUCCEEDED, [0, 1, 1, 2, 3, 5])
    assert feedback


@pytest.mark.parametrize(
    ('mode', 'status', 'word'),
    [('reject', Status.FAILED, 'rejected'), ('abort', Status.FAILED, 'aborted')],
)
def test_action_that_refuses(ros, run, mode, status, word):
    FibonacciServer(ros.node('counter'), mode)
    result = run('count', order=2)
    assert result.status is status
    assert word in result.error


def test_action_timeout_cancels_and_waits_for_the_end(ros, run):
    server = FibonacciServer(ros.node('counter'))
    result = run('count', order=1000)
    assert result.status is Status.TIMED_OUT
    assert (server.cancelled, server.running) == (1, 0)


def test_action_cancel(ros, run, eventually):
    server = FibonacciServer(ros.node('counter'))
    cancel = CancelToken(20.0)
    result = in_thread(lambda: run('count', cancel, order=1000))
    eventually(lambda: server.running == 1)
    cancel.cancel(Cause.CANCELED)
    assert result().status is Status.CANCELED
    assert (server.cancelled, server.running) == (1, 0)


def test_action_that_succeeds_after_all_is_told_as_success(ros, run):
    FibonacciServer(ros.node('counter'), 'finishes')
    assert run('count', order=1000).status is Status.SUCCEEDED


def test_action_that_ignores_the_cancel_is_unknown(ros, run):
    server = FibonacciServer(ros.node('counter'), 'deaf', period_s=0.5)
    result = run('count', order=40)
    server.release.set()
    assert result.status is Status.UNKNOWN


def test_action_server_that_is_not_there(run):
    result = run('count', order=2)
    assert result.status is Status.FAILED
    assert 'not there' in result.error
