"""One request at a time, for engines that can't do more; a wait for it can be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from nemotron_ros.cancel import CancelToken

LONGEST_WAIT_S = 1.0


class TurnLock:
    """A lock whose waiters leave when their token ends."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken = False

    @contextmanager
    def turn(self, cancel: CancelToken) -> Generator[bool, None, None]:
        """Wait for the turn and hold it; False if ``cancel`` ended first."""
        if not self._take(cancel):
            yield False
            return
        try:
            yield True
        finally:
            with self._condition:
                self._taken = False
                self._condition.notify()

    def _take(self, cancel: CancelToken) -> bool:
        forget = cancel.on_cancel(self._wake)
        try:
            with self._condition:
                while self._taken and not cancel.ended:
                    self._condition.wait(min(cancel.remaining_s(), LONGEST_WAIT_S))
                if cancel.ended:
                    self._condition.notify()  # a wake-up meant for one who is still waiting
                    return False
                self._taken = True
                return True
        finally:
            forget()

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()
