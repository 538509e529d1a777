"""Tells when the server that took a goal has gone, also if another one is in its place."""

from __future__ import annotations

from rclpy.node import Node

LOOKS = 5
"""How often in a row a server must be looked for in vain: discovery may flicker."""


class ActionServerWatch:
    """The action servers of a name that are there when it is made.

    Each is known by the endpoint that publishes its status. A server that is started anew has
    another one, and does not know the goals of the one before it.

    :param action: the action's name, resolved.
    """

    def __init__(self, node: Node, action: str) -> None:
        self._node = node
        self._topic = f'{action}/_action/status'
        self._first = self._endpoints()
        self._missed = 0

    def gone(self) -> bool:
        """Whether none of them has been there at several looks in a row, this one included."""
        self._missed = 0 if self._first & self._endpoints() else self._missed + 1
        return self._missed >= LOOKS

    def _endpoints(self) -> frozenset[tuple[int, ...]]:
        offered = self._node.get_publishers_info_by_topic(self._topic)
        return frozenset(tuple(info.endpoint_gid) for info in offered)
