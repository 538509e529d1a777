"""The time that a motion takes: the robot's, which a simulation may let pass faster or slower."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from rclpy.node import Node

LOOK_S = 0.002
"""How often a simulated clock is looked at by who waits for it, on the wall."""
STANDS_STILL_S = 1.0
"""A simulated clock that has not moved for so long on the wall has stopped."""
JUMP_S, FASTEST = 1.0, 100.0
"""A clock that goes on by more than so many seconds at once, and by more than so many times what
has passed on the wall, has jumped."""


@dataclass(frozen=True)
class Instant:
    """A moment, by the wall's monotonic clock and by the robot's, in seconds."""

    wall_s: float
    robot_s: float


class RobotTime:
    """Both clocks of a node. Safe from any thread.

    The robot's is the wall's, or with ``use_sim_time`` that of ``/clock``; where that one jumps,
    as a simulation does that begins anew, no time has passed.
    """

    def __init__(self, node: Node) -> None:
        self._clock = node.get_clock()
        self._lock = threading.Lock()
        self._wall_s = self._robot_s = self._moved_at_s = time.monotonic()
        self._told_ns = 0

    def now(self) -> Instant:
        """Return this moment."""
        with self._lock:
            wall_s = time.monotonic()
            if self._clock.ros_time_is_active:
                told_ns = self._clock.now().nanoseconds
                passed_s = (told_ns - self._told_ns) * 1e-9
                most_s = max(JUMP_S, FASTEST * (wall_s - self._moved_at_s))
                if told_ns != self._told_ns:
                    self._moved_at_s = wall_s
                if self._told_ns and 0 < passed_s <= most_s:
                    self._robot_s += passed_s
                self._told_ns = told_ns
            else:
                self._robot_s += wall_s - self._wall_s
                self._moved_at_s, self._told_ns = wall_s, 0
            self._wall_s = wall_s
            return Instant(wall_s, self._robot_s)

    def pause_s(self, robot_s: float) -> float:
        """Return how long to wait, on the wall, for so long of the robot's time, or for a look."""
        return min(robot_s, LOOK_S) if self._clock.ros_time_is_active else robot_s

    def stands_still(self, since: Instant) -> bool:
        """Whether the robot's clock has stopped, as seen since a moment."""
        now = self.now()
        with self._lock:
            return now.wall_s - max(self._moved_at_s, since.wall_s) > STANDS_STILL_S
