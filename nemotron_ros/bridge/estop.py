"""Listens to an emergency stop and to a heartbeat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

from nemotron_ros.bridge.interfaces import load_message
from nemotron_ros.bridge.waiting import DISCOVERY_S
from nemotron_ros.tools.estop import EStop, Heartbeat

LOOKS_PER_SILENCE = 5

ANY = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Hears every publisher, whatever it offers, from now on."""
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Hears also what a latched publisher has said before."""


class EStopWatch:
    """Calls ``stop`` when the topic says true, or the heartbeat falls silent.

    A heartbeat that never comes is silent too, once there was time to discover it.

    :param node: what hears; it must be spun.
    :param stop: gets the reason to latch, in a thread of its own; it may wait.
    """

    def __init__(self, node: Node, estop: EStop, stop: Callable[[str], object]) -> None:
        self._node = node
        self._stop = stop
        self._pressed = ''
        self._silent = ''
        self._subscriptions: list[Any] = []
        self._timer: Any = None
        if estop.topic is not None:
            self._listen_to_topic(estop.topic)
        if estop.heartbeat is not None:
            self._listen_to_heartbeat(estop.heartbeat)

    @property
    def active(self) -> str:
        """Why the robot must stay stopped now; empty if nothing says so."""
        return ', '.join(filter(None, (self._pressed, self._silent)))

    def close(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _listen_to_topic(self, topic: str) -> None:
        name = f'e-stop {self._node.resolve_topic_name(topic)}'

        def take(message: Bool) -> None:
            was, self._pressed = self._pressed, name if message.data else ''
            if self._pressed and not was:
                self._trip(name)

        for qos in (ANY, LATCHED):
            # One of the two does not go with the publisher, as it may be; nobody need be warned.
            quiet = SubscriptionEventCallbacks(incompatible_qos=lambda _: None)
            self._subscriptions.append(
                self._node.create_subscription(Bool, topic, take, qos, event_callbacks=quiet)
            )

    def _listen_to_heartbeat(self, heartbeat: Heartbeat) -> None:
        name = f'heartbeat {self._node.resolve_topic_name(heartbeat.topic)}'
        longest_s = heartbeat.max_silence_s
        last_s = time.monotonic() + max(0.0, DISCOVERY_S - longest_s)

        def take(_: object) -> None:
            nonlocal last_s
            last_s = time.monotonic()
            self._silent = ''

        def look() -> None:
            if time.monotonic() - last_s > longest_s and not self._silent:
                self._silent = name
                self._trip(name)

        kind = load_message(heartbeat.type)
        self._subscriptions.append(
            self._node.create_subscription(kind, heartbeat.topic, take, ANY)
        )
        self._timer = self._node.create_timer(
            longest_s / LOOKS_PER_SILENCE, look, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _trip(self, reason: str) -> None:
        threading.Thread(target=self._stop, args=(reason,), daemon=True).start()
