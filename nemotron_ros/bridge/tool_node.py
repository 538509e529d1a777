"""A node of its own for what tools hear: topics, and answers of services and actions.

A motion ends by what a sensor says or a server answers, so neither may wait behind anything
that the robot's own node has to do, such as loading a model or ending its commands.
"""

from __future__ import annotations

from contextlib import ExitStack

from rclpy.node import Node

from nemotron_ros.spinning import spun


class ToolNode:
    """Makes and spins a node beside another one, in its context and namespace."""

    def __init__(self, beside: Node, purpose: str = 'tools') -> None:
        self.node = Node(
            f'{beside.get_name()}_{purpose}',
            namespace=beside.get_namespace(),
            context=beside.context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._end = ExitStack()
        self._end.callback(self.node.destroy_node)
        self._end.enter_context(spun(self.node))

    def close(self) -> None:
        """End the thread, then the node."""
        self._end.close()
