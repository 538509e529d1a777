"""Stops that are latched: each for a reason of its own, until it is cleared."""

from __future__ import annotations

import threading


class Latches:
    """Reasons why nothing may run. Safe from any thread."""

    def __init__(self) -> None:
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
            self._reasons.add(reason or 'stop')

    def clear(self, reason: str = '') -> None:
        """Take back what was latched for ``reason``, or everything; other latches stay."""
        with self._lock:
            if reason:
                self._reasons.discard(reason)
            else:
                self._reasons.clear()
