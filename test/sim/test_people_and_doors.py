"""People walk, are seen and not run over; doors slide; several robots share one flat. No ROS."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flat_robot import drive, move, pass_time, robot_at

from nemotron_ros.sim.driver import Driver, Driving
from nemotron_ros.sim.physics import DOOR_MPS, Physics
from nemotron_ros.sim.robot import BEAMS, NEAR_MISS_M, Robot
from nemotron_ros.sim.route import is_free
from nemotron_ros.sim.scene import scene_of
from nemotron_ros.sim.top_view import FLOOR, TopView
from nemotron_ros.sim.walker import COMFORT_M, PATIENCE_S, PAUSE_S, Walker
from nemotron_ros.sim.world import (
    PEOPLE,
    PERSON_COLOUR,
    PERSON_RADIUS_M,
    ROBOT_RADIUS_M,
    STARTS,
    Person,
    Pose,
    World,
    flat,
)

STANDS = Person('tom', ((0.0, -1.3), (0.0, -1.3 + 1e-6)), 1e-9)
DOORS = {door.shut.name: door for door in flat().doors}


def with_person(person: Person, start: Pose) -> Robot:
    """Return a robot in a flat with one person."""
    return Robot(replace(flat(), people=(person,), start=start))


# People


@pytest.mark.parametrize('person', PEOPLE, ids=lambda person: person.name)
def test_routes_lead_past_everything(person):
    for (x0, y0), (x1, y1) in zip(person.route, person.route[1:], strict=False):
        for part in np.linspace(0, 1, 50):
            x, y = x0 + part * (x1 - x0), y0 + part * (y1 - y0)
            assert is_free(flat(), x, y, 0.02), (x, y)


def test_a_walker_walks_to_the_end_rests_and_comes_back():
    walker = Walker(Person('tom', ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)), 0.5))
    times = {}
    for step in range(1400):
        walker.step(0.005, [])
        here = round(walker.x, 3), round(walker.y, 3)
        times.setdefault(here, step * 0.005)
        if step * 0.005 > 5.0 and here == (1.0, 0.5):
            break
    assert times[(1.0, 0.0)] == pytest.approx(2.0, abs=0.05)
    assert times[(1.0, 1.0)] == pytest.approx(4.0, abs=0.05)
    assert step * 0.005 == pytest.approx(4.0 + PAUSE_S + 1.0, abs=0.1)


def test_a_walker_stops_for_a_robot_ahead_and_turns_round_when_it_stays():
    walker = Walker(Person('tom', ((0.0, 0.0), (4.0, 0.0)), 1.0))
    for _ in range(round((2.0 - COMFORT_M + PATIENCE_S - 0.2) / 0.005)):
        walker.step(0.005, [(2.0, 0.0)])
    assert walker.x == pytest.approx(2.0 - COMFORT_M, abs=0.02)
    for _ in range(400):
        walker.step(0.005, [(2.0, 0.0)])
    assert walker.x < 0.5


def test_a_walker_does_not_wait_for_a_robot_behind():
    walker = Walker(Person('tom', ((0.0, 0.0), (4.0, 0.0)), 1.0))
    for _ in range(200):
        walker.step(0.005, [(-0.3, 0.0)])
    assert walker.x == pytest.approx(1.0, abs=0.01)


def test_the_laser_sees_a_person_where_they_are():
    robot = with_person(STANDS, Pose(-1.5, -1.3, 0.0))
    robot.step()
    assert robot.scan()[BEAMS // 2] == pytest.approx(1.5 - PERSON_RADIUS_M, abs=0.01)


def test_a_robot_that_drives_by_itself_stops_for_a_person():
    robot = with_person(STANDS, Pose(-2.0, -1.3, 0.0))
    driver = Driver(robot)
    driver.go(Pose(0.6, -1.3, 0.0))
    assert drive(robot, driver) is Driving.BLOCKED
    assert robot.touches == 0
    assert robot.pose.x < 0.0 - PERSON_RADIUS_M - ROBOT_RADIUS_M


def test_a_touch_is_counted_once_and_is_no_collision():
    robot = with_person(STANDS, Pose(-1.0, -1.3, 0.0))
    move(robot, 0.4, 0.0, 3.0)
    assert (robot.touches, robot.collisions) == (1, 0)
    assert robot.pose.x == pytest.approx(-PERSON_RADIUS_M - ROBOT_RADIUS_M, abs=0.02)
    # Away, and there again: another one.
    move(robot, -0.4, 0.0, 2.5)
    move(robot, 0.4, 0.0, 3.0)
    assert robot.touches == 2


@pytest.mark.parametrize(('air_m', 'counted'), [(0.1, 1), (NEAR_MISS_M + 0.1, 0)])
def test_a_near_miss_is_one_that_drives_close_by(air_m, counted):
    aside = PERSON_RADIUS_M + ROBOT_RADIUS_M + air_m
    robot = with_person(STANDS, Pose(-1.2, -1.3 - aside, 0.0))
    move(robot, 0.4, 0.0, 5.0)
    assert robot.pose.x > 0.4
    assert (robot.touches, robot.near_misses) == (0, counted)


def test_who_stands_still_nearly_touches_nobody():
    robot = with_person(STANDS, Pose(-0.55, -1.3, 0.0))
    pass_time(robot, 2.0)
    assert (robot.touches, robot.near_misses) == (0, 0)


def test_people_of_the_flat_and_a_robot_on_its_way_get_along():
    robot = Robot(flat(people=3))
    driver = Driver(robot)
    for place in ('kitchen', 'bedroom', 'hall', 'living_room'):
        for _ in range(10):  # where somebody stands in the way it says so, and is sent again
            driver.go(flat().places[place])
            if drive(robot, driver) is Driving.ARRIVED:
                break
            pass_time(robot, 2.0)
        assert driver.state is Driving.ARRIVED, place
    assert robot.touches == 0


def test_a_reset_brings_people_back():
    robot = Robot(flat(people=2))
    begin = robot.people()
    pass_time(robot, 3.0)
    assert robot.people() != begin
    robot.reset()
    assert robot.people() == begin


# Doors


def seen_ahead_m(robot: Robot) -> float:
    return float(robot.scan()[BEAMS // 2])


def test_an_open_door_is_not_seen_and_a_shut_one_is():
    robot = robot_at(2.75, -0.5, math.pi / 2)
    assert seen_ahead_m(robot) > 2.0
    assert robot.physics.set_door('kitchen_door', shut=True) == ''
    pass_time(robot, 1.0 / DOOR_MPS + 0.1)
    assert seen_ahead_m(robot) == pytest.approx(1.0 - 0.03, abs=0.01)
    robot.physics.set_door('kitchen_door', shut=False)
    pass_time(robot, 1.0 / DOOR_MPS + 0.1)
    assert seen_ahead_m(robot) > 2.0


@pytest.mark.parametrize('name', DOORS)
def test_every_door_closes_its_doorway(name):
    box = DOORS[name].shut
    shut = replace(flat(), shut=frozenset({name}))
    for part in np.linspace(-1, 1, 21):
        x, y = box.x + part * box.half_x, box.y + part * box.half_y
        assert not any(wall.distance_m(x, y) == 0 for wall in flat().walls if abs(part) < 0.9)
        assert not is_free(shut, x, y, 0.0)


def test_there_is_no_way_through_a_shut_door_and_it_stops_the_robot():
    robot = Robot(replace(flat(), shut=frozenset({'kitchen_door'}), start=Pose(2.75, -0.5, 1.571)))
    driver = Driver(robot)
    driver.go(flat().places['kitchen'])
    assert driver.state is Driving.BLOCKED
    move(robot, 0.4, 0.0, 4.0)
    assert robot.pose.y == pytest.approx(0.5 - 0.03 - ROBOT_RADIUS_M, abs=0.02)
    assert robot.collisions == 1
    move(robot, -0.4, 0.0, 2.0)
    robot.physics.set_door('kitchen_door', shut=False)
    pass_time(robot, 3.0)
    driver.go(flat().places['kitchen'])
    assert drive(robot, driver) is Driving.ARRIVED


def test_a_door_is_not_shut_on_a_robot_a_person_or_a_thing():
    robot = robot_at(2.75, 0.5)
    assert robot.physics.set_door('kitchen_door', shut=True) == 'something stands in the doorway'
    assert robot.world.shut == frozenset()
    cup, *others = flat().things
    world = replace(flat(), things=(replace(cup, x=2.75, y=0.5), *others))
    assert Robot(world).physics.set_door('kitchen_door', shut=True)
    tom = replace(STANDS, route=((2.75, 0.5), (2.75, 0.6)))
    assert with_person(tom, STARTS[0]).physics.set_door('kitchen_door', shut=True)


def test_an_unknown_door_is_an_error():
    with pytest.raises(KeyError, match='cellar'):
        Physics().set_door('cellar', shut=True)


def test_people_wait_before_a_shut_door():
    robot = Robot(replace(flat(people=1), shut=frozenset({'hall_door'})))
    for _ in range(20):
        pass_time(robot, 1.0)
        assert robot.people()['ann'][0] < 0.9


def test_a_reset_puts_doors_back():
    robot = Robot(replace(flat(), shut=frozenset({'hall_door'})))
    robot.physics.set_door('hall_door', shut=False)
    pass_time(robot, 3.0)
    robot.reset()
    assert robot.world.shut == {'hall_door'}
    assert robot_at(0.4, -1.25, 0.0, robot.world).scan()[BEAMS // 2] < 0.7


def test_people_and_shut_doors_are_drawn():
    robot = Robot(replace(flat(people=1), shut=frozenset({'hall_door'})))
    picture = TopView(robot.world, 850).picture(scene_of(robot))

    def colour(x: float, y: float) -> tuple[int, ...]:
        found = picture.getpixel((round((x + 4.25) * 100), round((3.25 - y) * 100)))
        assert isinstance(found, tuple)
        return found

    x, y = robot.people()['ann']
    assert colour(x - 0.1, y + 0.12) == pytest.approx(PERSON_COLOUR, abs=12)
    door = DOORS['hall_door'].shut
    assert colour(door.x, door.y) == pytest.approx(door.colour, abs=12)
    picture = TopView(flat(), 850).picture(scene_of(Robot()))
    assert colour(door.x, door.y) == FLOOR


# Several robots


def two(world: World | None = None, apart_m: float = 2.0) -> tuple[Robot, Robot]:
    """Return two robots that face each other."""
    starts = {'a': Pose(-1.5, -1.3, 0.0), 'b': Pose(-1.5 + apart_m, -1.3, math.pi)}
    physics = Physics(world, starts)
    return Robot(physics=physics, name='a'), Robot(physics=physics, name='b')


def test_each_robot_obeys_its_own_commands():
    a, b = two()
    for _ in range(200):
        a.command(0.3, 0.0)
        b.command(0.0, 0.5)
        a.step()
    assert a.pose.x == pytest.approx(-1.5 + 0.3, abs=0.05)
    assert (a.pose.yaw, b.pose.x) == pytest.approx((0.0, 0.5), abs=0.01)
    assert math.remainder(b.pose.yaw - math.pi, math.tau) == pytest.approx(0.5, abs=0.08)
    assert a.time_s == b.time_s == pytest.approx(1.0)


def test_robots_see_and_stop_each_other():
    a, b = two()
    a.step()
    assert a.scan()[BEAMS // 2] == pytest.approx(2.0 - ROBOT_RADIUS_M, abs=0.01)
    for _ in range(1000):
        a.command(0.4, 0.0)
        a.step()
    assert math.dist((a.pose.x, a.pose.y), (b.pose.x, b.pose.y)) > 2 * ROBOT_RADIUS_M - 0.02
    assert a.collisions == b.collisions == 1


def test_a_thing_is_held_by_one_robot():
    cup, *others = flat().things
    a, b = two(replace(flat(), things=(replace(cup, x=-1.1, y=-1.3), *others)), apart_m=0.8)
    assert a.close_gripper() == 'cup'
    assert b.close_gripper() == ''
    a.open_gripper()
    assert b.close_gripper() == 'cup'


def test_a_robot_that_is_alone_and_one_of_several_are_the_same():
    a, _ = two()
    alone = robot_at(-1.5, -1.3)
    for robot in (a, alone):
        move(robot, 0.3, 0.2, 2.0)
    assert a.pose == pytest.approx(alone.pose, abs=1e-9) or (
        a.pose.x,
        a.pose.y,
        a.pose.yaw,
    ) == pytest.approx((alone.pose.x, alone.pose.y, alone.pose.yaw), abs=1e-6)


def test_every_start_is_free_and_away_from_the_others():
    for index, start in enumerate(STARTS):
        assert is_free(flat(), start.x, start.y), start
        for other in STARTS[:index]:
            assert math.dist((start.x, start.y), (other.x, other.y)) > 1.0
