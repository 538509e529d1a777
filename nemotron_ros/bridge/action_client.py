"""An action client that can be made while its node is spun."""

from __future__ import annotations

import threading

from rclpy.action import ActionClient


class SpunActionClient(ActionClient):
    """rclpy shows a new client to the executor before it has given it its lock.

    An executor that looks at it in between would end by that. This one has a lock from the
    first; its own replaces it.
    """

    _lock = threading.Lock()
