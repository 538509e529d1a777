"""Noise: each kind is as large as it was asked for, the same for the same seed, and off if not."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from flat_robot import drive, gripper, move
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_context import Ros
from sensor_msgs.msg import LaserScan
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.sim.driver import Driver, Driving
from nemotron_ros.sim.node import HeadlessRobot
from nemotron_ros.sim.noise import Line, Noise
from nemotron_ros.sim.robot import TRACK_M, WHEEL_RADIUS_M, Robot
from nemotron_ros.sim.world import flat


def arrivals(
    noise: Noise, what: str = 'odom', seconds: float = 200.0
) -> list[tuple[float, float]]:
    """Return when messages that are sent 50 times a second are sent, and when they come."""
    line = Line(noise, what, silences=True)
    came: list[tuple[float, float]] = []
    clock = [0.0]
    for step in range(round(seconds * 200)):
        now_s = clock[0] = step * 0.005
        if step % 4 == 0:
            line.put(now_s, lambda sent_s=now_s: came.append((sent_s, clock[0])))
        else:
            line.run(now_s)
    return came


def test_without_noise_everything_comes_at_once():
    came = arrivals(Noise(seed=3), seconds=10.0)
    assert len(came) == 500
    assert all(sent_s == comes_s for sent_s, comes_s in came)


@pytest.mark.parametrize('latency_s', [0.05, 0.4])
def test_latency_is_as_long_as_asked_for_and_keeps_the_order(latency_s):
    came = arrivals(Noise(latency_s=latency_s), seconds=60.0)
    late_s = [comes_s - sent_s for sent_s, comes_s in came]
    # What overtakes waits for what is before it, so that the mean is a little longer.
    assert latency_s * 0.95 < sum(late_s) / len(late_s) < latency_s * 1.5
    assert min(late_s) >= latency_s * 0.5
    assert max(late_s) <= latency_s * 1.5 + 0.005
    assert [sent_s for sent_s, _ in came] == sorted(sent_s for sent_s, _ in came)
    assert len(came) > 60.0 * 50 - 2 - 1.5 * latency_s * 50


@pytest.mark.parametrize(('share', 'mean_s'), [(0.1, 0.3), (0.5, 1.0), (0.3, 0.05)])
def test_silences_are_as_many_and_as_long_as_asked_for(share, mean_s):
    seconds = 1000.0
    came = arrivals(Noise(seed=1, dropout=share, dropout_s=mean_s), seconds=seconds)
    assert 1 - len(came) / (50 * seconds) == pytest.approx(share, abs=0.05)
    gaps_s = [b[0] - a[0] for a, b in pairwise(came) if b[0] - a[0] > 0.03]
    # A silence is seen from the last message before it to the first one after it.
    assert sum(gaps_s) / len(gaps_s) == pytest.approx(mean_s + 0.02, rel=0.35)


def test_the_same_seed_brings_the_same_and_another_one_does_not():
    def silences(seed: int, what: str = 'odom') -> list[tuple[float, float]]:
        return arrivals(Noise(seed=seed, dropout=0.3, latency_s=0.1), what, 30.0)

    assert silences(7) == silences(7)
    assert silences(7) != silences(8)
    assert silences(7, 'odom') != silences(7, 'scan')


@pytest.mark.parametrize(
    'wrong',
    [
        {'seed': -1},
        {'latency_s': 2.1},
        {'latency_s': -0.1},
        {'dropout': 0.95},
        {'dropout_s': 0.0},
        {'wheel_slip': 0.6},
        {'wheel_slip': math.nan},
    ],
)
def test_what_is_out_of_its_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f'{name}: expected'):
        Noise(**wrong)


def slipping(share: float, seed: int = 5) -> Robot:
    """Return a robot whose wheels slip."""
    return Robot(noise=Noise(seed=seed, wheel_slip=share))


@pytest.mark.parametrize('share', [0.05, 0.2])
def test_wheels_that_slip_move_it_less_and_the_odometry_does_not_know(share):
    ways = []
    for seed in range(6):
        robot = slipping(share, seed)
        move(robot, 0.4, 0.0, 5.0)
        believed = robot.odometry
        assert math.dist((believed.x, believed.y), (-2.5, -1.3)) == pytest.approx(1.95, abs=0.08)
        left, right = robot.wheels_rad
        assert (left + right) / 2 * WHEEL_RADIUS_M == pytest.approx(1.95, abs=0.08)
        ways.append(robot.path_m)
        # It takes itself to have driven straight ahead, and has not.
        assert abs(robot.turned_rad) > 0.001
        assert (right - left) * WHEEL_RADIUS_M / TRACK_M == pytest.approx(0.0, abs=0.03)
    assert sum(ways) / len(ways) / 1.95 == pytest.approx(1 - share, abs=0.04)


def test_without_slip_the_odometry_is_the_truth():
    robot = Robot()
    move(robot, 0.3, 0.5, 4.0)
    assert robot.odometry == robot.pose
    assert robot.wheel_twist == pytest.approx(robot.twist)


def test_slip_is_the_same_after_a_reset():
    robot = slipping(0.2)
    poses = []
    for _ in range(2):
        move(robot, 0.4, 0.2, 4.0)
        poses.append((robot.pose, robot.odometry))
        robot.reset()
    assert poses[0] == poses[1]
    assert robot.odometry == robot.pose == flat().start


def test_driver_drives_to_where_it_takes_the_place_to_be():
    robot = slipping(0.1)
    driver = Driver(robot)
    place = flat().places['living_room']
    driver.go(place)
    assert drive(robot, driver) is Driving.ARRIVED
    assert math.dist((robot.odometry.x, robot.odometry.y), (place.x, place.y)) < 0.1
    assert math.dist((robot.pose.x, robot.pose.y), (place.x, place.y)) > 0.05


def test_it_fetches_what_it_sees_although_it_is_lost():
    robot = slipping(0.3)
    move(robot, 0.4, 0.0, 5.0)
    move(robot, -0.4, 0.0, 0.5)
    driver = Driver(robot)
    assert math.dist((robot.odometry.x, robot.odometry.y), (robot.pose.x, robot.pose.y)) > 0.4
    assert driver.fetch('ball')
    assert drive(robot, driver) is Driving.ARRIVED
    # It has drifted on meanwhile; without its eyes it would be off by what it was before as well.
    assert math.dist(robot.things()['ball'], gripper(robot)) < 0.55


# On ROS


@pytest.fixture
def heard(ros: Ros) -> Callable[..., dict[str, list]]:
    """Give a function that starts a robot, and returns what is heard of it in some seconds."""

    def listen(seconds: float, **parameters: object) -> dict[str, list]:
        overrides = [
            Parameter(name, value=value)
            for name, value in {'publish_clock': True, **parameters}.items()
        ]
        node = ros.add(HeadlessRobot(context=ros.context, parameter_overrides=overrides))
        outside = ros.node('outside')
        found: dict[str, list] = {'odom': [], 'scan': []}
        outside.create_subscription(Odometry, 'odom', found['odom'].append, 1000)
        outside.create_subscription(
            LaserScan, 'scan', found['scan'].append, qos_profile_sensor_data
        )
        truth = outside.create_client(Trigger, 'sim/truth')
        assert until_true(lambda: found['odom'] and truth.service_is_ready(), 20.0, CancelToken())
        last = found['odom'][-1]
        until_s = last.header.stamp.sec + seconds
        assert until_true(
            lambda: found['odom'][-1].header.stamp.sec >= until_s, 30.0, CancelToken()
        )
        found['node'] = [node]
        return found

    return listen


def test_robot_on_ros_is_silent_as_its_parameters_say(heard):
    found = heard(20.0, speed=10.0, dropout=0.4, dropout_s=0.5, noise_seed=2)
    stamps = [
        message.header.stamp.sec + message.header.stamp.nanosec * 1e-9 for message in found['odom']
    ]
    gaps_s = [b - a for a, b in pairwise(stamps)]
    assert max(gaps_s) > 0.2
    silent_s = sum(gap_s for gap_s in gaps_s if gap_s > 0.03)
    assert silent_s / (stamps[-1] - stamps[0]) == pytest.approx(0.4, abs=0.25)


def test_robot_on_ros_tells_late_what_was_then(heard):
    found = heard(3.0, latency_s=0.5)
    (node,) = found['node']
    last = found['odom'][-1].header.stamp
    late_s = node._robots[0].robot.time_s - (last.sec + last.nanosec * 1e-9)
    assert 0.2 < late_s < 1.5
