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

from nemotron_ros.bridge.interfaces import load_message
from nemotron_ros.bridge.tool_node import ToolNode
from nemotron_ros.bridge.waiting import DISCOVERY_S
from nemotron_ros.tools.estop import EStop, Heartbeat

LOOKS_PER_SILENCE = 5
SEEK_S = 0.2
"""How often a latched publisher is looked for, until there is one."""

ANY = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Hears every publisher, whatever it offers, from now on."""
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Hears also what a latched publisher has said before."""


class EStopWatch:
    """Calls ``stop`` when the topic says true, or the heartbeat falls silent.

    A heartbeat that never comes is silent too, once there was time to discover it.

    It hears by a node and a thread of its own: behind nothing that a tool listens to.

    :param beside: the robot's node; it resolves and remaps the topics' names.
    :param stop: gets the reason to latch, in a thread of its own; it may wait.
    """

    def __init__(self, beside: Node, estop: EStop, stop: Callable[[str], object]) -> None:
        self.listens_to = estop
        self._beside = beside
        self._stop = stop
        self._pressed = ''
        self._silent = ''
        if estop == EStop():
            self._ears: ToolNode | None = None
            return
        self._ears = ToolNode(beside, 'estop')
        self._node = self._ears.node
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
        if self._ears is not None:
            self._ears.close()

    def _listen_to_topic(self, topic: str) -> None:
        topic = self._beside.resolve_topic_name(topic)
        name = f'e-stop {topic}'

        def take(message: Bool) -> None:
            was, self._pressed = self._pressed, name if message.data else ''
            if self._pressed and not was:
                self._trip(name)

        self._node.create_subscription(Bool, topic, take, ANY)

        def seek_latched() -> None:
            # Only beside a latched publisher: the others would be warned of it.
            offered = self._node.get_publishers_info_by_topic(topic)
            if any(info.qos_profile.durability == LATCHED.durability for info in offered):
                self._node.destroy_timer(timer)
                self._node.create_subscription(Bool, topic, take, LATCHED)

        timer = self._every(SEEK_S, seek_latched)

    def _listen_to_heartbeat(self, heartbeat: Heartbeat) -> None:
        topic = self._beside.resolve_topic_name(heartbeat.topic)
        name = f'heartbeat {topic}'
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
        self._node.create_subscription(kind, topic, take, ANY)
        self._every(longest_s / LOOKS_PER_SILENCE, look)

    def _every(self, period_s: float, look: Callable[[], None]) -> Any:
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        return self._node.create_timer(period_s, look, clock=steady)

    def _trip(self, reason: str) -> None:
        threading.Thread(target=self._stop, args=(reason,), daemon=True).start()
