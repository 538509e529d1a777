"""Drives the robot to a pose by itself, and stops before what stands in the way.

It knows of itself what the robot knows: its odometry. Where that has drifted, so does the driver.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum

import numpy as np

from nemotron_ros.sim.body import Body
from nemotron_ros.sim.robot import BEAMS
from nemotron_ros.sim.route import plan
from nemotron_ros.sim.world import GRIPPER_M, ROBOT_RADIUS_M, Box, Pose

SPEED_MPS = 0.4
TURN_RADPS = 1.2
AT_POINT_M = 0.06
AT_HEADING_RAD = 0.03
STOP_BEFORE_M = 0.12
GIVE_UP_S = 4.0
LOOK_S = 0.1
FROM_CORNER_M = 0.2
ROOM_M = STOP_BEFORE_M + 0.04
"""Between the robot and the furniture that it puts things on."""


class Driving(Enum):
    """What the driver is at."""

    IDLE = 'idle'
    DRIVING = 'driving'
    ARRIVED = 'arrived'
    BLOCKED = 'blocked'
    CANCELED = 'canceled'


class Driver:
    """Steers a robot along a route, one step at a time."""

    def __init__(self, robot: Body) -> None:
        self._robot = robot
        self._points: list[tuple[float, float]] = []
        self._goal: Pose | None = None
        self._waiting_s = 0.0
        self._looked_at_s = -math.inf
        self._in_the_way = False
        self.state = Driving.IDLE

    def go(self, goal: Pose) -> None:
        """Begin to drive to a pose; without a way there it stands, and is blocked at once."""
        self._robot.command(0.0, 0.0)
        self._points = plan(self._robot.world, self._robot.odometry, goal)
        self._goal = goal
        self._waiting_s = 0.0
        self._looked_at_s = -math.inf
        self.state = Driving.DRIVING if self._points else Driving.BLOCKED

    def fetch(self, name: str) -> bool:
        """Begin to drive up to a thing, so that the gripper can take it; False if unknown."""
        things = self._robot.things()
        if name not in things:
            self.state = Driving.BLOCKED
            return False
        x, y = self._as_seen(*things[name])
        pose = self._robot.odometry
        # Further off, if it lies on something: that must not be driven into.
        away_m = GRIPPER_M + (0.22 if name in self._robot.resting() else 0.1)
        # Come from where the robot is, or from the nearest side that has room.
        towards = math.atan2(pose.y - y, pose.x - x)
        for turn in sorted((i * math.pi / 8 for i in range(-8, 9)), key=abs):
            angle = towards + turn
            goal = Pose(
                x + away_m * math.cos(angle), y + away_m * math.sin(angle), angle + math.pi
            )
            self.go(goal)
            if self.state is Driving.DRIVING:
                return True
        return True

    def approach(self, furniture: str) -> bool:
        """Begin to drive up to a piece of furniture, facing it; False if unknown."""
        box = next((b for b in self._robot.world.furniture if b.name == furniture), None)
        if box is None:
            self.state = Driving.BLOCKED
            return False
        pose = self._robot.odometry
        spots = sorted(
            _before(box), key=lambda spot: math.dist((pose.x, pose.y), (spot.x, spot.y))
        )
        for spot in spots:
            self.go(spot)
            if self.state is Driving.DRIVING:
                return True
        return True

    def cancel(self) -> None:
        """Give the wheel away; whoever takes it decides what moves next."""
        if self.state is Driving.DRIVING:
            self.state = Driving.CANCELED
        self._points = []
        self._goal = None

    def step(self) -> None:
        """Choose the velocity for the next time step."""
        if self.state is not Driving.DRIVING or self._goal is None:
            return
        robot, goal = self._robot, self._goal
        pose = robot.odometry
        while self._points and math.dist((pose.x, pose.y), self._points[0]) < AT_POINT_M:
            self._points.pop(0)
        if not self._points:
            off = math.remainder(goal.yaw - pose.yaw, math.tau)
            if abs(off) > AT_HEADING_RAD:
                robot.command(0.0, _turn(off))
                return
            robot.command(0.0, 0.0)
            v, w = robot.wheel_twist
            if abs(v) < 0.005 and abs(w) < 0.005:
                self.state = Driving.ARRIVED
            return
        x, y = self._points[0]
        off = math.remainder(math.atan2(y - pose.y, x - pose.x) - pose.yaw, math.tau)
        if abs(off) > 0.25:
            robot.command(0.0, _turn(off))
            return
        if self._obstacle():
            robot.command(0.0, 0.0)
            self._waiting_s += robot.step_s
            if self._waiting_s > GIVE_UP_S:
                self.state = Driving.BLOCKED
            return
        self._waiting_s = 0.0
        left_m = math.dist((pose.x, pose.y), (x, y))
        robot.command(max(0.08, min(SPEED_MPS, 1.2 * left_m)), _turn(off))

    def _as_seen(self, x: float, y: float) -> tuple[float, float]:
        """Return where something is by the robot's odometry, as its eyes tell it."""
        pose, believed = self._robot.pose, self._robot.odometry
        turn, dx, dy = believed.yaw - pose.yaw, x - pose.x, y - pose.y
        return (
            believed.x + dx * math.cos(turn) - dy * math.sin(turn),
            believed.y + dx * math.sin(turn) + dy * math.cos(turn),
        )

    def _obstacle(self) -> bool:
        """Whether something stands close before the robot, as its laser sees it."""
        if self._robot.time_s - self._looked_at_s >= LOOK_S:
            self._looked_at_s = self._robot.time_s
            ranges = self._robot.scan()
            angles = np.linspace(-math.pi, math.pi, BEAMS, endpoint=False)
            ahead = ranges * np.cos(angles)
            aside = np.abs(ranges * np.sin(angles))
            with np.errstate(invalid='ignore'):
                close = (ahead > 0) & (ahead < ROBOT_RADIUS_M + STOP_BEFORE_M)
                self._in_the_way = bool(np.any(close & (aside < ROBOT_RADIUS_M * 0.9)))
        return self._in_the_way


def _before(box: Box) -> Iterator[Pose]:
    """Yield where a robot stands before each side of a box, in its middle and beside it."""
    for yaw in (0.0, math.pi / 2, math.pi, -math.pi / 2):
        ahead_x, ahead_y = math.cos(yaw), math.sin(yaw)
        away_m = abs(ahead_x) * box.half_x + abs(ahead_y) * box.half_y + ROBOT_RADIUS_M + ROOM_M
        half_m = abs(ahead_y) * box.half_x + abs(ahead_x) * box.half_y
        for aside_m in (0.0, half_m / 2, -half_m / 2):
            if abs(aside_m) > max(0.0, half_m - FROM_CORNER_M):
                continue
            x, y = box.x - ahead_x * away_m, box.y - ahead_y * away_m
            yield Pose(x - ahead_y * aside_m, y + ahead_x * aside_m, yaw)


def _turn(off: float) -> float:
    return max(-TURN_RADPS, min(TURN_RADPS, 2.5 * off))
