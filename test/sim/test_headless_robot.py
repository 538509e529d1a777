"""The headless robot on real DDS: topics, services, and what ends what."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Log
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from ros_context import Ros
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState, JointState, LaserScan
from std_msgs.msg import String
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.bringup import headless_robot
from nemotron_ros.cancel import CancelToken
from nemotron_ros.sim.arm import HOME
from nemotron_ros.sim.node import HeadlessRobot
from nemotron_ros.sim.referee import Truth
from nemotron_ros.sim.world import flat

FAST = 10.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TOPICS = {
    'odom': Odometry,
    'scan': LaserScan,
    'joint_states': JointState,
    'battery_state': BatteryState,
    'gripper_holding': String,
}
INPUTS = {
    'cmd_vel': Twist,
    'goal_pose': PoseStamped,
    'pick_object': String,
    'place_object': String,
    'speech': String,
}
SERVICES = ('gripper/open', 'gripper/close', 'dock', 'sim/truth', 'sim/top_view', 'sim/reset')


class Outside:
    """Who uses the robot: everything by ROS, from a node of its own."""

    def __init__(self, node: Node, namespace: str = '') -> None:
        self.node = node
        self._prefix = f'{namespace}/' if namespace else ''
        self._inputs = {
            topic: node.create_publisher(kind, self._prefix + topic, 10)
            for topic, kind in INPUTS.items()
        }
        self._clients = {
            name: node.create_client(Trigger, self._prefix + name) for name in SERVICES
        }
        self.errors: list[str] = []
        node.create_subscription(Log, '/rosout', self._take_log, 100)
        ready = until_true(self._found, 20.0, CancelToken())
        assert ready, 'the robot was not found'

    def _found(self) -> bool:
        return (
            all(client.service_is_ready() for client in self._clients.values())
            and all(topic.get_subscription_count() for topic in self._inputs.values())
            and self.node.count_publishers('/rosout') > 1
        )

    def _take_log(self, log: Log) -> None:
        # Its level is a byte in one ROS release and an int in another.
        level = log.level if isinstance(log.level, int) else log.level[0]
        if level >= 40:
            self.errors.append(log.msg)

    def collect(self, topic: str, qos: QoSProfile | int = 100) -> list[Any]:
        """Return a list that fills with what comes on a topic."""
        messages: list[Any] = []
        kind = TOPICS.get(topic, Clock)
        name = topic if topic.startswith('/') else self._prefix + topic
        self.node.create_subscription(kind, name, messages.append, qos)
        return messages

    def send(self, topic: str, message: Any) -> None:
        """Publish."""
        self._inputs[topic].publish(message)

    def move(self, v: float, w: float = 0.0) -> None:
        """Publish one velocity."""
        twist = Twist()
        twist.linear.x, twist.angular.z = v, w
        self.send('cmd_vel', twist)

    def go_to(self, place: str, frame: str = 'odom') -> None:
        """Publish a place of the flat as a goal."""
        pose = flat().places[place]
        self.send('goal_pose', goal(pose.x, pose.y, pose.yaw, frame))

    def start(self, service: str) -> Any:
        """Call a service; return the future of its answer."""
        return self._clients[service].call_async(Trigger.Request())

    def call(self, service: str) -> Trigger.Response:
        """Call a service and return its answer."""
        return answer(self.start(service))

    def truth(self) -> dict[str, Any]:
        """Ask the physics."""
        truth: dict[str, Any] = json.loads(self.call('sim/truth').message)
        return truth


def answer(future: Any, timeout_s: float = 20.0) -> Trigger.Response:
    """Wait for a service's answer."""
    assert until_done(future, timeout_s, CancelToken()), 'no answer'
    return future.result()


def goal(x: float, y: float, yaw: float = 0.0, frame: str = 'odom') -> PoseStamped:
    """Return a goal."""
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y = x, y
    message.pose.orientation.z, message.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def stamp_s(message: Any) -> float:
    """Return a message's time."""
    stamp = message.clock if isinstance(message, Clock) else message.header.stamp
    return float(stamp.sec + stamp.nanosec * 1e-9)


@pytest.fixture
def start(ros: Ros) -> Callable[..., Outside]:
    """Give a function that starts a robot with parameters, and returns who uses it."""

    def make(**parameters: object) -> Outside:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        ros.add(HeadlessRobot(context=ros.context, parameter_overrides=overrides))
        return Outside(ros.node('outside'))

    return make


def test_topics_and_services_have_their_types(start):
    node = start().node
    topics = dict(node.get_topic_names_and_types())
    for name, kind in {**TOPICS, **INPUTS}.items():
        package = kind.__module__.split('.')[0]
        assert topics[f'/{name}'] == [f'{package}/msg/{kind.__name__}'], name
    assert '/clock' not in topics
    services = dict(node.get_service_names_and_types())
    for name in SERVICES:
        assert services[f'/{name}'] == ['std_srvs/srv/Trigger'], name


@pytest.mark.parametrize(
    ('topic', 'reliability', 'durability'),
    [
        ('odom', ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE),
        ('scan', ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),
        ('joint_states', ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE),
        ('battery_state', ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE),
        ('gripper_holding', ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),
    ],
)
def test_quality_of_service_is_what_drivers_offer(start, topic, reliability, durability):
    (publisher,) = start().node.get_publishers_info_by_topic(topic)
    assert publisher.qos_profile.reliability == reliability
    assert publisher.qos_profile.durability == durability


def test_rates_by_the_clock_of_the_simulation(start, eventually):
    outside = start(publish_clock=True)
    periods = {'odom': 0.02, 'scan': 0.1, 'joint_states': 0.1, 'battery_state': 0.5}
    best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
    heard = {topic: outside.collect(topic, best_effort) for topic in periods}
    clock = outside.collect('/clock')
    eventually(lambda: all(len(messages) >= 5 for messages in heard.values()), 20.0)
    for topic, period_s in periods.items():
        # A busy machine may lose some on the way; none comes too early.
        steps = [stamp_s(b) - stamp_s(a) for a, b in pairwise(list(heard[topic]))]
        assert min(steps) == pytest.approx(period_s, abs=0.001), topic
    times = [stamp_s(message) for message in list(clock)]
    assert times == sorted(times)
    assert times[-1] > times[0]


def test_odometry_comes_fifty_times_a_second(start):
    outside = start()
    odom = outside.collect('odom')
    CancelToken().wait(0.5)
    before, began_s = len(odom), outside.truth()['time_s']
    CancelToken().wait(2.0)
    came, ended_s = len(odom) - before, outside.truth()['time_s']
    assert came / (ended_s - began_s) == pytest.approx(50, abs=10)


def test_odometry_is_where_the_robot_is(start, eventually):
    outside = start(speed=2.0)  # every message is heard in this process: 100 a second are enough
    odom = outside.collect('odom')
    outside.go_to('bedroom')
    eventually(lambda: outside.truth()['driving'] == 'arrived', 60.0)
    truth = outside.truth()

    def told() -> tuple[float, float, float]:
        pose = odom[-1].pose.pose
        yaw = 2 * math.atan2(pose.orientation.z, pose.orientation.w)
        return pose.position.x, pose.position.y, yaw

    there = truth['x'], truth['y'], truth['yaw']
    eventually(lambda: told() == pytest.approx(there, abs=0.001))
    assert (odom[-1].header.frame_id, odom[-1].child_frame_id) == ('odom', 'base_link')
    assert any(m.twist.twist.linear.x > 0.3 for m in odom)


def test_scan_joints_and_battery_are_complete(start, eventually):
    outside = start(battery=0.42)
    scans = outside.collect('scan', qos_profile_sensor_data)
    joints = outside.collect('joint_states')
    batteries = outside.collect('battery_state')
    eventually(lambda: scans and joints and batteries)
    scan = scans[-1]
    assert scan.header.frame_id == 'laser'
    last = scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1)
    assert scan.angle_max == pytest.approx(last, abs=1e-4)
    assert min(scan.ranges) >= scan.range_min
    arm = {'arm_reach': HOME[0], 'arm_lift': HOME[2]}
    assert joints[-1].name == ['left_wheel', 'right_wheel', 'gripper', *arm]
    assert list(joints[-1].position) == [0.0, 0.0, 1.0, *arm.values()]
    battery = batteries[-1]
    assert battery.percentage == pytest.approx(0.42, abs=0.001)
    assert battery.present
    assert battery.power_supply_status == BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    assert math.isnan(battery.voltage)


def test_velocity_moves_it_and_silence_stops_it(start, eventually):
    outside = start()
    odom = outside.collect('odom')
    outside.move(0.3)
    eventually(lambda: any(m.twist.twist.linear.x > 0.25 for m in odom))
    eventually(lambda: odom[-1].twist.twist.linear.x < 0.005)
    way_m = outside.truth()['x'] - flat().start.x
    # 0.3 m/s for the 0.5 s of the watchdog, and the ways of gathering and losing speed.
    assert way_m == pytest.approx(0.15, abs=0.03)


@pytest.mark.parametrize('w', [0.8, -0.8], ids=['left', 'right'])
def test_velocity_turns_it(start, eventually, w):
    outside = start()
    outside.move(0.0, w)
    eventually(lambda: outside.truth()['yaw'] / w > 0.2)
    assert outside.truth()['x'] == pytest.approx(flat().start.x, abs=0.002)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('axis', ['linear', 'angular'])
def test_velocity_that_is_not_finite_stops_it(start, eventually, axis, value):
    outside = start()
    outside.go_to('kitchen')
    eventually(lambda: outside.truth()['v'] > 0.1)
    outside.move(*((value, 0.0) if axis == 'linear' else (0.3, value)))
    eventually(lambda: any('not finite' in error for error in outside.errors))
    eventually(lambda: abs(outside.truth()['v']) < 0.005)
    assert outside.truth()['driving'] == 'canceled'


def test_drives_to_a_goal(start, eventually):
    outside = start(speed=FAST)
    outside.go_to('bedroom')
    eventually(lambda: outside.truth()['driving'] == 'arrived', 30.0)
    truth, place = outside.truth(), flat().places['bedroom']
    assert math.hypot(truth['x'] - place.x, truth['y'] - place.y) < 0.1
    assert truth['yaw'] == pytest.approx(place.yaw, abs=0.12)
    assert truth['collisions'] == 0
    assert outside.errors == []


def test_goal_without_a_frame_is_one_of_the_flat(start, eventually):
    outside = start()
    outside.go_to('bedroom', frame='')
    eventually(lambda: outside.truth()['driving'] == 'driving')


def test_velocity_ends_driving_to_a_goal(start, eventually):
    outside = start()
    outside.go_to('kitchen')
    eventually(lambda: outside.truth()['v'] > 0.1)
    outside.move(0.0)
    eventually(lambda: outside.truth()['driving'] == 'canceled')
    eventually(lambda: abs(outside.truth()['v']) < 0.005)
    x = outside.truth()['x']
    CancelToken().wait(0.5)
    assert outside.truth()['x'] == pytest.approx(x, abs=0.002)


@pytest.mark.parametrize(
    ('message', 'error'),
    [
        (goal(math.nan, 0.0), 'not finite'),
        (goal(0.0, math.inf), 'not finite'),
        (goal(-1.0, -1.5, math.nan), 'not finite'),
        (goal(-1.0, -1.5, frame='map'), "frame 'odom' expected, got 'map'"),
        (goal(-3.0, 2.25), 'no way'),
        (goal(1.7e308, 0.0), 'no way'),
    ],
    ids=['nan', 'inf', 'nan heading', 'wrong frame', 'on the bed', 'far away'],
)
def test_goal_that_is_nonsense_is_refused_with_an_error(start, eventually, message, error):
    outside = start()
    outside.send('goal_pose', message)
    eventually(lambda: any(error in said for said in outside.errors), what=str(outside.errors))
    truth = outside.truth()
    assert truth['driving'] != 'driving'
    assert truth['x'] == pytest.approx(flat().start.x, abs=0.001)
    # It still listens.
    outside.go_to('kitchen')
    eventually(lambda: outside.truth()['driving'] == 'driving')


def test_goal_with_an_infinite_heading_is_refused(start, eventually):
    outside = start()
    message = goal(-1.0, -1.5)
    message.pose.orientation.z = math.inf
    outside.send('goal_pose', message)
    eventually(lambda: any('not finite' in error for error in outside.errors))
    assert outside.truth()['driving'] == 'idle'


def test_gripper_answers_and_tells_what_it_holds(start, eventually):
    outside = start(speed=FAST)
    holding = outside.collect('gripper_holding', LATCHED)
    joints = outside.collect('joint_states')
    closed = outside.call('gripper/close')
    assert (closed.success, closed.message) == (False, 'nothing in reach')
    opened = outside.call('gripper/open')
    assert (opened.success, opened.message) == (False, 'the gripper was empty')
    outside.send('pick_object', String(data='ball'))
    eventually(lambda: [m.data for m in holding][-1:] == ['ball'], 30.0)
    assert outside.truth()['holding'] == 'ball'
    eventually(lambda: joints[-1].position[2] == 0.0)
    late = outside.collect('gripper_holding', LATCHED)
    eventually(lambda: [m.data for m in late] == ['ball'])
    again = outside.call('gripper/close')
    assert (again.success, again.message) == (True, 'holds the ball')
    opened = outside.call('gripper/open')
    assert (opened.success, opened.message) == (True, 'put down the ball')
    eventually(lambda: [m.data for m in late] == ['ball', ''])
    eventually(lambda: joints[-1].position[2] == 1.0)
    closed = outside.call('gripper/close')
    assert (closed.success, closed.message) == (True, 'holds the ball')


def test_it_carries_a_thing_to_furniture(start, eventually):
    outside = start(speed=FAST)
    holding = outside.collect('gripper_holding', LATCHED)
    joints = outside.collect('joint_states')
    outside.send('pick_object', String(data='ball'))
    eventually(lambda: [m.data for m in holding][-1:] == ['ball'], 30.0)
    outside.send('place_object', String(data='coffee_table'))
    eventually(lambda: [m.data for m in holding][-1:] == [''] and len(holding) > 2, 30.0)
    truth = outside.truth()
    assert (truth['holding'], truth['resting']) == ('', {'ball': 'coffee_table'})
    # The arm has reached out, and is back.
    reaches = [message.position[3] for message in joints]
    assert max(reaches) > HOME[0] + 0.1
    eventually(lambda: joints[-1].position[3] == pytest.approx(HOME[0]))
    assert outside.errors == []


@pytest.mark.parametrize(
    ('topic', 'name', 'error'),
    [
        ('place_object', 'roof', "there is no 'roof'"),
        ('place_object', 'sofa', 'nothing is held'),
    ],
)
def test_what_can_not_be_put_down_is_an_error(start, eventually, topic, name, error):
    outside = start(speed=FAST)
    if 'held' not in error:
        outside.send('pick_object', String(data='ball'))
        eventually(lambda: outside.truth()['holding'] == 'ball', 30.0)
    outside.send(topic, String(data=name))
    eventually(lambda: any(error in said for said in outside.errors), what=str(outside.errors))


def test_a_velocity_stops_the_arm_and_lets_nothing_go(start, eventually):
    outside = start()
    outside.move(0.0)
    outside.send('pick_object', String(data='ball'))
    joints = outside.collect('joint_states')
    eventually(lambda: joints and joints[-1].position[3] > HOME[0] + 0.03, 30.0)
    outside.move(0.0)
    CancelToken().wait(0.5)
    at = list(joints[-1].position)
    CancelToken().wait(0.5)
    assert list(joints[-1].position)[3:] == at[3:]


def test_velocity_ends_fetching(start, eventually):
    outside = start(speed=FAST)
    holding = outside.collect('gripper_holding', LATCHED)
    outside.send('pick_object', String(data='cup'))
    eventually(lambda: outside.truth()['driving'] == 'driving')
    outside.move(0.0)
    eventually(lambda: outside.truth()['driving'] == 'canceled')
    outside.go_to('living_room')
    eventually(lambda: outside.truth()['driving'] == 'arrived', 30.0)
    assert [message.data for message in holding] == ['']


def test_unknown_object_is_an_error(start, eventually):
    outside = start()
    outside.send('pick_object', String(data='moon'))
    eventually(lambda: any("there is no 'moon'" in error for error in outside.errors))
    assert outside.truth()['driving'] == 'blocked'


def test_dock_answers_when_it_stands_there_and_charges(start, eventually):
    outside = start(speed=FAST, battery=0.3)
    batteries = outside.collect('battery_state')
    docked = outside.call('dock')
    assert (docked.success, docked.message) == (True, 'docked')
    truth = outside.truth()
    assert truth['docked']
    assert abs(truth['v']) < 0.01
    charging = BatteryState.POWER_SUPPLY_STATUS_CHARGING
    eventually(lambda: batteries and batteries[-1].power_supply_status == charging)
    eventually(lambda: outside.truth()['battery'] > truth['battery'])
    # Once more, where it stands already.
    assert outside.call('dock').success


@pytest.mark.parametrize('by', ['velocity', 'goal', 'object', 'reset', 'dock'])
def test_dock_that_is_interrupted_says_so(start, eventually, by):
    outside = start()
    docking = outside.start('dock')
    eventually(lambda: outside.truth()['driving'] == 'driving')
    if by == 'velocity':
        outside.move(0.0)
    elif by == 'goal':
        outside.go_to('living_room')
    elif by == 'object':
        outside.send('pick_object', String(data='ball'))
    elif by == 'reset':
        outside.call('sim/reset')
    else:
        outside.start('dock')
    interrupted = answer(docking, 10.0)
    assert (interrupted.success, interrupted.message) == (False, 'not docked: interrupted')


def test_truth_is_what_referees_read(start, eventually):
    outside = start(battery=0.5)
    for words in ('hello', 'ü "x"'):
        outside.send('speech', String(data=words))
    eventually(lambda: len(outside.truth()['heard']) == 2)
    truth = Truth.parse(outside.call('sim/truth').message)
    begin = flat().start
    assert (truth.x, truth.y, truth.yaw) == pytest.approx((begin.x, begin.y, begin.yaw))
    assert truth.heard == ('hello', 'ü "x"')
    assert (truth.holding, truth.docked, truth.collisions) == ('', False, 0)
    assert truth.speed_mps == pytest.approx(0.0, abs=1e-6)
    assert truth.battery == 0.5
    assert set(outside.truth()['things']) == {'cup', 'ball', 'book'}


def test_reset_brings_everything_back(start, eventually):
    outside = start(speed=FAST, publish_clock=True)
    holding = outside.collect('gripper_holding', LATCHED)
    odom = outside.collect('odom')
    outside.send('speech', String(data='hello'))
    outside.send('pick_object', String(data='ball'))
    eventually(lambda: [m.data for m in holding][-1:] == ['ball'], 30.0)
    outside.go_to('kitchen')
    eventually(lambda: outside.truth()['driving'] == 'driving')
    before = len(odom)
    assert outside.call('sim/reset').success
    truth = outside.truth()
    assert (truth['x'], truth['y']) == pytest.approx((flat().start.x, flat().start.y))
    assert (truth['holding'], truth['heard'], truth['driving']) == ('', [], 'canceled')
    eventually(lambda: holding[-1].data == '')
    # Its topics go on, although its time began anew.
    eventually(lambda: any(stamp_s(message) < 1.0 for message in odom[before:]))
    eventually(lambda: abs(odom[-1].pose.pose.position.x - flat().start.x) < 0.001)


def test_speed_is_how_fast_its_time_passes(start):
    outside = start(speed=FAST)
    simulated_s, began = outside.truth()['time_s'], time.monotonic()
    CancelToken().wait(1.0)
    simulated_s = outside.truth()['time_s'] - simulated_s
    factor = simulated_s / (time.monotonic() - began)
    assert 2 < factor < 1.2 * FAST


def test_time_passes_as_on_the_wall_by_default(start):
    outside = start()
    simulated_s, began = outside.truth()['time_s'], time.monotonic()
    CancelToken().wait(1.0)
    simulated_s = outside.truth()['time_s'] - simulated_s
    assert 0.3 < simulated_s / (time.monotonic() - began) < 1.2


@pytest.mark.parametrize(('name', 'value'), [('speed', 0.0), ('speed', 99.0), ('battery', 1.5)])
def test_parameter_out_of_bounds_is_refused(ros, name, value):
    with pytest.raises(InvalidParameterValueException, match=name):
        HeadlessRobot(context=ros.context, parameter_overrides=[Parameter(name, value=value)])


def test_top_view_is_written_where_the_parameter_says(start, tmp_path):
    path = tmp_path / 'new' / 'view.png'
    drawn = start(top_view_path=str(path)).call('sim/top_view')
    assert (drawn.success, drawn.message) == (True, str(path))
    assert path.read_bytes().startswith(b'\x89PNG')


def test_top_view_that_can_not_be_written_says_why(start, tmp_path):
    (tmp_path / 'file').write_text('')
    path = tmp_path / 'file' / 'view.png'
    drawn = start(top_view_path=str(path)).call('sim/top_view')
    assert not drawn.success
    assert drawn.message.startswith(f'{path}: can not be written')


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a robot in a process of its own; its output is in ``robot.log``."""
    with (tmp_path / 'robot.log').open('w') as log:
        process = headless_robot('house', battery=0.5).start(log)
        yield process
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('busy', [False, True], ids=['idle', 'docking'])
def test_process_ends_in_order_on_a_signal(ros, eventually, process, tmp_path, number, busy):
    outside = Outside(ros.node('outside'), 'house')
    assert outside.truth()['battery'] == pytest.approx(0.5, abs=0.001)
    if busy:
        outside.start('dock')
        eventually(lambda: outside.truth()['driving'] == 'driving')
    os.kill(process.pid, number)
    code = process.wait(10.0)
    output = (tmp_path / 'robot.log').read_text()
    assert code == 0, output
    assert 'Traceback' not in output
