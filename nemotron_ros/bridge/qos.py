"""Quality of service that matches the other side."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

EVENTS = QoSProfile(depth=4000)
"""For the events of commands: a model may write faster than a listener reads, and the story
has no gaps."""


def for_subscription(node: Node, topic: str) -> QoSProfile | None:
    """Return the strongest profile that every publisher of ``topic`` can serve.

    None while there is no publisher.
    """
    return _weakest(node.get_publishers_info_by_topic(topic), depth=1)


def for_publisher(node: Node, topic: str) -> QoSProfile:
    """Return a profile that every present subscriber of ``topic`` can take.

    Reliable serves best-effort subscribers too. Latched is offered only where a
    subscriber asks for it, so that no old motion message greets a newcomer.
    """
    wanted = node.get_subscriptions_info_by_topic(topic)
    latched = any(
        info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in wanted
    )
    return _profile(True, latched, depth=10)


def _weakest(offered: Sequence[TopicEndpointInfo], depth: int) -> QoSProfile | None:
    if not offered:
        return None
    profiles = [info.qos_profile for info in offered]
    return _profile(
        all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles),
        all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles),
        depth,
    )


def _profile(reliable: bool, latched: bool, depth: int) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
