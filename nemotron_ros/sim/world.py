"""The flat: rooms, furniture, places and things, and the physics model made of them.

Metres and radians; x to the right of the plan, y up, headings anticlockwise
from +x (REP-103).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

WALL_HEIGHT_M = 1.0
ROBOT_RADIUS_M = 0.2
GRIPPER_M = 0.28
"""How far before the robot's middle the gripper holds things."""
PERSON_RADIUS_M = 0.2
PERSON_HEIGHT_M = 1.7
CAMERA_M, CAMERA_HEIGHT_M = ROBOT_RADIUS_M, 0.18
"""Where the camera is: so far before the robot's middle, and so high."""
CAMERA_FOV_RAD = 1.2
"""From its left to its right edge; it is four wide by three high."""
ROBOT_COLOUR = (118, 185, 0)
FLOOR_COLOUR = (244, 239, 230)
PERSON_COLOUR = (186, 104, 200)
SOLE_ROBOT = 'robot'
"""The name of the body, in the physics, of a robot that is alone."""


@dataclass(frozen=True)
class Pose:
    """A position and a heading."""

    x: float
    y: float
    yaw: float


@dataclass(frozen=True)
class Box:
    """A wall or a piece of furniture that stands square to the axes."""

    name: str
    x: float
    y: float
    half_x: float
    half_y: float
    height: float = 0.5
    colour: tuple[int, int, int] = (150, 150, 150)
    label: str = ''

    def distance_m(self, x: float, y: float) -> float:
        """Return how far a point is from it; 0 inside."""
        return math.hypot(
            max(0.0, abs(x - self.x) - self.half_x), max(0.0, abs(y - self.y) - self.half_y)
        )


@dataclass(frozen=True)
class Thing:
    """Something to pick up. ``size`` is its half extent."""

    name: str
    x: float
    y: float
    shape: str
    size: tuple[float, ...]
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Door:
    """A sliding door: where it stands when it is shut, and how far it slides into the wall."""

    shut: Box
    slide_x: float
    slide_y: float


@dataclass(frozen=True)
class Person:
    """Somebody who walks from point to point of a route, and back."""

    name: str
    route: tuple[tuple[float, float], ...]
    speed_mps: float = 0.7


@dataclass(frozen=True)
class Room:
    """A named room, for the plan."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class World:
    """Everything that is in the flat."""

    half_x: float
    half_y: float
    walls: tuple[Box, ...]
    furniture: tuple[Box, ...]
    things: tuple[Thing, ...]
    rooms: tuple[Room, ...]
    places: dict[str, Pose]
    dock: Pose
    start: Pose
    doors: tuple[Door, ...] = ()
    people: tuple[Person, ...] = ()
    shut: frozenset[str] = frozenset()
    """Names of the doors that are not open."""

    @property
    def standing(self) -> tuple[Box, ...]:
        """What a robot can't pass: walls, furniture, and the doors that are shut."""
        doors = (door.shut for door in self.doors if door.shut.name in self.shut)
        return (*self.walls, *self.furniture, *doors)

    def is_docked(self, pose: Pose) -> bool:
        """Whether a robot with this pose stands in the dock."""
        near = math.hypot(pose.x - self.dock.x, pose.y - self.dock.y) < 0.12
        return near and abs(math.remainder(pose.yaw - self.dock.yaw, math.tau)) < 0.2


def _wall(name: str, x0: float, y0: float, x1: float, y1: float) -> Box:
    thick = 0.05
    return Box(
        name,
        (x0 + x1) / 2,
        (y0 + y1) / 2,
        abs(x1 - x0) / 2 + thick,
        abs(y1 - y0) / 2 + thick,
        WALL_HEIGHT_M,
        (70, 74, 82),
    )


def _door(name: str, x0: float, y0: float, x1: float, y1: float) -> Door:
    """Return a door between two posts, thinner than the wall that it slides into."""
    thick = 0.03
    half_x, half_y = max(thick, abs(x1 - x0) / 2), max(thick, abs(y1 - y0) / 2)
    box = Box(name, (x0 + x1) / 2, (y0 + y1) / 2, half_x, half_y, WALL_HEIGHT_M, (255, 167, 38))
    return Door(box, -abs(x1 - x0), abs(y1 - y0))


PEOPLE = (
    Person('ann', ((0.5, -2.4), (0.4, -1.25), (2.0, -1.2), (2.75, -0.1), (2.75, 1.5), (1.9, 1.4))),
    Person('ben', ((-2.6, 1.15), (-2.05, 0.95), (-2.05, -0.8), (-2.4, -2.4)), 0.5),
    Person('eve', ((3.1, -0.4), (1.7, -2.3)), 0.9),
)
"""Who may be there, the first ones first."""


STARTS = (
    Pose(-2.5, -1.3, 0.0),
    Pose(2.2, -1.2, math.pi),
    Pose(-1.3, 1.6, -math.pi / 2),
    Pose(2.5, 1.6, math.pi),
)
"""Where robots begin; one that is alone at the first."""


def flat(people: int = 0) -> World:
    """Return a flat of 8 m by 6 m: living room, hall, bedroom, kitchen.

    :param people: how many of ``PEOPLE`` walk in it.
    """
    return World(
        half_x=4.0,
        half_y=3.0,
        walls=(
            _wall('south', -4, -3, 4, -3),
            _wall('north', -4, 3, 4, 3),
            _wall('west', -4, -3, -4, 3),
            _wall('east', 4, -3, 4, 3),
            _wall('middle_1', -4, 0.5, -2.6, 0.5),
            _wall('middle_2', -1.5, 0.5, 2.2, 0.5),
            _wall('middle_3', 3.3, 0.5, 4, 0.5),
            _wall('hall_1', 1, -3, 1, -1.85),
            _wall('hall_2', 1, -0.65, 1, 0.5),
            _wall('between', 0.5, 0.5, 0.5, 3),
        ),
        furniture=(
            Box('sofa', -3.55, -1.3, 0.38, 0.9, 0.45, (96, 125, 139), 'sofa'),
            Box('television', -1.0, -2.75, 0.7, 0.18, 0.6, (121, 85, 72), 'TV'),
            Box('coffee_table', -1.3, -0.15, 0.4, 0.22, 0.4, (161, 136, 127), 'table'),
            Box('cabinet', 3.72, -1.5, 0.2, 0.6, 0.8, (161, 136, 127), 'cabinet'),
            Box('bed', -3.0, 2.25, 0.9, 0.65, 0.5, (144, 164, 174), 'bed'),
            Box('wardrobe', 0.15, 1.5, 0.25, 0.6, 1.0, (121, 85, 72), 'wardrobe'),
            Box('counter', 2.7, 2.72, 1.15, 0.23, 0.9, (176, 190, 197), 'counter'),
            Box('fridge', 3.66, 1.2, 0.28, 0.3, 1.0, (207, 216, 220), 'fridge'),
        ),
        things=(
            Thing('cup', 1.25, 2.2, 'cylinder', (0.04, 0.05), (229, 57, 53)),
            Thing('ball', -0.1, -2.1, 'sphere', (0.06,), (251, 140, 0)),
            Thing('book', -1.5, 2.5, 'box', (0.09, 0.06, 0.02), (67, 160, 71)),
        ),
        rooms=(
            Room('living room', -1.5, -1.85),
            Room('hall', 2.5, -0.3),
            Room('bedroom', -1.0, 1.0),
            Room('kitchen', 1.55, 0.95),
        ),
        places={
            'kitchen': Pose(2.5, 1.6, math.pi / 2),
            'living_room': Pose(-1.4, -1.3, 0.0),
            'bedroom': Pose(-1.3, 1.6, math.pi / 2),
            'hall': Pose(2.2, -1.2, 0.0),
        },
        dock=Pose(2.4, -2.55, -math.pi / 2),
        start=STARTS[0],
        doors=(
            _door('bedroom_door', -2.55, 0.5, -1.55, 0.5),
            _door('kitchen_door', 2.25, 0.5, 3.25, 0.5),
            _door('hall_door', 1.0, -1.8, 1.0, -0.7),
        ),
        people=PEOPLE[:people],
    )


def mjcf(world: World, robots: Mapping[str, Pose] | None = None) -> str:
    """Return the physics model.

    :param robots: where each robot begins; one at the world's start if left out.

    The base slides and turns in the plane, driven by velocity servos of bounded
    force, so that it takes time to gather speed and furniture stops it. Things
    touch the floor and the furniture, and not the robot that carries them; what
    rolls comes to rest, as on a carpet. People and doors move as they will.
    """
    robots = robots or {SOLE_ROBOT: world.start}
    fov_y = 2 * math.atan(math.tan(CAMERA_FOV_RAD / 2) * 3 / 4)
    parts = [
        '<mujoco model="flat"><option timestep="0.005" integrator="implicitfast"/>',
        '<visual><map znear="0.02" zfar="20"/></visual>'
        '<default><geom friction="0.6 0.005 0.0001"/></default><worldbody>'
        '<light directional="true" pos="0 0 10" dir="-0.4 0.2 -0.9" castshadow="false"/>',
        f'<geom name="floor" type="plane" size="{world.half_x} {world.half_y} 0.1" '
        f'contype="3" conaffinity="3" {_rgba(FLOOR_COLOUR)}/>',
    ]
    parts += [
        f'<geom name="{box.name}" type="box" pos="{box.x} {box.y} {box.height / 2}" '
        f'size="{box.half_x} {box.half_y} {box.height / 2}" contype="3" conaffinity="3" '
        f'{_rgba(box.colour)}/>'
        for box in (*world.walls, *world.furniture)
    ]
    for robot, start in robots.items():
        parts.append(
            f'<body name="{robot}" pos="{start.x} {start.y} 0">'
            f'<joint name="{robot} x" type="slide" axis="1 0 0"/>'
            f'<joint name="{robot} y" type="slide" axis="0 1 0"/>'
            f'<joint name="{robot} yaw" type="hinge" axis="0 0 1"/>'
            f'<geom name="{robot} base" type="cylinder" size="{ROBOT_RADIUS_M} 0.15" '
            'pos="0 0 0.18" mass="12" group="1" contype="1" conaffinity="1" friction="0.2" '
            f'{_rgba(ROBOT_COLOUR)}/><camera name="{robot} camera" '
            f'pos="{CAMERA_M + 0.01} 0 {CAMERA_HEIGHT_M}" xyaxes="0 -1 0 0 0 1" '
            f'fovy="{math.degrees(fov_y):.3f}"/></body>'
        )
    for thing in world.things:
        size = ' '.join(map(str, thing.size))
        parts.append(
            f'<body name="{thing.name}" pos="{thing.x} {thing.y} {thing.size[-1]}">'
            f'<freejoint name="{thing.name}"/><geom name="{thing.name}" type="{thing.shape}" '
            f'size="{size}" mass="0.2" group="2" contype="2" conaffinity="2" condim="6" '
            f'friction="0.6 0.005 0.004" {_rgba(thing.colour)}/></body>'
        )
    for person in world.people:
        x, y = person.route[0]
        parts.append(
            f'<body name="{person.name}" mocap="true" pos="{x} {y} {PERSON_HEIGHT_M / 2}">'
            f'<geom name="{person.name}" type="cylinder" '
            f'size="{PERSON_RADIUS_M} {PERSON_HEIGHT_M / 2}" {_rgba(PERSON_COLOUR)}/></body>'
        )
    for door in world.doors:
        box = door.shut
        parts.append(
            f'<body name="{box.name}" mocap="true" pos="{box.x} {box.y} {box.height / 2}">'
            f'<geom name="{box.name}" type="box" size="{box.half_x} {box.half_y} '
            f'{box.height / 2}" contype="3" conaffinity="3" {_rgba(box.colour)}/></body>'
        )
    parts.append('</worldbody><equality>')
    parts += [
        f'<weld name="{robot} {thing.name}" body1="{robot}" body2="{thing.name}" active="false"/>'
        for robot in robots
        for thing in world.things
    ]
    parts.append('</equality><actuator>')
    for robot in robots:
        parts.append(
            f'<velocity joint="{robot} x" kv="400" forcerange="-60 60"/>'
            f'<velocity joint="{robot} y" kv="400" forcerange="-60 60"/>'
            f'<velocity joint="{robot} yaw" kv="20" forcerange="-8 8"/>'
        )
    parts.append('</actuator></mujoco>')
    return ''.join(parts)


def _rgba(colour: tuple[int, int, int]) -> str:
    return 'rgba="' + ' '.join(f'{part / 255:.3f}' for part in colour) + ' 1"'
