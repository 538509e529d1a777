"""Looks at the robot again and again while commands are given, and keeps what was seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from nemotron_ros.cancel import CancelToken
from nemotron_ros.demo.words import Words
from nemotron_ros.sim.referee import Truth

PERIOD_S = 0.1
LONGEST_S = 1800.0
"""What is longer is not kept: nobody watches it, and it takes memory."""
END_S = 30.0


@dataclass(frozen=True)
class Moment:
    """What the physics said at a time, seconds from the start, and the words that go with it."""

    at_s: float
    truth: Truth
    words: Words


class Recording:
    """Asks ``look`` for the truth, in a thread of its own, as long as it is entered.

    It ends by itself where the truth can't be had any more: whoever gives the commands tells.
    """

    def __init__(self, look: Callable[[], Truth]) -> None:
        self._look = look
        self._words = Words('')
        self._truth: Truth | None = None
        self._moments: list[Moment] = []
        self._lock = threading.Lock()
        self._over = CancelToken(LONGEST_S)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began_s = time.monotonic()

    def __enter__(self) -> Recording:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.cancel()
        self._thread.join(END_S)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """What was seen so far, in order."""
        with self._lock:
            return tuple(self._moments)

    def tell(self, words: Words) -> None:
        """Say what goes with the moments from now on; none that was said is left out."""
        with self._lock:
            self._words = words
            self._keep()

    def _run(self) -> None:
        while not self._over.wait(PERIOD_S):
            try:
                truth = self._look()
            except Exception:
                return
            with self._lock:
                self._truth = truth
                self._keep()

    def _keep(self) -> None:
        if self._truth is not None:
            at_s = time.monotonic() - self._began_s
            self._moments.append(Moment(at_s, self._truth, self._words))
