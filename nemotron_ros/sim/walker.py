"""A person who walks: along a route and back, and not into what stands in front."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nemotron_ros.sim.world import Box, Person

COMFORT_M = 0.75
"""Middle to middle: a person stops when a robot stands so close ahead."""
ELBOW_ROOM_M = 0.35
"""And from what can't be passed."""
PATIENCE_S = 3.0
"""Who has waited so long turns round."""
PAUSE_S = 1.0
"""At both ends of the route."""


class Walker:
    """Where a person is, from step to step. Metres and seconds."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.x, self.y = person.route[0]
        self._next = 1
        self._way = 1
        self._waits_s = 0.0
        self._pause_s = 0.0

    def step(
        self, dt: float, robots: Sequence[tuple[float, float]], shut: Sequence[Box] = ()
    ) -> None:
        """Let time pass."""
        if self._pause_s > 0:
            self._pause_s -= dt
            return
        x, y = self.person.route[self._next]
        left_m = math.hypot(x - self.x, y - self.y)
        way_m = self.person.speed_mps * dt
        if left_m <= way_m:
            self.x, self.y = x, y
            self._choose_next()
            return
        ahead = (x - self.x) / left_m, (y - self.y) / left_m
        if self._is_blocked(ahead, robots, shut):
            self._waits_s += dt
            if self._waits_s > PATIENCE_S:
                self._turn_round()
            return
        self._waits_s = 0.0
        self.x += ahead[0] * way_m
        self.y += ahead[1] * way_m

    def _choose_next(self) -> None:
        if not 0 <= self._next + self._way < len(self.person.route):
            self._way = -self._way
            self._pause_s = PAUSE_S
        self._next += self._way

    def _turn_round(self) -> None:
        self._waits_s = 0.0
        self._way = -self._way
        self._next += self._way

    def _is_blocked(
        self,
        ahead: tuple[float, float],
        robots: Sequence[tuple[float, float]],
        shut: Sequence[Box],
    ) -> bool:
        for x, y in robots:
            dx, dy = x - self.x, y - self.y
            if math.hypot(dx, dy) < COMFORT_M and dx * ahead[0] + dy * ahead[1] > 0:
                return True
        there = self.x + ahead[0] * ELBOW_ROOM_M, self.y + ahead[1] * ELBOW_ROOM_M
        return any(box.distance_m(*there) < 0.05 for box in shut)
