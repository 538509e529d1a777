"""What runs on the robot and what has run: kept when another tool file comes into force."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from nemotron_ros.cancel import CancelToken, Cause


class Ledger:
    """What the calls of a robot hold and have used up, by whichever tool file they came.

    The guard reads and writes ``times`` (monotonic seconds of each tool's calls within a minute),
    ``in_flight`` (calls of each tool) and ``holders`` (the tool that holds each exclusive group)
    with ``lock`` held. The methods are safe from any thread.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.times: defaultdict[str, deque[float]] = defaultdict(deque)
        self.in_flight: Counter[str] = Counter()
        self.holders: dict[str, str] = {}
        self._changed = threading.Condition()
        self._running: set[CancelToken] = set()

    @contextmanager
    def running(self, token: CancelToken) -> Iterator[None]:
        """Count a call as running while the block runs; ``token`` ends it."""
        with self._changed:
            self._running.add(token)
        try:
            yield
        finally:
            with self._changed:
                self._running.discard(token)
                self._changed.notify_all()

    def stop_all(self) -> None:
        """Stop every call; one whose stop raises keeps none of the others from it."""
        with self._changed:
            running = list(self._running)
        with ExitStack() as stack:
            for token in running:
                stack.callback(token.cancel, Cause.STOPPED)

    def until_ended(self, timeout_s: float) -> bool:
        """Wait for every call to end; whether all of them did within ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)
