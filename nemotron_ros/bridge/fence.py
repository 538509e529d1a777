"""The fence, held against where the robot is, for as long as something moves it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.interfaces import load_action
from nemotron_ros.bridge.latest import LatestMessage, Sample
from nemotron_ros.bridge.motion_limits import carries_motion
from nemotron_ros.bridge.waiting import DISCOVERY_S
from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.tools.guard import Denied, EndedAtGateError
from nemotron_ros.tools.limits import Fence, outside
from nemotron_ros.tools.model import CallService, Publish, SendGoal, Tool, UsePlugin
from nemotron_ros.tools.result import Status, ToolResult

JOIN_S = 1.0


def moves(tool: Tool) -> bool:
    """Whether a tool moves the robot.

    It needs a message that ends it, shares a group, or sends a goal with a speed or a point.
    """
    binding = tool.binding
    if isinstance(binding, SendGoal):
        action: Any = load_action(binding.type)
        return tool.rules.exclusive is not None or carries_motion(action.Goal)
    closes = isinstance(binding, (Publish, CallService, UsePlugin)) and binding.then is not None
    return closes or tool.rules.exclusive is not None


def kept_inside(
    clients: Clients, fence: Fence, run: Callable[[CancelToken], ToolResult], cancel: CancelToken
) -> ToolResult:
    """Run something that moves the robot, and end it when the robot leaves the fence.

    It is ended as by a cancel, closing message and all; the result is a failure then, with
    where the robot was. It is ended as well when nothing tells any more where the robot is.

    :raise Denied: if it is not known to be inside at the beginning; nothing is run then.
    :raise EndedAtGateError: if ``cancel`` ended before that was known.
    """
    keeper = _Keeper(clients, fence, cancel)
    try:
        result = run(keeper.token)
    finally:
        keeper.end()
    if not keeper.breach:
        return result
    told = f'ended: {keeper.breach}' + (f'; {result.error}' if result.error else '')
    status = result.status if result.status is Status.UNKNOWN else Status.FAILED
    return replace(result, status=status, error=told)


class _Keeper:
    """Watches the topic that tells where the robot is, in a thread of its own."""

    def __init__(self, clients: Clients, fence: Fence, cancel: CancelToken) -> None:
        self._fence = fence
        self._latest: LatestMessage = clients.latest(fence.topic, fence.type)
        self.breach = ''
        self.token = cancel.child()
        sample = self._first()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(sample,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the watch; ``breach`` says no more after this."""
        self._over.set()
        self.token.cancel()  # wakes the thread
        self._thread.join(JOIN_S)

    def _first(self) -> Sample:
        topic = self._fence.topic
        if not self._latest.connect(DISCOVERY_S, self.token) and not self.token.ended:
            raise Denied('limits', f'nobody publishes {topic}; is the robot inside the fence?')
        sample = self._latest.newest()
        if sample is None or time.monotonic() - sample.received_s > self._fence.max_silence_s:
            sample = self._latest.wait(sample.number if sample else 0, DISCOVERY_S, self.token)
        if self.token.ended:
            raise EndedAtGateError
        if sample is None:
            raise Denied('limits', f'{topic} is silent; is the robot inside the fence?')
        where = self._where(sample)
        if where:
            raise Denied('limits', f'the robot is not inside the fence: {where}')
        return sample

    def _watch(self, sample: Sample) -> None:
        while not self.token.ended:
            newer = self._latest.wait(sample.number, self._fence.max_silence_s, self.token)
            if self._over.is_set():
                return
            if newer is not None:
                sample, breach = newer, self._where(newer)
            elif self.token.ended:
                return
            else:
                breach = f'{self._fence.topic} has been silent for {self._fence.max_silence_s:g} s'
            if breach:
                self.breach = breach
                self.token.cancel(Cause.STOPPED)

    def _where(self, sample: Sample) -> str:
        """Return why the robot is not inside the fence; empty if it is."""
        message: Any = sample.message
        pose: Any = message.pose
        while hasattr(pose, 'pose'):  # with a covariance
            pose = pose.pose
        at = pose.position
        fault = outside(self._fence, message.header.frame_id, at.x, at.y, at.z)
        return f'{self._fence.topic}: {fault}' if fault else ''
