"""The velocity that a base was asked for, as long as it counts."""

from __future__ import annotations

import math

MAX_SPEED_MPS = 0.5
MAX_TURN_RADPS = 1.5
WATCHDOG_S = 0.5
"""Without a new velocity for so long, simulated, the base stops by itself."""


class WatchedVelocity:
    """Limited when it is asked for, and zero once nobody has asked for ``WATCHDOG_S``.

    Times are simulated seconds.
    """

    def __init__(self) -> None:
        self._wanted = (0.0, 0.0)
        self._asked_at_s = -math.inf

    def ask(self, v: float, w: float, now_s: float) -> None:
        """Ask for a speed, m/s, and a turning rate, rad/s."""
        self._wanted = (
            max(-MAX_SPEED_MPS, min(MAX_SPEED_MPS, v)),
            max(-MAX_TURN_RADPS, min(MAX_TURN_RADPS, w)),
        )
        self._asked_at_s = now_s

    def at(self, now_s: float) -> tuple[float, float]:
        """Return the speed and the turning rate that count now."""
        return self._wanted if now_s - self._asked_at_s <= WATCHDOG_S else (0.0, 0.0)
