"""Tools that publish: once, at a rate for a time, or until there is evidence of arrival."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.latest import LatestMessage, Sample
from nemotron_ros.bridge.robot_time import RobotTime
from nemotron_ros.bridge.sender import NobodyListens, Sender
from nemotron_ros.bridge.waiting import DISCOVERY_S
from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.tools.model import Publish, Until
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.templates import evaluate

SILENCE_S = 1.0
"""A topic that shows a motion's progress may be silent for so long before the motion is ended."""
MAX_MOTION_S = 600.0


class _MotionError(Exception):
    """The motion was ended, or never begun, for a reason that the result tells."""


def publish(
    clients: Clients,
    binding: Publish,
    variables: Mapping[str, Any],
    cancel: CancelToken,
    progress: Callable[[object], None],
) -> ToolResult:
    """Run a publishing tool; the closing message is sent however it ends."""
    sender = Sender(clients, binding.send, variables)
    closer = None if binding.then is None else Sender(clients, binding.then, variables)
    began_s = time.monotonic()
    try:
        watch = None
        if binding.until is not None:
            watch = _Watch(clients, binding.until, variables, cancel)
        sender.connect(cancel)
        if closer is not None:
            closer.connect(cancel)
    except (_MotionError, NobodyListens) as error:
        failed = ToolResult(Status.FAILED, None, str(error))
        return _ended(cancel, str(error)) if cancel.ended else failed
    limit_s = _limit_s(binding, variables)
    period_s = None if binding.rate_hz is None else 1.0 / binding.rate_hz
    try:
        arrived = _move(clients.time, sender, watch, period_s, limit_s, cancel, progress)
    except _MotionError as error:
        return ToolResult(Status.FAILED, None, str(error))
    finally:
        if closer is not None:
            closer.send()
    took_s = round(time.monotonic() - began_s, 3)
    if cancel.ended:
        return _ended(cancel, f'ended after {took_s} s')
    if watch is not None and not arrived:
        return ToolResult(Status.TIMED_OUT, None, f'not there after {limit_s:g} s; ended')
    return ToolResult(Status.SUCCEEDED)


class _Watch:
    """Tells from a topic when a motion has got there."""

    def __init__(
        self,
        clients: Clients,
        until: Until,
        variables: Mapping[str, Any],
        cancel: CancelToken,
    ) -> None:
        self._until = until
        self._variables = dict(variables)
        self._latest: LatestMessage = clients.latest(until.topic, until.type)
        if not self._latest.connect(DISCOVERY_S, cancel):
            raise _MotionError(f'nobody publishes {until.topic}; without it no end could be seen')
        held = self._latest.newest()
        after = 0 if self._latest.latched or held is None else held.number
        sample = self._latest.wait(after, DISCOVERY_S, cancel)
        if sample is None:
            raise _MotionError(f'{until.topic} is silent; without it no end could be seen')
        self._sample: Sample = sample
        self._variables['start'] = sample.message

    def arrived(self) -> bool:
        newest = self._latest.newest()
        if newest is not None:
            self._sample = newest
        elif not self._latest.latched:
            raise _MotionError(f'{self._until.topic} was lost on the way')
        silent_s = time.monotonic() - self._sample.received_s
        if silent_s > SILENCE_S and not self._latest.latched:
            raise _MotionError(f'{self._until.topic} has been silent for {silent_s:.1f} s')
        self._variables['now'] = self._sample.message
        return bool(evaluate(self._until.when, self._variables))

    def wait(self, timeout_s: float, cancel: CancelToken) -> None:
        self._latest.wait(self._sample.number, timeout_s, cancel)


def _move(
    clock: RobotTime,
    sender: Sender,
    watch: _Watch | None,
    period_s: float | None,
    limit_s: float,
    cancel: CancelToken,
    progress: Callable[[object], None],
) -> bool:
    """Publish until arrival, the limit or the token's end; True on arrival.

    Rate and limit are of the robot's time: that is what a motion takes. The wait for evidence
    is also bounded by as long on the wall, and any motion by a clock that stands still.
    """
    began = clock.now()
    next_send_s = 0.0
    sent = 0
    told_s = began.wall_s
    while not cancel.ended:
        if watch is not None and sent and watch.arrived():
            return True
        now = clock.now()
        spent_s = now.robot_s - began.robot_s
        bound_s = spent_s if watch is None else max(spent_s, now.wall_s - began.wall_s)
        if sent and bound_s >= limit_s:
            return False
        if clock.stands_still(began):
            raise _MotionError('/clock stands still; the motion was ended')
        if spent_s >= next_send_s:
            sender.send()
            sent += 1
            next_send_s = math.inf if period_s is None else max(next_send_s + period_s, spent_s)
        if now.wall_s - told_s >= SILENCE_S:
            told_s = now.wall_s
            progress({'elapsed_s': round(spent_s, 1), 'at_most_s': round(limit_s, 1)})
        left_s = min(next_send_s - spent_s, limit_s - bound_s, told_s + SILENCE_S - now.wall_s)
        pause_s = clock.pause_s(max(0.0, left_s))
        if watch is not None:
            watch.wait(pause_s, cancel)
        elif limit_s > 0:
            cancel.wait(pause_s)
    return False


def _limit_s(binding: Publish, variables: Mapping[str, Any]) -> float:
    """Return how long to publish, in seconds; 0 for once."""
    value = binding.until.within_s if binding.until is not None else binding.for_s
    if value is None:
        return 0.0
    limit_s = evaluate(value, variables)
    if (
        isinstance(limit_s, bool)
        or not isinstance(limit_s, (int, float))
        or not 0 < limit_s <= MAX_MOTION_S
    ):
        raise ValueError(
            f'for_s/within_s: expected seconds > 0 and <= {MAX_MOTION_S:g}, got {limit_s!r}'
        )
    return float(limit_s)


def _ended(cancel: CancelToken, what: str) -> ToolResult:
    status = Status.TIMED_OUT if cancel.cause is Cause.DEADLINE else Status.CANCELED
    return ToolResult(status, None, what)
