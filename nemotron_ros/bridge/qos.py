"""Quality of service that matches the other side."""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

EVENTS = QoSProfile(depth=4000)
"""For the events of commands: a model may write faster than a listener reads, and the story
has no gaps."""


def for_subscription(node: Node, topic: str) -> QoSProfile | None:
    """Return a profile for the newest message of ``topic``, whatever its publishers offer.

    Best effort: it goes with every publisher, and a message that was lost does not hold back
    the ones after it, as it would in a reliable stream. Where every publisher keeps its last
    message for latecomers, it is asked for, and that takes a reliable subscription.

    None while there is no publisher.
    """
    offered = node.get_publishers_info_by_topic(topic)
    return subscribing_to([info.qos_profile for info in offered]) if offered else None


def for_publisher(node: Node, topic: str) -> QoSProfile:
    """Return a profile that every present subscriber of ``topic`` can take.

    Reliable serves best-effort subscribers too. Latched is offered only where a
    subscriber asks for it, so that no old motion message greets a newcomer.
    """
    wanted = node.get_subscriptions_info_by_topic(topic)
    return publishing_to([info.qos_profile for info in wanted])


def subscribing_to(offered: Iterable[QoSProfile]) -> QoSProfile:
    """Return the profile of :func:`for_subscription` by what publishers offer."""
    latched = all(
        profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and profile.reliability == ReliabilityPolicy.RELIABLE
        for profile in offered
    )
    return _profile(latched, latched, depth=1)


def publishing_to(wanted: Iterable[QoSProfile]) -> QoSProfile:
    """Return the profile of :func:`for_publisher` by what subscribers ask for."""
    latched = any(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in wanted)
    return _profile(True, latched, depth=10)


def _profile(reliable: bool, latched: bool, depth: int) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
