"""The robot in the flat: physics, drive, laser and gripper. No ROS."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from nemotron_ros.sim.noise import Noise, Slip
from nemotron_ros.sim.physics import Physics
from nemotron_ros.sim.velocity import WatchedVelocity
from nemotron_ros.sim.world import (
    GRIPPER_M,
    PERSON_RADIUS_M,
    ROBOT_RADIUS_M,
    SOLE_ROBOT,
    Pose,
    World,
)

ACCELERATION_MPS2 = 1.5
TURN_ACCELERATION_RADPS2 = 6.0
REACH_M = 0.45
"""The gripper closes on a thing no further than this from where it holds."""
CARRY_HEIGHT_M = 0.42
APART_S = 0.5
"""One that scrapes along a wall loses it for moments; a touch after so long is a new one."""
BEAMS = 180
MAX_RANGE_M = 8.0
SCAN_HEIGHT_M = 0.25
PATH_STEP_M = 0.02
WHEEL_RADIUS_M = 0.05
TRACK_M = 0.3


TOUCH_M = 0.005
NEAR_MISS_M = 0.25
"""A robot that moves with less air than this to a person has nearly touched them."""
MOVES_MPS = 0.05


class Robot:
    """A round robot with a laser and a gripper. Not safe for several threads.

    :param world: the flat, in which it is alone.
    :param battery: charge at the start, 0 to 1.
    :param noise: how far it is from ideal.
    :param physics: a flat that it shares, in place of ``world``.
    :param name: which of the robots that begin there it is.
    """

    def __init__(
        self,
        world: World | None = None,
        battery: float = 0.87,
        noise: Noise | None = None,
        physics: Physics | None = None,
        name: str = SOLE_ROBOT,
    ) -> None:
        self.physics = physics or Physics(world)
        self._model, self._data = self.physics.model, self.physics.data
        self._name = name
        self._start = self.physics.starts[name]
        self._start_battery = battery
        self._noise = noise or Noise()
        first = list(self.physics.starts).index(name) * 3
        self._own = slice(first, first + 3)
        self._base = self._model.geom(f'{name} base').id
        self._body = self._model.body(name).id
        self._persons = [self._model.geom(person.name).id for person in self.world.people]
        angles = np.linspace(-math.pi, math.pi, BEAMS, endpoint=False)
        self._beams = np.stack([np.cos(angles), np.sin(angles), np.zeros(BEAMS)], axis=1)
        self.physics.inhabitants.append(self)
        self.restart()

    def reset(self) -> None:
        """Put everything in the flat back to the start."""
        self.physics.reset()

    def restart(self) -> None:
        """Begin anew; the physics has put it back already."""
        self._velocity = WatchedVelocity()
        self._command = (0.0, 0.0)
        self._slip = Slip(self._noise)
        self._slipping = (0.0, 0.0)
        self._touched_at_s = -math.inf
        self._met: dict[str, tuple[bool, bool]] = {}
        self.battery = self._start_battery
        self.holding = ''
        self.collisions = 0
        self.touches = 0
        self.near_misses = 0
        self.path_m = 0.0
        self.turned_rad = 0.0
        self.wheels_rad = (0.0, 0.0)
        self.path: deque[tuple[float, float]] = deque(maxlen=50_000)
        self.path.append((self.pose.x, self.pose.y))
        self._odometry = self.pose
        self._before = self.pose

    @property
    def world(self) -> World:
        """The flat that it is in, with its doors as they are."""
        return self.physics.world

    @property
    def time_s(self) -> float:
        """Simulated seconds since the start."""
        return self.physics.time_s

    @property
    def step_s(self) -> float:
        """Simulated seconds of one step."""
        return self.physics.step_s

    @property
    def pose(self) -> Pose:
        """Where the robot is; the heading is in [-pi, pi]."""
        x, y, yaw = self._data.qpos[self._own]
        start = self._start
        return Pose(start.x + float(x), start.y + float(y), math.remainder(yaw, math.tau))

    @property
    def twist(self) -> tuple[float, float]:
        """Speed along the heading, m/s, and turning rate, rad/s."""
        vx, vy, w = self._data.qvel[self._own]
        yaw = self.pose.yaw
        return float(vx * math.cos(yaw) + vy * math.sin(yaw)), float(w)

    @property
    def odometry(self) -> Pose:
        """Where it is by the turns of its wheels: at ``pose``, as long as they do not slip."""
        return self._odometry

    @property
    def wheel_twist(self) -> tuple[float, float]:
        """Speed and turning rate by the turns of its wheels."""
        left, right = self._wheels_mps()
        return (left + right) / 2, (right - left) / TRACK_M

    def command(self, v: float, w: float) -> None:
        """Ask for a speed, m/s, and a turning rate, rad/s; both are limited."""
        self._velocity.ask(v, w, self.time_s)

    def step(self) -> None:
        """Let one time step pass, for everything in the flat."""
        self.physics.step()

    def before_step(self) -> None:
        """Ask the physics for the velocity that it has come to by now."""
        wanted_v, wanted_w = self._velocity.at(self.time_s)
        dt = self.step_s
        v = _ramp(self._command[0], wanted_v, ACCELERATION_MPS2 * dt)
        w = _ramp(self._command[1], wanted_w, TURN_ACCELERATION_RADPS2 * dt)
        self._command = (v, w)
        self._before = self.pose
        self._slipping = self._slip.at(self.time_s)
        if self._noise.wheel_slip:
            left = (v - w * TRACK_M / 2) * (1 - self._slipping[0])
            right = (v + w * TRACK_M / 2) * (1 - self._slipping[1])
            v, w = (left + right) / 2, (right - left) / TRACK_M
        yaw = self._before.yaw
        self._data.ctrl[self._own] = (v * math.cos(yaw), v * math.sin(yaw), w)

    def things(self) -> dict[str, tuple[float, float]]:
        """Return where each thing is."""
        return self.physics.things()

    def people(self) -> dict[str, tuple[float, float]]:
        """Return where each person is."""
        return self.physics.people()

    def close_gripper(self) -> str:
        """Grab the nearest thing in reach; return its name, empty if there is none."""
        if self.holding:
            return self.holding
        pose = self.pose
        x = pose.x + GRIPPER_M * math.cos(pose.yaw)
        y = pose.y + GRIPPER_M * math.sin(pose.yaw)
        near = [
            (math.hypot(tx - x, ty - y), name)
            for name, (tx, ty) in self.things().items()
            if not self.physics.is_held(name)
        ]
        distance_m, name = min(near, default=(math.inf, ''))
        if distance_m > REACH_M:
            return ''
        equality = self._model.equality(f'{self._name} {name}').id
        # Where the robot holds it: before itself, above the floor, upright.
        self._model.eq_data[equality, 3:6] = (GRIPPER_M, 0.0, CARRY_HEIGHT_M)
        self._model.eq_data[equality, 6:10] = (1.0, 0.0, 0.0, 0.0)
        self._data.eq_active[equality] = 1
        self.holding = name
        return name

    def open_gripper(self) -> str:
        """Let go; return the name of what was held, empty if nothing was."""
        held, self.holding = self.holding, ''
        if held:
            self._data.eq_active[self._model.equality(f'{self._name} {held}').id] = 0
        return held

    def scan(self) -> npt.NDArray[np.float32]:
        """Return the distances, metres, of beams from -pi to pi about the heading; inf is none."""
        pose = self.pose
        cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        origin = (pose.x, pose.y, SCAN_HEIGHT_M)
        return self.physics.rays(origin, self._beams @ turn.T, self._body, MAX_RANGE_M)

    def docked(self) -> bool:
        """Whether it stands in the dock."""
        return self.world.is_docked(self.pose)

    def after_step(self) -> None:
        """Account for what the physics has made of it."""
        before, after, dt = self._before, self.pose, self.step_s
        way_m = math.hypot(after.x - before.x, after.y - before.y)
        self.path_m += way_m
        self.turned_rad += math.remainder(after.yaw - before.yaw, math.tau)
        left_mps, right_mps = self._wheels_mps()
        left, right = self.wheels_rad
        self.wheels_rad = (
            left + left_mps * dt / WHEEL_RADIUS_M,
            right + right_mps * dt / WHEEL_RADIUS_M,
        )
        self._odometry = self._counted(dt) if self._noise.wheel_slip else after
        last = self.path[-1]
        if math.hypot(after.x - last[0], after.y - last[1]) > PATH_STEP_M:
            self.path.append((after.x, after.y))
        change = 0.002 * dt if self.docked() else -0.0005 * way_m
        self.battery = max(0.0, min(1.0, self.battery + change))
        if self._data.ncon:
            self._count_collisions()
        if self._persons:
            self._count_encounters(after)

    def _wheels_mps(self) -> tuple[float, float]:
        """Return how fast the rims of both wheels turn."""
        v, w = self.twist
        slip_left, slip_right = self._slipping
        apart = w * TRACK_M / 2
        return (v - apart) / (1 - slip_left), (v + apart) / (1 - slip_right)

    def _counted(self, dt: float) -> Pose:
        """Return the odometry after a step of wheels that slip."""
        x, y, yaw = self._odometry.x, self._odometry.y, self._odometry.yaw
        v, w = self.wheel_twist
        middle = yaw + w * dt / 2
        return Pose(
            x + v * math.cos(middle) * dt,
            y + v * math.sin(middle) * dt,
            math.remainder(yaw + w * dt, math.tau),
        )

    def _count_collisions(self) -> None:
        """Count touches; the base hovers: what it can touch are walls, furniture and others."""
        pairs = self._data.contact.geom
        own = pairs[(pairs == self._base).any(axis=1)]
        if len(own) and not np.isin(own, self._persons).any(axis=1).all():
            self.collisions += self.time_s - self._touched_at_s > APART_S
            self._touched_at_s = self.time_s

    def _count_encounters(self, pose: Pose) -> None:
        """Count people who were touched, or nearly; each once, until there is air again."""
        moves = abs(self.twist[0]) > MOVES_MPS
        for name, (x, y) in self.physics.people().items():
            air_m = math.hypot(x - pose.x, y - pose.y) - ROBOT_RADIUS_M - PERSON_RADIUS_M
            touched, missed = self._met.get(name, (False, False))
            if air_m < TOUCH_M:
                self.touches += not touched
                touched = True
            elif air_m < NEAR_MISS_M and moves:
                self.near_misses += not (touched or missed)
                missed = True
            elif air_m > 2 * NEAR_MISS_M:
                touched = missed = False
            self._met[name] = (touched, missed)


def _ramp(now: float, wanted: float, step: float) -> float:
    return now + max(-step, min(step, wanted - now))
