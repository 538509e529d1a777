"""Where frames are to each other, as the topics of tf2 tell it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from nemotron_ros.bridge.interfaces import load_message
from nemotron_ros.bridge.transform_tree import Transform, TransformError, TransformTree
from nemotron_ros.cancel import CancelToken

TF_TYPE = 'tf2_msgs/msg/TFMessage'
MOVING, FIXED = '/tf', '/tf_static'
DEPTH = 100


class Transforms:
    """Listens to ``/tf`` and ``/tf_static``. Safe from any thread.

    :param resolve: gives the topics' names where the robot's node remaps them.
    :raise InterfaceError: where tf2_msgs is not installed.
    """

    def __init__(self, node: Node, resolve: Callable[[str], str]) -> None:
        self._node = node
        self._tree = TransformTree()
        self._changed = threading.Condition()
        message_class = load_message(TF_TYPE)
        # Best effort goes with every publisher; what is fixed is told once, and kept for us.
        moving = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        fixed = QoSProfile(depth=DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(message_class, resolve(MOVING), self.take, moving),
            node.create_subscription(message_class, resolve(FIXED), self.take_fixed, fixed),
        ]

    def take(self, message: Any) -> None:
        """Take a message about frames that move."""
        self._put(message, time.monotonic())

    def take_fixed(self, message: Any) -> None:
        """Take a message about frames that do not move: it never grows old."""
        self._put(message, math.inf)

    def look_up(
        self, target: str, source: str, max_age_s: float, timeout_s: float, cancel: CancelToken
    ) -> Transform:
        """Return where ``source`` is in ``target``, waiting for it if need be.

        :param max_age_s: how long ago each link that moves may have been told, seconds.
        :raise TransformError: if it is not known in time, saying why.
        """
        deadline_s = time.monotonic() + min(timeout_s, cancel.remaining_s())
        forget = cancel.on_cancel(self._wake)
        try:
            with self._changed:
                while True:
                    try:
                        return self._young(target, source, max_age_s)
                    except TransformError:
                        left_s = deadline_s - time.monotonic()
                        if left_s <= 0 or cancel.ended:
                            raise
                        self._changed.wait(left_s)
        finally:
            forget()

    def close(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _young(self, target: str, source: str, max_age_s: float) -> Transform:
        found = self._tree.look_up(target, source)
        age_s = time.monotonic() - found.received_s
        if age_s > max_age_s:
            raise TransformError(
                f'{source} in {target} was last told {age_s:.1f} s ago; '
                f'no longer than {max_age_s:g} s is needed'
            )
        return found

    def _put(self, message: Any, received_s: float) -> None:
        with self._changed:
            for stamped in message.transforms:
                move, turn = stamped.transform.translation, stamped.transform.rotation
                transform = Transform(
                    (move.x, move.y, move.z), (turn.x, turn.y, turn.z, turn.w), received_s
                )
                self._tree.put(stamped.header.frame_id, stamped.child_frame_id, transform)
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
