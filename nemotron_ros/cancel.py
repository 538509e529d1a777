"""One budget per command: a cancel token with a monotonic deadline.

Every wait in this package takes a :class:`CancelToken` and ends when the token
does, whichever comes first: somebody cancels it, or its deadline passes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum


class Cause(Enum):
    """Why a token ended."""

    CANCELED = 'canceled'
    STOPPED = 'stopped'
    DEADLINE = 'deadline'


class CancelToken:
    """Ends once, by :meth:`cancel` or by its deadline; safe from any thread.

    :param timeout_s: seconds until the deadline, from now; finite and > 0,
        or None for no deadline.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        if timeout_s is not None and not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ValueError(f'timeout_s: expected a finite number > 0, got {timeout_s!r}')
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._lock = threading.Lock()
        self._cause: Cause | None = None
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self, cause: Cause = Cause.CANCELED) -> None:
        """End the token. The first cause counts; later calls change nothing."""
        with self._lock:
            if self._cause is not None:
                return
            self._cause = Cause.DEADLINE if self._overdue() else cause
            callbacks, self._callbacks = self._callbacks, []
        with ExitStack() as stack:  # one that raises keeps none of the others from running
            for callback in reversed(callbacks):
                stack.callback(callback)

    @property
    def cause(self) -> Cause | None:
        """Why the token ended; None while it has not."""
        if self._cause is None and self._overdue():
            self.cancel(Cause.DEADLINE)
        return self._cause

    @property
    def ended(self) -> bool:
        """Whether it was cancelled or its deadline has passed."""
        return self.cause is not None

    def remaining_s(self) -> float:
        """Seconds until the deadline: 0 when ended, ``inf`` without a deadline."""
        if self.ended:
            return 0.0
        if self._deadline is None:
            return math.inf
        return max(0.0, self._deadline - time.monotonic())

    def wait(self, timeout_s: float) -> bool:
        """Sleep for ``timeout_s`` seconds or until the token ends; True if it has ended."""
        woken = threading.Event()
        forget = self.on_cancel(woken.set)
        try:
            woken.wait(min(timeout_s, self.remaining_s(), threading.TIMEOUT_MAX))
        finally:
            forget()
        return self.ended

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when somebody cancels, at once if it has ended already.

        The deadline is noticed by whoever waits, not by a timer; a callback
        runs for it at the latest when the token is next looked at.

        :return: a function that takes the callback back.
        """
        if not self.ended:
            with self._lock:
                if self._cause is None:
                    self._callbacks.append(callback)
                    return lambda: self._forget(callback)
        callback()
        return lambda: None

    def child(self, timeout_s: float | None = None) -> CancelToken:
        """Return a token that ends with this one, or earlier by its own deadline or cancel."""
        child = CancelToken(timeout_s)
        if self._deadline is not None and not self.ended:
            child._deadline = min(self._deadline, child._deadline or self._deadline)
        self.on_cancel(lambda: child.cancel(self._cause or Cause.CANCELED))
        return child

    def _overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
