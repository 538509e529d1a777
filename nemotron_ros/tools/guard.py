"""The guard: the one gate that every call passes. It never waits, and it fails closed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nemotron_ros.tools.model import ToolFile

WINDOW_S = 60.0


class Denied(Exception):
    """A call may not run. ``rule`` names the rule that decided."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class Guard:
    """Decides for every call, in this order: stop, allowed, rate, exclusive group.

    Safe from any thread.
    """

    def __init__(self, tool_file: ToolFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = {name: tool.rules for name, tool in tool_file.tools.items()}
        self._clock = clock
        self._lock = threading.Lock()
        self._latches: set[str] = set()
        self._times: dict[str, deque[float]] = {
            name: deque(maxlen=rules.max_per_minute or 0) for name, rules in self._rules.items()
        }
        self._holders: dict[str, str] = {}

    @property
    def latched(self) -> str:
        """Why nothing may run; empty if calls may."""
        with self._lock:
            return ', '.join(sorted(self._latches))

    def latch(self, reason: str) -> None:
        """Let nothing run until :meth:`clear`."""
        with self._lock:
            self._latches.add(reason or 'stop')

    def clear(self, reason: str = '') -> None:
        """Take back what was latched for ``reason``, or everything; other latches stay."""
        with self._lock:
            if reason:
                self._latches.discard(reason)
            else:
                self._latches.clear()

    @contextmanager
    def admit(self, name: str, allowed: frozenset[str], count: bool = True) -> Iterator[None]:
        """Hold the tool's group while the block runs.

        :param count: False to ask without being counted or holding anything.
        :raise Denied: with the rule and the reason.
        """
        with self._lock:
            group = self._decide(name, allowed)
            if count:
                self._times[name].append(self._clock())
                if group is not None:
                    self._holders[group] = name
        try:
            yield
        finally:
            if count and group is not None:
                with self._lock:
                    del self._holders[group]

    def _decide(self, name: str, allowed: frozenset[str]) -> str | None:
        if self._latches:
            why = ', '.join(sorted(self._latches))
            raise Denied('stop', f'a stop is latched ({why}); clear it first')
        if name not in self._rules:
            raise Denied('unknown', f'there is no tool named {name!r}')
        if name not in allowed:
            raise Denied('allowed', f'{name} is not among the tools that this goal allows')
        rules = self._rules[name]
        if rules.max_per_minute is not None:
            times = self._times[name]
            while times and self._clock() - times[0] >= WINDOW_S:
                times.popleft()
            if len(times) >= rules.max_per_minute:
                raise Denied(
                    'rate', f'{name} ran {len(times)} times within a minute; that is its limit'
                )
        if rules.exclusive is not None and rules.exclusive in self._holders:
            holder = self._holders[rules.exclusive]
            raise Denied(
                'exclusive', f'{holder} is running, and only one {rules.exclusive} tool may'
            )
        return rules.exclusive
