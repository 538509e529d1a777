"""What runs on ROS at a moment, as data: who publishes, listens and serves, and with what QoS."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.node import Node
from rclpy.qos import QoSProfile

from nemotron_ros.cancel import CancelToken

SETTLED_S = 2.0
"""Discovery is taken as done when the graph, not an empty one, has stayed the same for so long."""
LOOK_S = 0.2


@dataclass(frozen=True)
class Endpoint:
    """One publisher or subscription: the node that it is of, its type and its QoS."""

    node: str
    type: str
    qos: QoSProfile


@dataclass(frozen=True)
class Topic:
    """The two sides of a topic."""

    publishers: tuple[Endpoint, ...] = ()
    subscriptions: tuple[Endpoint, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Names with their namespaces, and what is behind them; servers only, no clients."""

    topics: Mapping[str, Topic] = field(default_factory=dict)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    actions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def settled(node: Node, timeout_s: float, cancel: CancelToken) -> Graph:
    """Return the graph once discovery brings nothing new, or as it is when the time is over.

    What ``node`` itself has is left out.
    """
    deadline = time.monotonic() + timeout_s
    graph = snapshot(node)
    changed_s = time.monotonic()
    while time.monotonic() < deadline:
        if graph != Graph() and time.monotonic() - changed_s >= SETTLED_S:
            break
        if cancel.wait(LOOK_S):
            break
        newer = snapshot(node)
        if newer != graph:
            graph, changed_s = newer, time.monotonic()
    return graph


def snapshot(node: Node) -> Graph:
    """Return the graph as far as ``node`` has discovered it, without what it has itself."""
    own = node.get_fully_qualified_name()
    topics = {}
    for name, _ in node.get_topic_names_and_types():
        topic = Topic(
            _endpoints(node.get_publishers_info_by_topic(name), own),
            _endpoints(node.get_subscriptions_info_by_topic(name), own),
        )
        if topic != Topic():
            topics[name] = topic
    services: dict[str, set[str]] = {}
    actions: dict[str, set[str]] = {}
    for name, namespace in node.get_node_names_and_namespaces():
        if f'{namespace.rstrip("/")}/{name}' == own:
            continue
        try:
            served = node.get_service_names_and_types_by_node(name, namespace)
            acted = get_action_server_names_and_types_by_node(node, name, namespace)
        except RuntimeError:  # it has gone since it was listed
            continue
        for target, found in ((services, served), (actions, acted)):
            for interface, types in found:
                target.setdefault(interface, set()).update(types)
    return Graph(topics, _sorted(services), _sorted(actions))


def _endpoints(found: Iterable[Any], own: str) -> tuple[Endpoint, ...]:
    endpoints = [
        Endpoint(
            f'{info.node_namespace.rstrip("/")}/{info.node_name}',
            info.topic_type,
            info.qos_profile,
        )
        for info in found
    ]
    return tuple(sorted((e for e in endpoints if e.node != own), key=lambda e: (e.node, e.type)))


def _sorted(found: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(types)) for name, types in sorted(found.items())}
