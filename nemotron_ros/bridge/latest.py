"""The latest message of a topic, with the time that it came."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from nemotron_ros.bridge.qos import for_subscription
from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken


@dataclass(frozen=True)
class Sample:
    """A message; ``number`` counts from 1 in its subscription, ``received_s`` is monotonic."""

    number: int
    message: Any
    received_s: float


class LatestMessage:
    """Subscribes to a topic and keeps its newest message."""

    def __init__(self, node: Node, message_class: type, topic: str) -> None:
        self._node = node
        self._class = message_class
        self._topic = topic
        self._changed = threading.Condition()
        self._sample: Sample | None = None
        self._qos: QoSProfile | None = None
        self._subscription: Any = None

    @property
    def latched(self) -> bool:
        """Whether the publisher keeps its last message for late subscribers."""
        return self._qos is not None and self._qos.durability == DurabilityPolicy.TRANSIENT_LOCAL

    def connect(self, timeout_s: float, cancel: CancelToken) -> bool:
        """Subscribe as the publishers of now need it; False if there is no publisher in time.

        A subscription that already fits is kept, with what it has received.
        """

        def found() -> bool:
            return for_subscription(self._node, self._topic) is not None

        if not until_true(found, timeout_s, cancel):
            return False
        qos = for_subscription(self._node, self._topic)
        if qos is not None and qos != self._qos:
            self.close()
            self._qos = qos
            self._subscription = self._node.create_subscription(
                self._class, self._topic, self._take, qos
            )
        return True

    def newest(self) -> Sample | None:
        """Return the newest message; None if none has come."""
        with self._changed:
            return self._sample

    def wait(self, after: int, timeout_s: float, cancel: CancelToken) -> Sample | None:
        """Return the newest message with a number above ``after``; None if none comes in time."""
        deadline = time.monotonic() + min(timeout_s, cancel.remaining_s())
        forget = cancel.on_cancel(self._wake)
        try:
            with self._changed:
                while self._sample is None or self._sample.number <= after:
                    left_s = deadline - time.monotonic()
                    if left_s <= 0 or cancel.ended:
                        return None
                    self._changed.wait(left_s)
                return self._sample
        finally:
            forget()

    def close(self) -> None:
        """End the subscription and forget what it received."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        with self._changed:
            self._subscription = None
            self._qos = None
            self._sample = None

    def _take(self, message: Any) -> None:
        with self._changed:
            number = 1 if self._sample is None else self._sample.number + 1
            self._sample = Sample(number, message, time.monotonic())
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
