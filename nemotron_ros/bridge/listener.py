"""A node of its own for what is heard of topics, spun by one thread.

A motion ends by what a sensor says, so it must not wait behind anything else. In rclpy's
executor of several threads one thread waits while another one takes, and now and then a stream
of messages stood still for a second that way. Here one thread does both.
"""

from __future__ import annotations

from contextlib import ExitStack

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from nemotron_ros.spinning import spun


class Listener:
    """Makes and spins a node beside another one, in its context and namespace."""

    def __init__(self, beside: Node) -> None:
        self.node = Node(
            f'{beside.get_name()}_listener',
            namespace=beside.get_namespace(),
            context=beside.context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        executor = SingleThreadedExecutor(context=beside.context)
        executor.add_node(self.node)
        self._end = ExitStack()
        self._end.callback(self.node.destroy_node)
        self._end.enter_context(spun(executor))

    def close(self) -> None:
        """End the thread, then the node."""
        self._end.close()
