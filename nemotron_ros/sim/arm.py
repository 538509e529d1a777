"""The arm: a hand that goes from point to point at a bounded speed, and does something there."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from nemotron_ros.sim.world import GRIPPER_M

Point = tuple[float, float, float]
"""Ahead of the robot's middle, to its left, and above the floor; metres."""

ARM_MPS = 0.6
CARRY_HEIGHT_M = 0.42
HOME: Point = (GRIPPER_M, 0.0, CARRY_HEIGHT_M)
"""Where the hand is while the robot drives: before itself, above what its laser sees."""


class Arm:
    """Where the hand is. It carries no weight: what it holds is held by the physics."""

    def __init__(self) -> None:
        self.hand = HOME
        self._plan: deque[Point | Callable[[], None]] = deque()

    @property
    def moves(self) -> bool:
        """Whether it is on its way."""
        return bool(self._plan)

    def go(self, *plan: Point | Callable[[], None]) -> None:
        """Go from point to point and call what stands between; an older plan is forgotten."""
        self._plan = deque(plan)

    def stop(self) -> None:
        """Stay where it is."""
        self._plan.clear()

    def step(self, dt: float) -> None:
        """Let time pass."""
        while self._plan:
            next_one = self._plan[0]
            if callable(next_one):
                self._plan.popleft()
                next_one()
                continue
            left_m = math.dist(self.hand, next_one)
            way_m = ARM_MPS * dt
            if left_m > way_m:
                self.hand = _between(self.hand, next_one, way_m / left_m)
                return
            self.hand = next_one
            self._plan.popleft()


def _between(a: Point, b: Point, part: float) -> Point:
    return (
        a[0] + part * (b[0] - a[0]),
        a[1] + part * (b[1] - a[1]),
        a[2] + part * (b[2] - a[2]),
    )
