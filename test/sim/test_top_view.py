"""The picture from above: what is on it, and that its names can be read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from flat_robot import drive, move, robot_at
from PIL import Image

from nemotron_ros.sim.driver import Driver
from nemotron_ros.sim.robot import Robot
from nemotron_ros.sim.scene import scene_of
from nemotron_ros.sim.top_view import FLOOR, MARGIN_M, WIDTH_PX, _Plan, draw
from nemotron_ros.sim.world import GRIPPER_M, ROBOT_RADIUS_M, flat

Colour = tuple[int, int, int]


class Picture:
    """A picture that was drawn, looked at in metres."""

    def __init__(self, robot: Robot, path: Path) -> None:
        draw(scene_of(robot), path)
        with Image.open(path) as image:
            assert image.format == 'PNG'
            self.image = image.convert('RGB')

    def at(self, x: float, y: float) -> Colour:
        """Return the colour of a point of the flat."""
        world = flat()
        px_per_m = self.image.width / (2 * (world.half_x + MARGIN_M))
        px = (x + world.half_x + MARGIN_M) * px_per_m
        py = (world.half_y + MARGIN_M - y) * px_per_m
        colour = self.image.getpixel((round(px), round(py)))
        assert isinstance(colour, tuple)
        return colour[:3]


def alike(a: Colour, b: Colour) -> bool:
    """Whether two colours are the same, but for what scaling down does."""
    return max(abs(p - q) for p, q in zip(a, b, strict=True)) < 12


@pytest.fixture
def trip(tmp_path: Path) -> tuple[Robot, Picture]:
    """Give a robot that was driven to the kitchen, and its picture."""
    robot = Robot()
    driver = Driver(robot)
    driver.go(flat().places['kitchen'])
    drive(robot, driver)
    return robot, Picture(robot, tmp_path / 'new' / 'folder' / 'top.png')


def test_size_is_that_of_the_flat(trip):
    image = trip[1].image
    assert image.width == WIDTH_PX
    proportion = (flat().half_y + MARGIN_M) / (flat().half_x + MARGIN_M)
    assert image.height == pytest.approx(WIDTH_PX * proportion, abs=1)


def test_path_is_drawn_where_it_was_driven_from_blue_to_red(trip):
    robot, picture = trip
    points = list(robot.path)
    drawn = [picture.at(x, y) for x, y in points]
    on_floor = [colour for colour in drawn if alike(colour, FLOOR)]
    assert not on_floor
    red, _, blue = drawn[10]
    assert blue > red + 100
    end = next(
        colour
        for point, colour in reversed(list(zip(points, drawn, strict=True)))
        if math.dist(point, points[-1]) > ROBOT_RADIUS_M + 0.1
    )
    assert end[0] > end[2] + 100


def test_what_was_not_driven_has_no_path(trip, tmp_path):
    unmoved = Picture(Robot(), tmp_path / 'unmoved.png')
    robot, picture = trip
    differs = [(x, y) for x, y in robot.path if picture.at(x, y) != unmoved.at(x, y)]
    assert len(differs) > 0.95 * len(robot.path)


def test_walls_furniture_things_and_robot_are_where_they_are(trip):
    robot, picture = trip
    for box in (*flat().walls, *flat().furniture):
        corner = box.x - box.half_x + 0.07, box.y - box.half_y + 0.07
        inside = corner if box.half_x > 0.08 and box.half_y > 0.08 else (box.x, box.y)
        assert alike(picture.at(*inside), box.colour), box.name
    for thing in flat().things:
        assert alike(picture.at(thing.x, thing.y), thing.colour), thing.name
    back = robot.pose.yaw + math.pi
    body = picture.at(robot.pose.x + 0.14 * math.cos(back), robot.pose.y + 0.14 * math.sin(back))
    assert alike(body, (118, 185, 0))


@pytest.fixture
def spots(monkeypatch) -> Iterator[dict[str, tuple[float, float]]]:
    """Give where the names of things are written."""
    written: dict[str, tuple[float, float]] = {}
    text = _Plan.text

    def record(self, x, y, words, size_m, colour):
        written[words] = (x, y)
        text(self, x, y, words, size_m, colour)

    monkeypatch.setattr(_Plan, 'text', record)
    return written


@pytest.mark.parametrize(
    'pose',
    [
        (-1.5, 2.1, math.pi / 2),
        (-1.5, 2.1, 0.0),
        (1.73, 2.2, math.pi),
        (2.4, -2.5, -math.pi / 2),
        (-3.6, 0.1, math.pi),
        (3.6, -2.6, 0.0),
        (-0.1, -2.4, math.pi / 2),
    ],
    ids=[
        'before the book',
        'beside the book',
        'beside the cup',
        'dock',
        'west wall',
        'south-east',
        'ball',
    ],
)
def test_names_are_not_hidden_by_what_is_near(pose, spots, tmp_path):
    x, y, yaw = pose
    held_at = {'x': x + GRIPPER_M * math.cos(yaw), 'y': y + GRIPPER_M * math.sin(yaw)}
    cup, ball, book = flat().things
    world = replace(flat(), things=(cup, replace(ball, **held_at), book))
    robot = robot_at(*pose, world)
    robot.close_gripper()
    move(robot, 0.0, 0.0, 0.5)
    draw(scene_of(robot), tmp_path / 'top.png')
    names = {name: spots[name] for name in ('cup', 'ball', 'book', 'dock')}
    for (a, at_a), (b, at_b) in combinations(names.items(), 2):
        apart_x, apart_y = abs(at_a[0] - at_b[0]), abs(at_a[1] - at_b[1])
        assert apart_x > 0.33 or apart_y > 0.14, (a, b)
    for thing in ('cup', 'ball', 'book'):
        spot = names[thing]
        assert math.dist(spot, (robot.pose.x, robot.pose.y)) > ROBOT_RADIUS_M + 0.05, thing
        assert min(box.distance_m(*spot) for box in flat().walls) > 0.05, thing
        for other, at in robot.things().items():
            assert math.dist(spot, at) > 0.15, (thing, other)


def test_labels_stay_within_their_furniture(tmp_path):
    picture = Picture(Robot(), tmp_path / 'top.png')
    for box in flat().furniture:
        beside = [
            (x, y)
            for x in (box.x - box.half_x - 0.03, box.x + box.half_x + 0.03)
            for y in (box.y + 0.01 * i for i in range(-8, 9))
            if all(other.distance_m(x, y) > 0.02 for other in (*flat().walls, *flat().furniture))
        ]
        assert all(alike(picture.at(*point), FLOOR) for point in beside), box.name


def test_folder_that_can_not_be_written_is_an_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='file'):
        draw(scene_of(Robot()), tmp_path / 'file' / 'top.png')


def test_long_path_is_drawn_whole(tmp_path):
    robot = Robot()
    circle = [(math.cos(i / 500) * 0.5 + 2.3, math.sin(i / 500) * 0.5 - 1.2) for i in range(9000)]
    robot.path.clear()
    robot.path.extend(circle)
    picture = Picture(robot, tmp_path / 'top.png')
    assert not any(alike(picture.at(*a), FLOOR) for a, _ in pairwise(circle[::100]))
