"""The driver: arrives, fetches, stops before what is in the way, and gives the wheel away."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations, product

import pytest
from flat_robot import drive, gripper, move, pass_time, robot_at

from nemotron_ros.sim.driver import GIVE_UP_S, Driver, Driving
from nemotron_ros.sim.robot import Robot
from nemotron_ros.sim.world import ROBOT_RADIUS_M, Box, Pose, flat

STOPS = {**flat().places, 'dock': flat().dock, 'start': flat().start}
THINGS = [thing.name for thing in flat().things]


def off(robot: Robot, goal: Pose) -> tuple[float, float]:
    """Return how far from a pose the robot is, in metres and in radians."""
    pose = robot.pose
    return (
        math.dist((pose.x, pose.y), (goal.x, goal.y)),
        abs(math.remainder(pose.yaw - goal.yaw, math.tau)),
    )


@pytest.mark.parametrize(('start', 'goal'), permutations(STOPS, 2))
def test_arrives_from_everywhere_everywhere(start, goal):
    robot = Robot(replace(flat(), start=STOPS[start]))
    driver = Driver(robot)
    driver.go(STOPS[goal])
    assert drive(robot, driver) is Driving.ARRIVED
    metres, radians = off(robot, STOPS[goal])
    assert metres < 0.08
    assert radians < 0.05
    assert robot.twist == pytest.approx((0.0, 0.0), abs=0.01)
    assert robot.collisions == 0
    assert robot.docked() is (goal == 'dock')


def test_stays_where_it_arrived():
    robot = Robot()
    driver = Driver(robot)
    driver.go(flat().places['living_room'])
    drive(robot, driver)
    arrived = robot.pose
    pass_time(robot, 3.0, driver.step)
    assert driver.state is Driving.ARRIVED
    assert off(robot, arrived) == pytest.approx((0.0, 0.0), abs=0.002)


def test_turns_where_it_stands_already():
    robot = robot_at(2.2, -1.2, 0.0)
    driver = Driver(robot)
    driver.go(Pose(2.2, -1.2, math.pi))
    assert drive(robot, driver) is Driving.ARRIVED
    assert off(robot, Pose(2.2, -1.2, math.pi)) < (0.01, 0.05)


@pytest.mark.parametrize('goal', [(-3.0, 2.25), (1e308, 0.0)], ids=['on the bed', 'far away'])
def test_without_a_way_it_stops_and_is_blocked(goal):
    robot = Robot()
    driver = Driver(robot)
    move(robot, 0.4, 0.0, 1.0)
    driver.go(Pose(*goal, 0.0))
    assert driver.state is Driving.BLOCKED
    # At once, and not only when the watchdog barks.
    pass_time(robot, 0.35, driver.step)
    assert robot.twist == pytest.approx((0.0, 0.0), abs=0.01)


def crate_on_the_way() -> tuple[Robot, Driver]:
    """Return a robot whose map lacks a crate between itself and the ``living_room``."""
    known = flat()
    crate = Box('crate', -0.9, -1.3, 0.2, 0.3, 0.5)
    robot = Robot(replace(known, furniture=(*known.furniture, crate)))
    robot.physics.world = known
    driver = Driver(robot)
    driver.go(Pose(0.3, -1.3, 0.0))
    return robot, driver


def test_stops_before_what_is_in_the_way():
    robot, driver = crate_on_the_way()
    assert drive(robot, driver, 60.0) is Driving.BLOCKED
    gap_m = -0.9 - 0.2 - ROBOT_RADIUS_M - robot.pose.x
    assert 0.02 < gap_m < 0.15
    assert robot.collisions == 0
    pass_time(robot, 2.0, driver.step)
    assert robot.twist == pytest.approx((0.0, 0.0), abs=0.005)


def test_drives_on_when_the_way_is_free_again():
    robot, driver = crate_on_the_way()
    crate = robot._model.geom('crate')
    # Twice it waits, each time for less than it takes to give up.
    for seconds, further_m in ((6.0, 0.6), (4.5, 9.0)):
        drive(robot, driver, seconds)
        assert driver.state is Driving.DRIVING
        assert robot.twist == pytest.approx((0.0, 0.0), abs=0.005)
        crate.pos[0] += further_m
    assert drive(robot, driver) is Driving.ARRIVED
    assert robot.collisions == 0


def test_waits_a_while_before_it_gives_up():
    robot, driver = crate_on_the_way()
    while driver.state is Driving.DRIVING and (robot.time_s < 1.0 or robot.twist[0] > 0.005):
        drive(robot, driver, robot.step_s)
    stopped_s = robot.time_s
    assert drive(robot, driver) is Driving.BLOCKED
    assert robot.time_s - stopped_s == pytest.approx(GIVE_UP_S, abs=0.5)


def test_looks_out_after_a_reset_as_before():
    robot, driver = crate_on_the_way()
    drive(robot, driver, 60.0)
    pass_time(robot, 10.0)
    robot.reset()
    robot.physics.world = flat()
    driver.go(Pose(0.3, -1.3, 0.0))
    assert drive(robot, driver, 4.0) is Driving.DRIVING
    assert robot.path_m > 0.8
    assert drive(robot, driver, 60.0) is Driving.BLOCKED
    assert robot.collisions == 0


def test_cancel_gives_the_wheel_away():
    robot = Robot()
    driver = Driver(robot)
    driver.go(flat().places['kitchen'])
    drive(robot, driver, 2.0)
    driver.cancel()
    assert driver.state is Driving.CANCELED
    robot.command(-0.1, 0.0)
    pass_time(robot, 0.4, driver.step)
    assert robot.twist[0] == pytest.approx(-0.1, abs=0.01)
    pass_time(robot, 1.0, driver.step)
    assert robot.twist == pytest.approx((0.0, 0.0), abs=0.005)


def test_cancel_changes_nothing_that_has_ended():
    robot = Robot()
    driver = Driver(robot)
    driver.cancel()
    assert driver.state is Driving.IDLE
    driver.go(robot.pose)
    assert drive(robot, driver) is Driving.ARRIVED
    driver.cancel()
    assert driver.state is Driving.ARRIVED


@pytest.mark.parametrize(('start', 'thing'), product(('hall', 'bedroom', 'dock'), THINGS))
def test_fetches_everything_from_everywhere(start, thing):
    robot = Robot(replace(flat(), start=STOPS[start]))
    driver = Driver(robot)
    assert driver.fetch(thing)
    assert drive(robot, driver) is Driving.ARRIVED
    assert robot.close_gripper() == thing
    assert robot.collisions == 0


@pytest.mark.parametrize('thing', THINGS)
def test_carries_everything_through_the_flat(thing):
    robot = Robot()
    driver = Driver(robot)
    driver.fetch(thing)
    drive(robot, driver)
    robot.close_gripper()
    for place, pose in STOPS.items():
        driver.go(pose)
        assert drive(robot, driver) is Driving.ARRIVED, place
        assert math.dist(robot.things()[thing], gripper(robot)) < 0.03, place
    assert robot.collisions == 0


def test_unknown_thing_is_not_fetched():
    robot = Robot()
    driver = Driver(robot)
    assert not driver.fetch('moon')
    assert driver.state is Driving.BLOCKED


def test_leaves_a_wall_that_it_was_driven_against():
    robot = robot_at(-2.5, -2.5, -math.pi / 2)
    move(robot, 0.3, 0.0, 2.0)
    assert robot.collisions == 1
    driver = Driver(robot)
    driver.go(flat().places['living_room'])
    assert drive(robot, driver) is Driving.ARRIVED
    assert robot.collisions == 1
