"""Publishes a node's markers, as long as somebody looks at them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from visualization_msgs.msg import Marker, MarkerArray

from nemotron_ros.events import Event
from nemotron_ros.markers.draw import markers
from nemotron_ros.markers.ground import Ground, ground_of
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.watch.view import View, after

LOOK_S = 0.2
"""How often it is looked whether anything has changed."""
AGAIN_S = 1.0
"""After so long everything is told once more: for who has begun to look, and because markers
have an end of their own."""

_Key = tuple[str, int]


class Markers:
    """Publishes ``~/markers`` while the node is spun. Safe from any thread.

    :param stopped: why nothing may run; empty if it may. It must not wait.
    """

    def __init__(self, node: Node, stopped: Callable[[], str]) -> None:
        self._node = node
        self._stopped = stopped
        self._lock = threading.Lock()
        self._view = View(node.get_name())
        self._ground = Ground()
        self._told: dict[_Key, Marker] = {}
        self._told_s = 0.0
        self._publisher = node.create_publisher(MarkerArray, '~/markers', 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(LOOK_S, self._look, clock=steady)

    def show(self, tool_file: ToolFile | None) -> None:
        """Show another robot's world, or none."""
        ground = Ground() if tool_file is None else ground_of(tool_file)
        with self._lock:
            self._ground = ground

    def note(self, event: Event) -> None:
        """Take note of an event; never waits."""
        with self._lock:
            self._view = after(self._view, event, time.monotonic())

    def _look(self) -> None:
        if not self._publisher.get_subscription_count():
            return
        with self._lock:
            view, ground = self._view, self._ground
        view = replace(view, stopped=self._stopped())
        now = {(marker.ns, marker.id): marker for marker in markers(ground, view)}
        if now == self._told and time.monotonic() - self._told_s < AGAIN_S:
            return
        gone = [_gone(self._told[key]) for key in self._told.keys() - now.keys()]
        try:
            self._publisher.publish(MarkerArray(markers=[*gone, *now.values()]))
        except RuntimeError as error:  # the next one comes soon
            self._node.get_logger().error(f'markers not told: {error}')
            return
        self._told, self._told_s = now, time.monotonic()


def _gone(marker: Marker) -> Marker:
    return Marker(header=marker.header, ns=marker.ns, id=marker.id, action=Marker.DELETE)
