"""Commands that run at once and move the same part of the robot take turns, call by call."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nemotron_ros.cancel import CancelToken


class Groups:
    """A line for each exclusive group, first come first served. Safe from any thread.

    The guard refuses a call whose group is held; here calls of commands wait for each other
    instead. Who has the turn keeps it until it has really ended, whatever its token says.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: defaultdict[str, deque[object]] = defaultdict(deque)

    @contextmanager
    def turn(
        self, group: str | None, cancel: CancelToken, waiting: Callable[[], None]
    ) -> Iterator[None]:
        """Wait for a group, and hold it while the block runs; None is held by nobody.

        The wait ends with ``cancel`` too: what runs then must look at its token.

        :param waiting: is called once if there is somebody to wait for.
        """
        if group is None:
            yield
            return
        ticket = object()
        with self._changed:
            line = self._lines[group]
            line.append(ticket)
            is_first = line[0] is ticket
        forget = cancel.on_cancel(self._wake)
        try:
            if not is_first:
                waiting()
            with self._changed:
                while line[0] is not ticket and not cancel.ended:
                    self._changed.wait(min(cancel.remaining_s(), threading.TIMEOUT_MAX))
            yield
        finally:
            forget()
            with self._changed:
                line.remove(ticket)
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
