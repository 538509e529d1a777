"""How much simulated time goes by in the time on the wall."""

from __future__ import annotations

import time
from collections.abc import Iterator

TICK_S = 0.01
SHORTEST_TICK_S = 0.001
LATE_S = 0.25
"""A simulation that lags more than this lets the time pass instead of racing after it."""
AT_ONCE_S = 0.02
"""So long it may step without a look at what has come in."""
STEERED_SPEED = 10.0
"""Not faster than this while somebody steers by velocities. What goes by DDS and back takes some
milliseconds; at this speed that is some hundredths of a second of the robot's time."""


class Pace:
    """Says when a step is due.

    :param speed: simulated seconds per second, at most; less where the machine is too slow.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._seen_at_s = time.monotonic()
        self._owed_s = 0.0
        self.pause_s = max(SHORTEST_TICK_S, TICK_S / max(1.0, speed))
        """How long to wait between two looks, on the wall."""

    def steps(self, step_s: float, steered: bool) -> Iterator[None]:
        """Yield once for each step that is due now.

        :param step_s: simulated.
        :param steered: whether somebody steers a robot by velocities.
        """
        now_s = time.monotonic()
        speed = min(self._speed, STEERED_SPEED) if steered else self._speed
        self._owed_s += (now_s - self._seen_at_s) * speed
        self._seen_at_s = now_s
        if self._owed_s > LATE_S * speed:
            self._owed_s = TICK_S * speed
        while self._owed_s >= step_s and time.monotonic() - now_s < AT_ONCE_S:
            self._owed_s -= step_s
            yield
