"""The robot in the flat: physics, drive, laser and gripper. No ROS."""

from __future__ import annotations

import math
from collections import deque

import mujoco
import numpy as np
import numpy.typing as npt

from nemotron_ros.sim.velocity import WatchedVelocity
from nemotron_ros.sim.world import GRIPPER_M, Pose, World, flat, mjcf

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


class Robot:
    """A round robot with a laser and a gripper. Not safe for several threads.

    :param battery: charge at the start, 0 to 1.
    """

    def __init__(self, world: World | None = None, battery: float = 0.87) -> None:
        self.world = world or flat()
        self._start_battery = battery
        self._model = mujoco.MjModel.from_xml_string(mjcf(self.world))
        self._data = mujoco.MjData(self._model)
        self._base = self._model.geom('base').id
        self._body = self._model.body('robot').id
        angles = np.linspace(-math.pi, math.pi, BEAMS, endpoint=False)
        self._beams = np.stack([np.cos(angles), np.sin(angles), np.zeros(BEAMS)], axis=1)
        self.reset()

    def reset(self) -> None:
        """Put everything back to the start."""
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[2] = self.world.start.yaw
        self._velocity = WatchedVelocity()
        self._command = (0.0, 0.0)
        self._touched_at_s = -math.inf
        self.battery = self._start_battery
        self.holding = ''
        self.collisions = 0
        self.path_m = 0.0
        self.turned_rad = 0.0
        self.wheels_rad = (0.0, 0.0)
        self.path: deque[tuple[float, float]] = deque(maxlen=50_000)
        mujoco.mj_forward(self._model, self._data)
        self.path.append((self.pose.x, self.pose.y))

    @property
    def time_s(self) -> float:
        """Simulated seconds since the start."""
        return float(self._data.time)

    @property
    def step_s(self) -> float:
        """Simulated seconds of one step."""
        return float(self._model.opt.timestep)

    @property
    def pose(self) -> Pose:
        """Where the robot is; the heading is in [-pi, pi]."""
        x, y, yaw = self._data.qpos[:3]
        start = self.world.start
        return Pose(start.x + float(x), start.y + float(y), math.remainder(yaw, math.tau))

    @property
    def twist(self) -> tuple[float, float]:
        """Speed along the heading, m/s, and turning rate, rad/s."""
        vx, vy, w = self._data.qvel[:3]
        yaw = self.pose.yaw
        return float(vx * math.cos(yaw) + vy * math.sin(yaw)), float(w)

    def command(self, v: float, w: float) -> None:
        """Ask for a speed, m/s, and a turning rate, rad/s; both are limited."""
        self._velocity.ask(v, w, self.time_s)

    def step(self) -> None:
        """Let one time step pass."""
        wanted_v, wanted_w = self._velocity.at(self.time_s)
        dt = self.step_s
        v = _ramp(self._command[0], wanted_v, ACCELERATION_MPS2 * dt)
        w = _ramp(self._command[1], wanted_w, TURN_ACCELERATION_RADPS2 * dt)
        self._command = (v, w)
        before = self.pose
        self._data.ctrl[:] = (v * math.cos(before.yaw), v * math.sin(before.yaw), w)
        mujoco.mj_step(self._model, self._data)
        self._account(before, dt)

    def things(self) -> dict[str, tuple[float, float]]:
        """Return where each thing is."""
        return {
            thing.name: (float(position[0]), float(position[1]))
            for thing in self.world.things
            for position in [self._data.body(thing.name).xpos]
        }

    def close_gripper(self) -> str:
        """Grab the nearest thing in reach; return its name, empty if there is none."""
        if self.holding:
            return self.holding
        pose = self.pose
        x = pose.x + GRIPPER_M * math.cos(pose.yaw)
        y = pose.y + GRIPPER_M * math.sin(pose.yaw)
        distance_m, name = min(
            (math.hypot(tx - x, ty - y), name) for name, (tx, ty) in self.things().items()
        )
        if distance_m > REACH_M:
            return ''
        equality = self._model.equality(name).id
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
            self._data.eq_active[self._model.equality(held).id] = 0
        return held

    def scan(self) -> npt.NDArray[np.float32]:
        """Return the distances, metres, of beams from -pi to pi about the heading; inf is none."""
        pose = self.pose
        cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        directions = (self._beams @ turn.T).ravel()
        hit = np.full(BEAMS, -1, dtype=np.int32)
        ranges = np.zeros(BEAMS)
        groups = np.array([1, 0, 0, 0, 0, 0], dtype=np.uint8)
        origin = np.array([pose.x, pose.y, SCAN_HEIGHT_M])
        mujoco.mj_multiRay(
            self._model,
            self._data,
            origin,
            directions,
            groups,
            1,
            self._body,
            hit,
            ranges,
            None,
            BEAMS,
            MAX_RANGE_M,
        )
        return np.where(ranges < 0, np.inf, ranges).astype(np.float32)

    def docked(self) -> bool:
        """Whether it stands in the dock."""
        return self.world.is_docked(self.pose)

    def _account(self, before: Pose, dt: float) -> None:
        after = self.pose
        way_m = math.hypot(after.x - before.x, after.y - before.y)
        self.path_m += way_m
        self.turned_rad += math.remainder(after.yaw - before.yaw, math.tau)
        v, w = self.twist
        left, right = self.wheels_rad
        apart = w * TRACK_M / 2
        self.wheels_rad = (
            left + (v - apart) * dt / WHEEL_RADIUS_M,
            right + (v + apart) * dt / WHEEL_RADIUS_M,
        )
        last = self.path[-1]
        if math.hypot(after.x - last[0], after.y - last[1]) > PATH_STEP_M:
            self.path.append((after.x, after.y))
        change = 0.002 * dt if self.docked() else -0.0005 * way_m
        self.battery = max(0.0, min(1.0, self.battery + change))
        # The base hovers: all that it can touch are walls and furniture.
        if np.any(self._data.contact.geom == self._base):
            self.collisions += self.time_s - self._touched_at_s > APART_S
            self._touched_at_s = self.time_s


def _ramp(now: float, wanted: float, step: float) -> float:
    return now + max(-step, min(step, wanted - now))
