"""Waiting in a goal's thread for what the executor's threads bring."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from nemotron_ros.cancel import CancelToken

DISCOVERY_S = 3.0
"""How long what a tool speaks to is given to be found, and to say its first word."""
POLL_S = 0.02
"""How often a state that gives no notice, such as discovery, is looked at."""


def until_true(condition: Callable[[], bool], timeout_s: float, cancel: CancelToken) -> bool:
    """Look at ``condition`` until it holds; False if the time or the token ends first."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if cancel.wait(POLL_S) or time.monotonic() >= deadline:
            return condition()
    return True


def until_done(future: Any, timeout_s: float, cancel: CancelToken) -> bool:
    """Wait for an rclpy future; False if the time or the token ends first."""
    event = threading.Event()
    future.add_done_callback(lambda _: event.set())
    forget = cancel.on_cancel(event.set)
    try:
        event.wait(min(timeout_s, cancel.remaining_s(), threading.TIMEOUT_MAX))
    finally:
        forget()
    return bool(future.done())
