"""A picture of the flat from above, with the path that was driven."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from nemotron_ros.sim.scene import Scene
from nemotron_ros.sim.world import (
    PERSON_COLOUR,
    PERSON_RADIUS_M,
    ROBOT_COLOUR,
    ROBOT_RADIUS_M,
    Box,
    Pose,
    World,
)

WIDTH_PX = 1200
SCALE = 2
"""It is drawn so many times larger and scaled down, for smooth edges."""
MARGIN_M = 0.25
NAME_M = 0.22
"""How far from the middle of a thing's name another one would be too near."""
FLOOR = (245, 241, 232)
INK = (38, 50, 56)
WHITE = (255, 255, 255)

Colour = tuple[int, int, int]


class _Plan:
    """Draws in metres."""

    def __init__(self, world: World, image: Image.Image) -> None:
        self._px_per_m = image.width / (2 * (world.half_x + MARGIN_M))
        self._left = -world.half_x - MARGIN_M
        self._top = world.half_y + MARGIN_M
        self.image = image
        self.draw = ImageDraw.Draw(image)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (x - self._left) * self._px_per_m, (self._top - y) * self._px_per_m

    def _font(self, size_m: float) -> Any:
        return ImageFont.load_default(size=max(8, round(self.length(size_m))))

    def length(self, metres: float) -> float:
        return metres * self._px_per_m

    def box(self, box: Box, colour: Colour, radius_m: float = 0.0) -> None:
        corners = [
            self.at(box.x - box.half_x, box.y + box.half_y),
            self.at(box.x + box.half_x, box.y - box.half_y),
        ]
        self.draw.rounded_rectangle(corners, self.length(radius_m), fill=colour)

    def disc(self, x: float, y: float, radius_m: float, colour: Colour) -> None:
        px, py = self.at(x, y)
        r = self.length(radius_m)
        self.draw.ellipse((px - r, py - r, px + r, py + r), fill=colour)

    def text(self, x: float, y: float, words: str, size_m: float, colour: Colour) -> None:
        """Write with a rim of floor, so that a path below it does not make it unreadable."""
        px, rim = self.at(x, y), round(self.length(0.03))
        font = self._font(size_m)
        self.draw.text(px, words, colour, font, anchor='mm', stroke_width=rim, stroke_fill=FLOOR)

    def label(self, box: Box, size_m: float) -> None:
        """Write a box's label in it: upwards if it is too narrow, dark if the box is light."""
        font = self._font(size_m)
        left, top, right, bottom = map(round, font.getbbox(box.label))
        words = Image.new('L', (right - left, bottom - top))
        ImageDraw.Draw(words).text((-left, -top), box.label, 255, font)
        if words.width > self.length(2 * box.half_x) * 0.9:
            words = words.transpose(Image.Transpose.ROTATE_90)
        x, y = self.at(box.x, box.y)
        corner = round(x - words.width / 2), round(y - words.height / 2)
        self.image.paste(INK if sum(box.colour) > 3 * 160 else WHITE, corner, words)


class TopView:
    """The flat from above; what does not move is drawn once, for many pictures.

    :param width_px: of the pictures; their height is in proportion.
    """

    def __init__(self, world: World, width_px: int = WIDTH_PX) -> None:
        self._world = world
        height_px = width_px * (world.half_y + MARGIN_M) / (world.half_x + MARGIN_M)
        self._size = (width_px, round(height_px))
        large = (width_px * SCALE, round(height_px * SCALE))
        plan = _Plan(world, Image.new('RGB', large, WHITE))
        plan.box(Box('floor', 0, 0, world.half_x, world.half_y), FLOOR)
        for room in world.rooms:
            plan.text(room.x, room.y, room.name, 0.26, (200, 190, 170))
        for wall in world.walls:
            plan.box(wall, wall.colour)
        for item in world.furniture:
            plan.box(item, item.colour, 0.05)
            plan.label(item, 0.15)
        dock = world.dock
        plan.box(Box('dock', dock.x, -world.half_y + 0.12, 0.22, 0.07), (255, 193, 7), 0.03)
        plan.text(*_dock_label(world), 'dock', 0.15, INK)
        self._empty = plan.image

    def picture(self, scene: Scene) -> Image.Image:
        """Return the flat with the paths, and who and what is in it."""
        plan = _Plan(self._world, self._empty.copy())
        for door in scene.world.doors:
            if door.shut.name in scene.world.shut:
                plan.box(door.shut, door.shut.colour)
        for robot in scene.robots:
            _path(plan, robot.path)
        for name, (x, y) in scene.people.items():
            plan.disc(x, y, PERSON_RADIUS_M, PERSON_COLOUR)
            plan.text(x, y, name, 0.15, INK)
        for robot in scene.robots:
            _robot(plan, robot.pose)
        _things(plan, scene)
        return plan.image.resize(self._size, Image.Resampling.LANCZOS)


def draw(scene: Scene, path: Path) -> None:
    """Write the flat as it is in a moment as a PNG file.

    :raise OSError: if it can't be written.
    """
    picture = TopView(scene.world).picture(scene)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def colour_at(part: float) -> Colour:
    """Return the colour of a path where so much of it is driven, 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(0.6 * (1 - part), 0.75, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def _dock_label(world: World) -> tuple[float, float]:
    return world.dock.x + 0.48, -world.half_y + 0.15


def _things(plan: _Plan, scene: Scene) -> None:
    """Draw each thing, with its name where there is room for it: below it, if possible."""
    world, things = scene.world, scene.things
    taken = [(robot.pose.x, robot.pose.y, ROBOT_RADIUS_M) for robot in scene.robots]
    taken.append((*_dock_label(world), NAME_M))
    taken += [(x, y, 0.08) for x, y in things.values()]
    for thing in world.things:
        x, y = things[thing.name]
        plan.disc(x, y, 0.08, INK)
        plan.disc(x, y, 0.065, thing.colour)

    def room_m(spot: tuple[float, float]) -> float:
        x, y = spot
        boxes = [box.distance_m(x, y) for box in (*world.walls, *world.furniture)]
        discs = [math.hypot(x - tx, y - ty) - radius_m for tx, ty, radius_m in taken]
        return min(0.1, *boxes, *discs)

    for name, (x, y) in things.items():
        spot = max(((x, y - 0.2), (x, y + 0.2), (x + 0.33, y), (x - 0.33, y)), key=room_m)
        taken.append((*spot, NAME_M))
        plan.text(*spot, name, 0.15, INK)


def _path(plan: _Plan, points: Sequence[tuple[float, float]]) -> None:
    """Draw the path from blue at its start to red at its end."""
    width = round(plan.length(0.05))
    for index in range(len(points) - 1):
        colour = colour_at(index / max(1, len(points) - 2))
        plan.draw.line([plan.at(*points[index]), plan.at(*points[index + 1])], colour, width)
        plan.disc(*points[index], 0.025, colour)
    if points:
        plan.disc(*points[0], 0.09, WHITE)
        plan.disc(*points[0], 0.06, (21, 101, 192))


def _robot(plan: _Plan, pose: Pose) -> None:
    plan.disc(pose.x, pose.y, ROBOT_RADIUS_M, INK)
    plan.disc(pose.x, pose.y, ROBOT_RADIUS_M * 0.86, ROBOT_COLOUR)
    nose = [
        plan.at(
            pose.x + reach * math.cos(pose.yaw + turn), pose.y + reach * math.sin(pose.yaw + turn)
        )
        for reach, turn in ((0.16, 0.0), (0.11, 2.4), (0.05, math.pi), (0.11, -2.4))
    ]
    plan.draw.polygon(nose, fill=WHITE)
