"""The ROS clients that tools use: made once per name and type, freed together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from nemotron_ros.bridge.action_client import SpunActionClient
from nemotron_ros.bridge.interfaces import load_action, load_message, load_service
from nemotron_ros.bridge.latest import LatestMessage
from nemotron_ros.bridge.qos import for_publisher
from nemotron_ros.bridge.tool_node import ToolNode
from nemotron_ros.bridge.transforms import Transforms
from nemotron_ros.tools.limits import MotionLimits

T = TypeVar('T')


class Clients:
    """Publishers, subscriptions, service and action clients of one node.

    They are kept by resolved name and type. Safe from any thread.

    :param limits: what every message that goes out is held against.
    """

    def __init__(self, node: Node, limits: MotionLimits | None = None) -> None:
        self.limits = limits or MotionLimits()
        self._node = node
        self._group = ReentrantCallbackGroup()
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str, str], Any] = {}
        self._closers: list[Callable[[], object]] = []
        self._tool_node = ToolNode(node)

    @property
    def tool_node(self) -> Node:
        """The node that hears for the tools; it is spun."""
        return self._tool_node.node

    def publisher(self, topic: str, type_name: str) -> Any:
        """Return a publisher whose QoS fits the subscribers that are there now."""
        name = self._node.resolve_topic_name(topic)

        def make() -> Any:
            publisher = self._node.create_publisher(
                load_message(type_name), name, for_publisher(self._node, name)
            )
            self._closers.append(lambda: self._node.destroy_publisher(publisher))
            return publisher

        return self._get('publisher', name, type_name, make)

    def latest(self, topic: str, type_name: str) -> LatestMessage:
        """Return the keeper of a topic's newest message."""
        name = self._node.resolve_topic_name(topic)

        def make() -> LatestMessage:
            latest = LatestMessage(self._tool_node.node, load_message(type_name), name)
            self._closers.append(latest.close)
            return latest

        return self._get('latest', name, type_name, make)

    def transforms(self) -> Transforms:
        """Return what knows where frames are; it listens from the first time on.

        :raise InterfaceError: where tf2_msgs is not installed.
        """

        def make() -> Transforms:
            node = self._tool_node.node
            transforms = Transforms(node, self._node.resolve_topic_name)
            self._closers.append(transforms.close)
            return transforms

        return self._get('transforms', '', '', make)

    def service(self, service: str, type_name: str) -> Any:
        """Return a service client."""
        name = self._node.resolve_service_name(service)

        def make() -> Any:
            node = self._tool_node.node
            client = node.create_client(load_service(type_name), name, callback_group=self._group)
            self._closers.append(lambda: node.destroy_client(client))
            return client

        return self._get('service', name, type_name, make)

    def action(self, action: str, type_name: str) -> Any:
        """Return an action client."""
        name = self._node.resolve_topic_name(action)

        def make() -> Any:
            client = SpunActionClient(
                self._tool_node.node,
                load_action(type_name),
                name,
                callback_group=self._group,
            )
            self._closers.append(client.destroy)
            return client

        return self._get('action', name, type_name, make)

    def close(self) -> None:
        """Free everything."""
        with self._lock:
            closers, self._closers = self._closers, []
            self._made.clear()
        for close in closers:
            close()
        self._tool_node.close()

    def _get(self, kind: str, name: str, type_name: str, make: Callable[[], T]) -> T:
        with self._lock:
            key = (kind, name, type_name)
            if key not in self._made:
                self._made[key] = make()
            made: T = self._made[key]
            return made
