"""The physics: drive, watchdog, walls, gripper, battery and laser. No ROS."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from flat_robot import gripper, height_m, move, pass_time, robot_at

from nemotron_ros.sim.robot import (
    BEAMS,
    MAX_RANGE_M,
    REACH_M,
    SCAN_HEIGHT_M,
    TRACK_M,
    WHEEL_RADIUS_M,
    Robot,
)
from nemotron_ros.sim.velocity import MAX_SPEED_MPS, MAX_TURN_RADPS, WATCHDOG_S
from nemotron_ros.sim.world import GRIPPER_M, ROBOT_RADIUS_M, Pose, flat

LIVING_ROOM = (-1.4, -1.3)
HALL = (2.2, -1.2)
THINGS = {thing.name: thing for thing in flat().things}


@pytest.mark.parametrize('yaw', [0.0, 0.7, -2.0])
@pytest.mark.parametrize('v', [0.3, -0.3])
def test_drives_straight_as_far_as_commanded(v, yaw):
    robot = robot_at(*HALL, yaw)
    move(robot, v, 0.0, 2.0)
    move(robot, 0.0, 0.0, 1.0)
    pose = robot.pose
    along = (pose.x - HALL[0]) * math.cos(yaw) + (pose.y - HALL[1]) * math.sin(yaw)
    aside = (pose.y - HALL[1]) * math.cos(yaw) - (pose.x - HALL[0]) * math.sin(yaw)
    assert along == pytest.approx(v * 2.0, abs=0.02)
    assert aside == pytest.approx(0.0, abs=0.002)
    assert pose.yaw == pytest.approx(yaw, abs=0.002)
    assert robot.path_m == pytest.approx(abs(v) * 2.0, abs=0.02)
    assert robot.collisions == 0


@pytest.mark.parametrize('w', [0.8, -0.8])
def test_turns_on_the_spot(w):
    robot = robot_at(*HALL)
    move(robot, 0.0, w, 5.0)
    move(robot, 0.0, 0.0, 1.0)
    assert math.dist((robot.pose.x, robot.pose.y), HALL) < 0.002
    assert robot.turned_rad == pytest.approx(5.0 * w, abs=0.05)
    assert robot.pose.yaw == pytest.approx(math.remainder(robot.turned_rad, math.tau))


@pytest.mark.parametrize(('v', 'w'), [(9.0, 0.0), (-9.0, 0.0), (0.0, 50.0), (0.0, -50.0)])
def test_is_never_faster_than_its_limits(v, w):
    robot = robot_at(*LIVING_ROOM)
    fastest_v = fastest_w = 0.0
    for _ in range(300):
        robot.command(v, w)
        robot.step()
        fastest_v = max(fastest_v, abs(robot.twist[0]))
        fastest_w = max(fastest_w, abs(robot.twist[1]))
    assert fastest_v == pytest.approx(MAX_SPEED_MPS if v else 0.0, abs=0.01)
    assert fastest_w == pytest.approx(MAX_TURN_RADPS if w else 0.0, abs=0.02)


def test_gathers_speed_gradually():
    robot = robot_at(*HALL)
    move(robot, 0.5, 0.0, 0.1)
    assert 0.05 < robot.twist[0] < 0.2


def test_without_a_new_velocity_it_stops():
    robot = robot_at(*HALL)
    robot.command(0.3, 0.5)
    pass_time(robot, WATCHDOG_S - 0.02)
    assert robot.twist == pytest.approx((0.3, 0.5), abs=0.03)
    pass_time(robot, 0.5)
    assert robot.twist == pytest.approx((0.0, 0.0), abs=0.005)
    x = robot.pose.x
    pass_time(robot, 2.0)
    assert robot.pose.x == pytest.approx(x, abs=0.001)


def test_velocity_that_is_repeated_in_time_goes_on():
    robot = robot_at(*HALL)
    for _ in range(5):
        robot.command(0.2, 0.0)
        pass_time(robot, WATCHDOG_S - 0.05)
    assert robot.twist[0] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ('start', 'yaw', 'stands_at'),
    [
        ((2.2, -0.8), math.pi / 2, (2.2, None)),
        ((2.6, -1.3), 0.0, (3.72 - 0.2 - ROBOT_RADIUS_M, -1.3)),
        ((-1.0, -2.0), -math.pi / 2, (-1.0, -2.75 + 0.18 + ROBOT_RADIUS_M)),
    ],
    ids=['door post', 'cabinet', 'television'],
)
def test_what_stands_there_stops_it_and_each_touch_counts_once(start, yaw, stands_at):
    robot = robot_at(*start, yaw)
    move(robot, 0.5, 0.0, 6.0)
    assert robot.collisions == 1
    assert robot.pose.x == pytest.approx(stands_at[0], abs=0.01)
    move(robot, -0.3, 0.0, 2.0)
    move(robot, 0.3, 0.0, 3.0)
    assert robot.collisions == 2


def test_scraping_along_a_wall_is_one_touch():
    robot = robot_at(1.6, -2.5, -0.4)
    move(robot, 0.4, 0.05, 3.0)
    assert robot.pose.x > 2.2
    assert robot.pose.y == pytest.approx(-3 + 0.05 + ROBOT_RADIUS_M, abs=0.01)
    assert robot.collisions == 1


@pytest.mark.parametrize('name', THINGS)
@pytest.mark.parametrize(
    ('away_m', 'turned', 'reaches'),
    [
        (GRIPPER_M, 0.0, True),
        (GRIPPER_M + REACH_M - 0.03, 0.0, True),
        (GRIPPER_M + REACH_M + 0.03, 0.0, False),
        (GRIPPER_M, math.pi, False),
    ],
    ids=['there', 'just in reach', 'just out of reach', 'behind it'],
)
def test_gripper_closes_on_what_is_in_reach(name, away_m, turned, reaches):
    thing = THINGS[name]
    robot = robot_at(thing.x, thing.y - away_m, math.pi / 2 + turned)
    assert robot.close_gripper() == (name if reaches else '')
    assert robot.holding == (name if reaches else '')


@pytest.mark.parametrize('heading', [0.0, 1.2, -2.5])
@pytest.mark.parametrize('name', THINGS)
def test_what_is_held_comes_along(name, heading):
    thing = THINGS[name]
    robot = robot_at(thing.x - 0.4 * math.cos(heading), thing.y - 0.4 * math.sin(heading), heading)
    assert robot.close_gripper() == name
    for v, w in ((0.0, 0.0), (-0.3, 0.0), (0.0, 0.8), (-0.2, 0.5)):
        move(robot, v, w, 1.0)
        assert math.dist(robot.things()[name], gripper(robot)) < 0.02
        assert height_m(robot, name) > 0.35


@pytest.mark.parametrize('name', THINGS)
def test_what_is_let_go_falls_to_the_floor_and_stays_there(name):
    thing = THINGS[name]
    robot = robot_at(thing.x, thing.y - 0.4, math.pi / 2)
    robot.close_gripper()
    move(robot, -0.3, 0.0, 2.0)
    move(robot, 0.0, 0.0, 0.5)
    held_at = gripper(robot)
    assert robot.open_gripper() == name
    assert robot.holding == ''
    move(robot, 0.0, 0.0, 1.0)
    assert height_m(robot, name) == pytest.approx(thing.size[-1], abs=0.005)
    move(robot, -0.3, 0.0, 2.0)
    assert math.dist(robot.things()[name], held_at) < 0.01


def test_ball_that_is_let_go_on_the_way_comes_to_rest():
    ball = THINGS['ball']
    robot = robot_at(ball.x, ball.y - 0.4, math.pi / 2)
    robot.close_gripper()
    move(robot, -0.3, 0.0, 0.5)
    move(robot, 0.3, 0.0, 1.5)
    at = robot.things()['ball']
    robot.open_gripper()
    move(robot, 0.0, 0.0, 4.0)
    rest = robot.things()['ball']
    move(robot, 0.0, 0.0, 4.0)
    assert 0.1 < math.dist(at, rest) < 1.0
    assert math.dist(rest, robot.things()['ball']) < 0.01


def test_gripper_holds_one_thing():
    robot = robot_at(-0.1, -2.5, math.pi / 2)
    assert robot.open_gripper() == ''
    assert robot.close_gripper() == 'ball'
    assert robot.close_gripper() == 'ball'


def test_battery_drains_by_the_way_and_charges_in_the_dock():
    robot = robot_at(*LIVING_ROOM)
    pass_time(robot, 5.0)
    assert robot.battery == 0.87
    move(robot, 0.5, 0.0, 3.0)
    assert 0.86 < robot.battery < 0.87

    dock = flat().dock
    docked = Robot(replace(flat(), start=dock), battery=0.5)
    assert docked.docked()
    pass_time(docked, 10.0)
    assert docked.battery == pytest.approx(0.52, abs=0.001)


@pytest.mark.parametrize(('level', 'start'), [(0.0, LIVING_ROOM), (1.0, (2.4, -2.55))])
def test_battery_is_never_emptier_than_empty_nor_fuller_than_full(level, start):
    robot = Robot(replace(flat(), start=Pose(*start, -math.pi / 2)), battery=level)
    move(robot, -0.1, 0.0, 0.5)
    assert robot.battery == level


@pytest.mark.parametrize(
    ('x', 'y', 'yaw', 'docked'),
    [(0, 0, 0, True), (0.1, 0, 0.1, True), (0.15, 0, 0, False), (0, 0, 0.3, False)],
)
def test_docked_is_near_the_dock_and_facing_it(x, y, yaw, docked):
    dock = flat().dock
    assert robot_at(dock.x + x, dock.y + y, dock.yaw + yaw).docked() is docked


def distance_to_walls_m(x: float, y: float, angle: float) -> float:
    """Return how far a beam goes, by the geometry of the boxes alone."""
    dx, dy = math.cos(angle), math.sin(angle)
    nearest = math.inf
    for box in (*flat().walls, *flat().furniture):
        assert box.height > SCAN_HEIGHT_M
        enters, leaves = 0.0, math.inf
        for at, way, middle, half in ((x, dx, box.x, box.half_x), (y, dy, box.y, box.half_y)):
            if abs(way) > 1e-12:
                near, far = sorted(((middle - half - at) / way, (middle + half - at) / way))
                enters, leaves = max(enters, near), min(leaves, far)
            elif abs(at - middle) > half:
                leaves = -math.inf
        if enters <= leaves:
            nearest = min(nearest, enters)
    return nearest


@pytest.mark.parametrize(
    'pose',
    [(-2.5, -1.3, 0.0), (2.5, 1.6, 2.0), (-1.3, 1.6, -1.0), (3.4, -2.6, 0.3), (-3.6, -2.6, 0.5)],
)
def test_laser_sees_the_walls_where_they_are(pose):
    x, y, yaw = pose
    angles = np.linspace(-math.pi, math.pi, BEAMS, endpoint=False)
    expected = np.array([distance_to_walls_m(x, y, yaw + angle) for angle in angles])
    seen = robot_at(x, y, yaw).scan()
    # A beam along a corner hits one of two walls; rounding decides which.
    off = np.abs(seen - np.where(expected > MAX_RANGE_M, np.inf, expected))
    off[np.isinf(seen) & (expected > MAX_RANGE_M)] = 0.0
    assert np.sum(off < 0.005) >= BEAMS - 1
    assert seen.dtype == np.float32


def test_laser_beam_into_the_void_is_infinite():
    world = replace(flat(), walls=(), furniture=(), doors=())
    assert np.all(np.isinf(robot_at(0.0, 0.0, 0.0, world).scan()))


def test_laser_does_not_see_what_the_robot_lifts():
    robot = robot_at(-0.1, -2.4, math.pi / 2)
    empty = robot.scan()
    assert robot.close_gripper() == 'ball'
    heights = []
    for _ in range(100):
        robot.step()
        heights.append(height_m(robot, 'ball'))
        assert robot.scan() == pytest.approx(empty, abs=0.02)
    # It passed by the height of the laser.
    assert min(heights) < SCAN_HEIGHT_M < max(heights)


def test_reset_restores_everything():
    world = replace(flat(), start=Pose(-0.1, -2.4, math.pi / 2))
    robot, fresh = Robot(world, battery=0.6), Robot(world, battery=0.6)
    assert robot.close_gripper() == 'ball'
    move(robot, -0.5, 0.3, 3.0)
    assert robot.collisions
    robot.reset()
    kept = ('time_s', 'pose', 'twist', 'battery', 'holding', 'collisions', 'path_m', 'turned_rad')
    for name in (*kept, 'wheels_rad', 'path'):
        assert getattr(robot, name) == getattr(fresh, name), name
    assert robot.things() == fresh.things()
    # Neither the velocity nor the grip is left.
    pass_time(robot, 1.0)
    pass_time(fresh, 1.0)
    assert robot.pose == fresh.pose
    assert robot.things() == fresh.things()


def test_same_commands_lead_to_the_same_place():
    poses = set()
    for _ in range(2):
        robot = Robot()
        move(robot, 0.4, 0.3, 3.0)
        poses.add(robot.pose)
    assert len(poses) == 1


def test_wheels_roll_as_far_as_the_robot_drives():
    robot = robot_at(*HALL)
    move(robot, 0.3, 0.0, 2.0)
    left, right = robot.wheels_rad
    assert left == pytest.approx(right)
    assert left * WHEEL_RADIUS_M == pytest.approx(robot.path_m, abs=0.001)
    move(robot, -0.3, 0.0, 3.0)
    assert robot.wheels_rad[0] < left


def test_wheels_of_a_curve_tell_its_angle():
    robot = robot_at(*LIVING_ROOM)
    move(robot, 0.2, 0.6, 4.0)
    left, right = robot.wheels_rad
    assert (left + right) / 2 * WHEEL_RADIUS_M == pytest.approx(robot.path_m, rel=0.01)
    assert (right - left) * WHEEL_RADIUS_M / TRACK_M == pytest.approx(robot.turned_rad, rel=0.01)


def test_path_is_where_it_was():
    robot = robot_at(*HALL)
    move(robot, 0.4, 0.5, 3.0)
    points = list(robot.path)
    assert points[0] == HALL
    assert math.dist(points[-1], (robot.pose.x, robot.pose.y)) < 0.03
    steps = [math.dist(a, b) for a, b in pairwise(points)]
    assert sum(steps) == pytest.approx(robot.path_m, abs=0.05)
    assert max(steps) < 0.03


def test_is_much_faster_than_real_time_on_one_core(capsys):
    robot = robot_at(*LIVING_ROOM)
    # Time of this thread: what else the machine does does not count.
    began_s = time.thread_time()
    move(robot, 0.2, 0.3, 20.0)
    factor = 20.0 / (time.thread_time() - began_s)
    with capsys.disabled():
        print(f'\n{factor:.0f} times as fast as real time')
    assert factor >= 20
