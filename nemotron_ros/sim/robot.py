"""The robot in the flat: physics, drive, laser and gripper. No ROS."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import numpy.typing as npt

from nemotron_ros.sim.arm import CARRY_HEIGHT_M, HOME, Arm, Point
from nemotron_ros.sim.noise import Noise, Slip
from nemotron_ros.sim.physics import Physics
from nemotron_ros.sim.velocity import WatchedVelocity
from nemotron_ros.sim.world import (
    GRIPPER_M,
    PERSON_RADIUS_M,
    ROBOT_RADIUS_M,
    SOLE_ROBOT,
    Box,
    Pose,
    World,
)

ACCELERATION_MPS2 = 1.5
TURN_ACCELERATION_RADPS2 = 6.0
REACH_M = 0.45
"""The gripper closes on a thing no further than this from where it holds."""
CLEAR_M = 0.12
"""The hand comes from so far above, and lifts a thing so far before it draws it near."""
INSIDE_M = 0.1
"""A thing is put so far from the edge."""
LET_GO_M = 0.01
GRASP_M = 0.1
"""The hand closes on what is no further from it."""
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
        self._look()
        self._velocity = WatchedVelocity()
        self._command = (0.0, 0.0)
        self._slip = Slip(self._noise)
        self._slipping = (0.0, 0.0)
        self._touched_at_s = -math.inf
        self._met: dict[str, tuple[bool, bool]] = {}
        self.battery = self._start_battery
        self.holding = ''
        self._arm = Arm()
        self.collisions = 0
        self.touches = 0
        self.near_misses = 0
        self.path_m = 0.0
        self.turned_rad = 0.0
        self.wheels_rad = (0.0, 0.0)
        self.path: deque[tuple[float, float]] = deque(maxlen=50_000)
        self.path.append((self.pose.x, self.pose.y))
        self._odometry = self.pose

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
        return self._pose

    @property
    def twist(self) -> tuple[float, float]:
        """Speed along the heading, m/s, and turning rate, rad/s."""
        return self._twist

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
        if self._arm.moves:
            self._arm.step(dt)
            self._hold()
        v = _ramp(self._command[0], wanted_v, ACCELERATION_MPS2 * dt)
        w = _ramp(self._command[1], wanted_w, TURN_ACCELERATION_RADPS2 * dt)
        self._command = (v, w)
        self._slipping = self._slip.at(self.time_s)
        if self._noise.wheel_slip:
            left = (v - w * TRACK_M / 2) * (1 - self._slipping[0])
            right = (v + w * TRACK_M / 2) * (1 - self._slipping[1])
            v, w = (left + right) / 2, (right - left) / TRACK_M
        yaw = self._pose.yaw
        self._data.ctrl[self._own] = (v * math.cos(yaw), v * math.sin(yaw), w)

    def things(self) -> dict[str, tuple[float, float]]:
        """Return where each thing is."""
        return self.physics.things()

    def resting(self) -> dict[str, str]:
        """Return on which piece of furniture things are, those that are on one."""
        return self.physics.resting()

    def people(self) -> dict[str, tuple[float, float]]:
        """Return where each person is."""
        return self.physics.people()

    @property
    def hand(self) -> Point:
        """Where the hand is, seen from the robot."""
        return self._arm.hand

    @property
    def arm_moves(self) -> bool:
        """Whether the arm is on its way."""
        return self._arm.moves

    def stop_arm(self) -> None:
        """Leave the arm where it is."""
        self._arm.stop()

    def pick(self, name: str) -> bool:
        """Begin to take a thing, from the floor or from furniture; False if it is out of reach."""
        if self.holding or not self._is_in_reach(name):
            return False
        at = self._seen_from_here(name)
        above = (at[0], at[1], at[2] + CLEAR_M)
        near = (GRIPPER_M, 0.0, max(above[2], CARRY_HEIGHT_M))
        self._arm.go(above, at, lambda: self._grab(name), above, near, HOME)
        return True

    def place(self, furniture: str) -> bool:
        """Begin to put what is held on a piece of furniture ahead; False if that can't be."""
        box = next((box for box in self.world.furniture if box.name == furniture), None)
        ahead_m = None if box is None else self._ahead_inside_m(box)
        if box is None or ahead_m is None or not self.holding:
            return False
        thing = next(thing for thing in self.world.things if thing.name == self.holding)
        down_m = box.height + thing.size[-1] + LET_GO_M
        over = (ahead_m, 0.0, down_m + CLEAR_M)
        near = (GRIPPER_M, 0.0, over[2])
        self._arm.go(near, over, (ahead_m, 0.0, down_m), self._let_go, over, near, HOME)
        return True

    def close_gripper(self) -> str:
        """Grab the nearest thing in reach at once; return its name, empty if there is none."""
        if self.holding:
            return self.holding
        near = [
            (self._from_gripper_m(name), name) for name in self.things() if self._is_in_reach(name)
        ]
        if not near:
            return ''
        _, name = min(near)
        self._arm.hand = self._seen_from_here(name)
        self._grab(name)
        self._arm.go(HOME)
        return name

    def open_gripper(self) -> str:
        """Let go; return the name of what was held, empty if nothing was."""
        held = self.holding
        self._let_go()
        self._arm.go(HOME)
        return held

    def _let_go(self) -> None:
        held, self.holding = self.holding, ''
        if held:
            self._data.eq_active[self._model.equality(f'{self._name} {held}').id] = 0

    def _grab(self, name: str) -> None:
        """Close on a thing that is where the hand is; it may have been moved meanwhile."""
        if math.dist(self._seen_from_here(name), self._arm.hand) < GRASP_M:
            self.holding = name
            self._hold()
            self._data.eq_active[self._model.equality(f'{self._name} {name}').id] = 1

    def _hold(self) -> None:
        """Have what is held be where the hand is, upright."""
        if self.holding:
            equality = self._model.equality(f'{self._name} {self.holding}').id
            self._model.eq_data[equality, 3:6] = self._arm.hand
            self._model.eq_data[equality, 6:10] = (1.0, 0.0, 0.0, 0.0)

    def _seen_from_here(self, thing: str) -> Point:
        x, y, z = (float(part) for part in self._data.body(thing).xpos)
        pose = self.pose
        dx, dy, cos, sin = x - pose.x, y - pose.y, math.cos(pose.yaw), math.sin(pose.yaw)
        return dx * cos + dy * sin, dy * cos - dx * sin, z

    def _from_gripper_m(self, thing: str) -> float:
        ahead, aside, _ = self._seen_from_here(thing)
        return math.hypot(ahead - GRIPPER_M, aside)

    def _is_in_reach(self, thing: str) -> bool:
        known = thing in self.things() and not self.physics.is_held(thing)
        return known and self._from_gripper_m(thing) <= REACH_M

    def _ahead_inside_m(self, box: Box) -> float | None:
        """Return how far ahead a thing can be put on a box; None if that is out of reach."""
        pose = self.pose
        inside = (box.half_x - INSIDE_M, box.half_y - INSIDE_M)
        for step in range(round(REACH_M / 0.01)):
            ahead_m = GRIPPER_M + step * 0.01
            x = pose.x + ahead_m * math.cos(pose.yaw)
            y = pose.y + ahead_m * math.sin(pose.yaw)
            if abs(x - box.x) <= inside[0] and abs(y - box.y) <= inside[1]:
                return ahead_m
        return None

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
        before, dt = self._pose, self.step_s
        self._look()
        after = self._pose
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

    def _look(self) -> None:
        """Read from the physics, once for each step, where it is and how fast."""
        x, y, yaw = self._data.qpos[self._own].tolist()
        vx, vy, w = self._data.qvel[self._own].tolist()
        start = self._start
        self._pose = Pose(start.x + x, start.y + y, math.remainder(yaw, math.tau))
        self._twist = (vx * math.cos(yaw) + vy * math.sin(yaw), w)

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
