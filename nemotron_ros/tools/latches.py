"""Stops that are latched: each for a reason of its own, until it is cleared."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Latches:
    """Reasons why nothing may run. Safe from any thread.

    :param announce: is told every reason, in order, on every change. It is called with a lock
        held, so that what is told last is what is so: it must not wait, nor latch or clear here.
    """

    def __init__(self, announce: Callable[[tuple[str, ...]], None] = lambda _: None) -> None:
        self._announce = announce
        self._lock = threading.Lock()
        self._reasons: set[str] = set()

    @property
    def told(self) -> str:
        """Why nothing may run; empty if calls may."""
        with self._lock:
            return ', '.join(sorted(self._reasons))

    def latch(self, reason: str) -> None:
        """Let nothing run until :meth:`clear`."""
        with self._lock:
            self._change(self._reasons | {reason or 'stop'})

    def clear(self, reason: str = '') -> None:
        """Take back what was latched for ``reason``, or everything; other latches stay."""
        with self._lock:
            self._change(self._reasons - {reason} if reason else set())

    def _change(self, reasons: set[str]) -> None:
        changed, self._reasons = reasons != self._reasons, reasons
        if changed:
            self._announce(tuple(sorted(reasons)))
