"""The flat as the physics has it: things, people, doors, and the robots in it. No ROS."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import mujoco
import numpy as np
import numpy.typing as npt

from nemotron_ros.sim.walker import Walker
from nemotron_ros.sim.world import SOLE_ROBOT, Door, Pose, World, flat, mjcf

DOOR_MPS = 0.5
DOORWAY_M = 0.25
"""A door is not shut on whoever is nearer to the doorway than this."""
RESTS_M = 0.03
"""A thing whose underside is no further from a top lies on it."""


class Inhabitant(Protocol):
    """A robot that lives in it."""

    holding: str

    @property
    def pose(self) -> Pose:
        """Where it is."""

    def before_step(self) -> None:
        """Ask for forces."""

    def after_step(self) -> None:
        """See what has come of them."""

    def restart(self) -> None:
        """Begin anew, as the flat does."""


class Physics:
    """What moves in the flat. Not safe for several threads.

    :param robots: where each robot begins; one at the world's start if left out. Each of them
        adds itself to ``inhabitants``.
    """

    def __init__(
        self, world: World | None = None, robots: Mapping[str, Pose] | None = None
    ) -> None:
        self._at_start = world or flat()
        self.starts = dict(robots or {SOLE_ROBOT: self._at_start.start})
        self.model = mujoco.MjModel.from_xml_string(mjcf(self._at_start, self.starts))
        self.data = mujoco.MjData(self.model)
        self._step_s = float(self.model.opt.timestep)
        self.inhabitants: list[Inhabitant] = []
        self._mocap = {
            name: int(self.model.body(name).mocapid[0])
            for name in (
                *(person.name for person in self._at_start.people),
                *(door.shut.name for door in self._at_start.doors),
            )
        }
        self.reset()

    def reset(self) -> None:
        """Put everything back to the start, the robots as well."""
        mujoco.mj_resetData(self.model, self.data)
        self.world = self._at_start
        self._walkers = [Walker(person) for person in self.world.people]
        self._slid = {
            door.shut.name: 0.0 if door.shut.name in self.world.shut else 1.0
            for door in self.world.doors
        }
        for door in self.world.doors:
            self._place(door)
        for index, start in enumerate(self.starts.values()):
            self.data.qpos[3 * index + 2] = start.yaw
        mujoco.mj_forward(self.model, self.data)
        for inhabitant in self.inhabitants:
            inhabitant.restart()

    @property
    def time_s(self) -> float:
        """Simulated seconds since the start."""
        return float(self.data.time)

    @property
    def step_s(self) -> float:
        """Simulated seconds of one step."""
        return self._step_s

    def step(self) -> None:
        """Let one time step pass, for everybody."""
        for inhabitant in self.inhabitants:
            inhabitant.before_step()
        self._walk()
        self._slide()
        mujoco.mj_step(self.model, self.data)
        for inhabitant in self.inhabitants:
            inhabitant.after_step()

    def things(self) -> dict[str, tuple[float, float]]:
        """Return where each thing is."""
        return {
            thing.name: (float(position[0]), float(position[1]))
            for thing in self.world.things
            for position in [self.data.body(thing.name).xpos]
        }

    def resting(self) -> dict[str, str]:
        """Return on which piece of furniture things lie, those that lie on one."""
        found = {}
        for thing in self.world.things:
            x, y, z = self.data.body(thing.name).xpos
            for box in self.world.furniture:
                off_m = abs(z - thing.size[-1] - box.height)
                if box.distance_m(x, y) == 0 and off_m < RESTS_M and not self.is_held(thing.name):
                    found[thing.name] = box.name
        return found

    def is_held(self, thing: str) -> bool:
        """Whether a robot holds it."""
        return any(thing == inhabitant.holding for inhabitant in self.inhabitants)

    def people(self) -> dict[str, tuple[float, float]]:
        """Return where each person is."""
        return {walker.person.name: (walker.x, walker.y) for walker in self._walkers}

    def set_door(self, name: str, shut: bool) -> str:
        """Begin to open or to shut a door; return why it is not shut, empty if it is.

        :raise KeyError: if there is no such door.
        """
        door = next((door for door in self.world.doors if door.shut.name == name), None)
        if door is None:
            raise KeyError(name)
        if shut and self._in_doorway(door):
            return 'something stands in the doorway'
        others = self.world.shut - {name}
        self.world = replace(self.world, shut=others | {name} if shut else others)
        return ''

    def rays(
        self,
        origin: tuple[float, float, float],
        directions: npt.NDArray[np.float64],
        without: int,
        longest_m: float,
    ) -> npt.NDArray[np.float32]:
        """Return how far each ray goes, metres; inf is none.

        :param without: the body that no ray sees.
        """
        count = len(directions)
        hit = np.full(count, -1, dtype=np.int32)
        ranges = np.zeros(count)
        # What can be carried is not seen, so that a robot does not see what it holds.
        groups = np.array([1, 1, 0, 0, 0, 0], dtype=np.uint8)
        mujoco.mj_multiRay(
            self.model,
            self.data,
            np.array(origin),
            directions.ravel(),
            groups,
            1,
            without,
            hit,
            ranges,
            None,
            count,
            longest_m,
        )
        return np.where(ranges < 0, np.inf, ranges).astype(np.float32)

    def _walk(self) -> None:
        if not self._walkers:
            return
        robots = [(robot.pose.x, robot.pose.y) for robot in self.inhabitants]
        shut = [door.shut for door in self.world.doors if door.shut.name in self.world.shut]
        for walker in self._walkers:
            walker.step(self.step_s, robots, shut)
            self.data.mocap_pos[self._mocap[walker.person.name]][:2] = (walker.x, walker.y)

    def _slide(self) -> None:
        for door in self.world.doors:
            name = door.shut.name
            wanted = 0.0 if name in self.world.shut else 1.0
            if self._slid[name] == wanted:
                continue
            part = DOOR_MPS * self.step_s / math.hypot(door.slide_x, door.slide_y)
            off = wanted - self._slid[name]
            self._slid[name] += max(-part, min(part, off))
            self._place(door)

    def _place(self, door: Door) -> None:
        slid = self._slid[door.shut.name]
        self.data.mocap_pos[self._mocap[door.shut.name]][:2] = (
            door.shut.x + slid * door.slide_x,
            door.shut.y + slid * door.slide_y,
        )

    def _in_doorway(self, door: Door) -> bool:
        robots = ((robot.pose.x, robot.pose.y) for robot in self.inhabitants)
        there = (*robots, *self.people().values(), *self.things().values())
        return any(door.shut.distance_m(x, y) < DOORWAY_M for x, y in there)
