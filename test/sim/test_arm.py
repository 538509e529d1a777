"""The arm: it takes named things, carries them, and puts them on furniture. No ROS."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from flat_robot import drive, height_m, move, pass_time, robot_at

from nemotron_ros.sim.arm import ARM_MPS, HOME, Arm
from nemotron_ros.sim.driver import Driver, Driving
from nemotron_ros.sim.robot import REACH_M, Robot
from nemotron_ros.sim.world import GRIPPER_M, flat

THINGS = {thing.name: thing for thing in flat().things}
TABLES = ('coffee_table', 'counter', 'bed', 'sofa', 'cabinet')


def until_done(robot: Robot, within_s: float = 10.0) -> float:
    """Let time pass until the arm rests; return how long that took."""
    began_s = robot.time_s
    while robot.arm_moves and robot.time_s < began_s + within_s:
        robot.step()
    assert not robot.arm_moves
    return robot.time_s - began_s


def before(name: str, away_m: float = GRIPPER_M + 0.1) -> Robot:
    """Return a robot that faces a thing."""
    thing = THINGS[name]
    return robot_at(thing.x, thing.y - away_m, math.pi / 2)


def fetched(name: str) -> tuple[Robot, Driver]:
    """Return a robot that holds a thing."""
    robot = Robot()
    driver = Driver(robot)
    assert driver.fetch(name)
    assert drive(robot, driver) is Driving.ARRIVED
    assert robot.pick(name)
    until_done(robot)
    assert robot.holding == name
    return robot, driver


def test_the_hand_goes_from_point_to_point_at_its_speed():
    arm, called = Arm(), []
    x, y, z = HOME
    arm.go((x + 0.6, y, z), lambda: called.append(arm.hand), (x + 0.6, y, z + 0.3))
    for _ in range(100):
        arm.step(0.005)
    assert arm.hand == pytest.approx((x + 0.5 * ARM_MPS, y, z))
    assert called == []
    for _ in range(210):
        arm.step(0.005)
    assert called == [pytest.approx((x + 0.6, y, z))]
    assert arm.hand == pytest.approx((x + 0.6, y, z + 0.3))
    assert not arm.moves


def test_an_arm_that_is_stopped_stays_where_it_is():
    arm = Arm()
    arm.go((1.0, 0.0, 1.0))
    arm.step(0.1)
    arm.stop()
    at = arm.hand
    arm.step(1.0)
    assert arm.hand == at != HOME


@pytest.mark.parametrize('name', THINGS)
def test_it_takes_a_thing_by_its_name_and_lifts_it(name):
    robot = before(name)
    assert robot.pick(name)
    assert robot.holding == ''
    took_s = until_done(robot)
    assert 0.8 < took_s < 5.0
    assert robot.holding == name
    pass_time(robot, 0.5)
    assert height_m(robot, name) == pytest.approx(HOME[2], abs=0.03)
    assert robot.hand == HOME


@pytest.mark.parametrize(('away_m', 'reaches'), [(GRIPPER_M + REACH_M - 0.02, True), (0.8, False)])
def test_it_reaches_as_far_as_it_does(away_m, reaches):
    robot = before('cup', away_m)
    assert robot.pick('cup') is reaches
    until_done(robot)
    assert robot.holding == ('cup' if reaches else '')


def test_it_takes_the_thing_that_was_named_and_not_the_nearest():
    cup, ball, book = flat().things
    near = replace(
        flat(), things=(replace(cup, x=0.4, y=-1.2), replace(ball, x=0.5, y=-1.4), book)
    )
    robot = robot_at(0.1, -1.3, 0.0, near)
    assert robot.pick('ball')
    until_done(robot)
    assert robot.holding == 'ball'


def test_a_hand_that_is_full_and_a_thing_that_is_unknown_are_refused():
    robot, _ = fetched('ball')
    assert not robot.pick('cup')
    assert not robot_at(0.0, 0.0).pick('moon')


def test_what_was_moved_meanwhile_is_not_held():
    robot = before('cup')
    assert robot.pick('cup')
    move(robot, -0.3, 0.0, 3.0)
    until_done(robot)
    assert robot.holding == ''
    assert robot.hand == HOME


@pytest.mark.parametrize('furniture', TABLES)
@pytest.mark.parametrize('name', THINGS)
def test_it_puts_a_thing_on_furniture_and_it_stays_there(name, furniture):
    robot, driver = fetched(name)
    assert driver.approach(furniture)
    assert drive(robot, driver) is Driving.ARRIVED
    assert robot.place(furniture)
    until_done(robot)
    move(robot, -0.3, 0.0, 1.0)
    assert robot.holding == ''
    box = next(box for box in flat().furniture if box.name == furniture)
    assert height_m(robot, name) == pytest.approx(box.height + THINGS[name].size[-1], abs=0.01)
    assert robot.resting() == {name: furniture}
    assert robot.collisions == 0


def test_it_takes_from_furniture_what_it_has_put_there():
    robot, driver = fetched('book')
    driver.approach('counter')
    drive(robot, driver)
    assert robot.place('counter')
    until_done(robot)
    driver.go(flat().places['hall'])
    drive(robot, driver)
    assert driver.fetch('book')
    assert drive(robot, driver) is Driving.ARRIVED
    assert robot.pick('book')
    until_done(robot)
    assert robot.holding == 'book'
    assert robot.resting() == {}
    move(robot, -0.3, 0.0, 1.0)
    pass_time(robot, 1.0)
    assert height_m(robot, 'book') == pytest.approx(HOME[2], abs=0.03)


def test_nothing_is_put_where_there_is_nothing():
    robot, _ = fetched('ball')
    assert not robot.place('counter')
    assert not robot.place('roof')
    assert not Robot().place('sofa')
    assert robot.holding == 'ball'


def test_a_stop_holds_on_to_what_is_held():
    robot, driver = fetched('ball')
    driver.approach('coffee_table')
    drive(robot, driver)
    assert robot.place('coffee_table')
    pass_time(robot, 0.5)
    robot.stop_arm()
    at = robot.hand
    pass_time(robot, 1.0)
    assert (robot.holding, robot.hand) == ('ball', at)


def test_furniture_that_is_unknown_is_not_approached():
    driver = Driver(Robot())
    assert not driver.approach('roof')
    assert driver.state is Driving.BLOCKED
