"""The ROS clients that tools use: made once per name and type, freed together."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from nemotron_ros.bridge.action_client import SpunActionClient
from nemotron_ros.bridge.action_server_watch import ActionServerWatch
from nemotron_ros.bridge.interfaces import load_action, load_message, load_service
from nemotron_ros.bridge.latest import LatestMessage
from nemotron_ros.bridge.qos import for_publisher
from nemotron_ros.bridge.robot_time import RobotTime
from nemotron_ros.bridge.tool_node import ToolNode
from nemotron_ros.bridge.transforms import Transforms
from nemotron_ros.tools.limits import MotionLimits

T = TypeVar('T')
Key = tuple[str, str, str]
Made = tuple[T, Callable[[], object]]
"""Something of a node, and what frees it."""


class Clients:
    """Publishers, subscriptions, service and action clients of one node.

    They are kept by resolved name and type. Safe from any thread.

    :param limits: what every message that goes out is held against.
    """

    def __init__(self, node: Node, limits: MotionLimits | None = None) -> None:
        self.limits = limits or MotionLimits()
        self.time = RobotTime(node)
        self._node = node
        self._topic_name = functools.cache(node.resolve_topic_name)
        self._service_name = functools.cache(node.resolve_service_name)
        self._group = ReentrantCallbackGroup()
        self._lock = threading.Lock()
        self._made: dict[Key, Made[Any]] = {}
        self._kept: frozenset[Key] = frozenset()
        self._tool_node = ToolNode(node)

    @property
    def tool_node(self) -> Node:
        """The node that hears for the tools; it is spun."""
        return self._tool_node.node

    def publisher(self, topic: str, type_name: str) -> Any:
        """Return a publisher whose QoS fits the subscribers that are there now."""
        name = self._topic_name(topic)

        def make() -> Made[Any]:
            publisher = self._node.create_publisher(
                load_message(type_name), name, for_publisher(self._node, name)
            )
            return publisher, lambda: self._node.destroy_publisher(publisher)

        return self._get('publisher', name, type_name, make)

    def latest(self, topic: str, type_name: str) -> LatestMessage:
        """Return the keeper of a topic's newest message."""
        name = self._topic_name(topic)

        def make() -> Made[LatestMessage]:
            latest = LatestMessage(self._tool_node.node, load_message(type_name), name)
            return latest, latest.close

        return self._get('latest', name, type_name, make)

    def transforms(self) -> Transforms:
        """Return what knows where frames are; it listens from the first time on.

        :raise InterfaceError: where tf2_msgs is not installed.
        """

        def make() -> Made[Transforms]:
            node = self._tool_node.node
            transforms = Transforms(node, self._node.resolve_topic_name)
            return transforms, transforms.close

        return self._get('transforms', '', '', make)

    def service(self, service: str, type_name: str) -> Any:
        """Return a service client."""
        name = self._service_name(service)

        def make() -> Made[Any]:
            node = self._tool_node.node
            client = node.create_client(load_service(type_name), name, callback_group=self._group)
            return client, lambda: node.destroy_client(client)

        return self._get('service', name, type_name, make)

    def action(self, action: str, type_name: str) -> Any:
        """Return an action client."""
        name = self._topic_name(action)

        def make() -> Made[Any]:
            client = SpunActionClient(
                self._tool_node.node,
                load_action(type_name),
                name,
                callback_group=self._group,
            )
            return client, client.destroy

        return self._get('action', name, type_name, make)

    def action_server(self, action: str) -> ActionServerWatch:
        """Return what tells when the servers that are there now have gone."""
        return ActionServerWatch(self._tool_node.node, self._topic_name(action))

    def keep(self) -> None:
        """Keep what there is now through every :meth:`release`."""
        with self._lock:
            self._kept = frozenset(self._made)

    def release(self) -> None:
        """Free everything that is not kept; it is made again when it is asked for."""
        with self._lock:
            freed = [self._made.pop(key) for key in list(self._made) if key not in self._kept]
        for _, free in freed:
            free()

    def close(self) -> None:
        """Free everything."""
        with self._lock:
            self._kept = frozenset()
        self.release()
        self._tool_node.close()

    def _get(self, kind: str, name: str, type_name: str, make: Callable[[], Made[T]]) -> T:
        with self._lock:
            key = (kind, name, type_name)
            if key not in self._made:
                self._made[key] = make()
            made: T = self._made[key][0]
            return made
