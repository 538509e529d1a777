"""How far the simulated robot is from an ideal one, by chance, and the same for the same seed.

Everything is off by default. Times are simulated seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

SLIP_S = 0.5
"""How long the wheels slip alike before chance decides anew."""
MAX_SEED = 2**31 - 1
RANGES = {
    'latency_s': (0.0, 2.0),
    'dropout': (0.0, 0.9),
    'dropout_s': (0.02, 10.0),
    'wheel_slip': (0.0, 0.5),
}


@dataclass(frozen=True)
class Noise:
    """What is not ideal.

    ``latency_s`` is how late what the robot tells and what it is told comes, on average; each
    message by half as much up to half as much again. ``dropout`` is the share of the time that
    odometry and laser are silent, each by itself, for ``dropout_s`` on average. ``wheel_slip``
    is the share of the turns of a wheel that move nothing, on average: the odometry, which
    counts turns, drifts.

    :raise ValueError: naming the field that is out of its range.
    """

    seed: int = 0
    latency_s: float = 0.0
    dropout: float = 0.0
    dropout_s: float = 0.3
    wheel_slip: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f'seed: expected 0 to {MAX_SEED}, got {self.seed!r}')
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = RANGES.get(field.name, (-math.inf, math.inf))
            if not low <= value <= high:
                raise ValueError(f'{field.name}: expected {low:g} to {high:g}, got {value!r}')

    def chance(self, what: str) -> np.random.Generator:
        """Return the chance that decides one thing, whatever the others have asked of theirs."""
        return np.random.default_rng([self.seed, *what.encode()])


class Line:
    """A way that messages go in their order: late, and some of them not at all.

    What would overtake waits for what was sent before it.

    :param what: its name; lines of other names have other chances.
    :param silences: whether it is silent at times, as ``dropout`` says.
    """

    def __init__(self, noise: Noise, what: str, silences: bool = False) -> None:
        self._latency_s = noise.latency_s
        self._chance = noise.chance(f'{what} latency')
        dropout = noise.dropout if silences else 0.0
        self._silences = _Silences(noise.chance(f'{what} dropout'), dropout, noise.dropout_s)
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

    def put(self, now_s: float, deliver: Callable[[], None]) -> None:
        """Send something: ``deliver`` is called when it comes, from here or from :meth:`run`."""
        if self._silences.silent(now_s):
            return
        late_s = self._latency_s * self._chance.uniform(0.5, 1.5) if self._latency_s else 0.0
        self._waiting.append((now_s + late_s, deliver))
        self.run(now_s)

    def run(self, now_s: float) -> None:
        """Deliver what has come by now."""
        while self._waiting and self._waiting[0][0] <= now_s:
            self._waiting.popleft()[1]()


class Slip:
    """How much the left and the right wheel slip, as a share of their turns."""

    def __init__(self, noise: Noise) -> None:
        self._share = noise.wheel_slip
        self._chance = noise.chance('wheel slip')
        self._until_s = -math.inf
        self._now = (0.0, 0.0)

    def at(self, now_s: float) -> tuple[float, float]:
        """Return both shares; each lies between half of the average and half as much again."""
        if self._share and now_s >= self._until_s:
            self._until_s = now_s + SLIP_S
            left, right = self._share * self._chance.uniform(0.5, 1.5, 2)
            self._now = (float(left), float(right))
        return self._now


class _Silences:
    """Silent and not silent by turns, each for as long as chance has it."""

    def __init__(self, chance: np.random.Generator, share: float, mean_s: float) -> None:
        self._chance = chance
        self._share = share
        self._means_s = {True: mean_s, False: mean_s * (1 - share) / share if share else math.inf}
        self._silent = True
        self._until_s = -math.inf

    def silent(self, now_s: float) -> bool:
        if not self._share:
            return False
        while now_s >= self._until_s:
            self._silent = not self._silent
            begin_s = max(self._until_s, 0.0)
            self._until_s = begin_s + self._chance.exponential(self._means_s[self._silent])
        return self._silent
