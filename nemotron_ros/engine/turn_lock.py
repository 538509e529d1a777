"""One request at a time, for engines that can't do more; a wait for it can be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from nemotron_ros.cancel import CancelToken

LONGEST_WAIT_S = 1.0


class _Ticket:
    """One who has the turn, for as long as their token lasts."""

    def __init__(self, cancel: CancelToken) -> None:
        self.cancel = cancel


class TurnLock:
    """A lock whose waiters leave when their token ends.

    A turn ends with its token too, even if the one who holds it is not there to give it
    back: a stream that nobody reads any further. Who has the turn must therefore look at
    the token before each step.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._holder: _Ticket | None = None

    @contextmanager
    def turn(self, cancel: CancelToken) -> Generator[bool, None, None]:
        """Wait for the turn and hold it; False if ``cancel`` ended first."""
        ticket = _Ticket(cancel)
        forget = cancel.on_cancel(self._wake)
        try:
            yield self._take(ticket)
        finally:
            forget()
            with self._condition:
                if self._holder is ticket:
                    self._holder = None
                self._condition.notify_all()

    def _take(self, ticket: _Ticket) -> bool:
        with self._condition:
            while not ticket.cancel.ended:
                holder = self._holder
                if holder is None or holder.cancel.ended:
                    self._holder = ticket
                    return True
                left_s = min(ticket.cancel.remaining_s(), holder.cancel.remaining_s())
                self._condition.wait(min(left_s, LONGEST_WAIT_S))
        return False

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()
