"""A node of its own for what is heard of topics, spun by one thread.

A motion ends by what a sensor says, so it must not wait behind anything else. In rclpy's
executor of several threads one thread waits while another one takes, and now and then a stream
of messages stood still for a second that way. Here one thread does both.
"""

from __future__ import annotations

import threading

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

END_S = 2.0


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
        self._executor = SingleThreadedExecutor(context=beside.context)
        self._executor.add_node(self.node)
        self._ending = False
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, then the node."""
        self._ending = True
        self._executor.shutdown(timeout_sec=END_S)
        self._thread.join(END_S)
        self.node.destroy_node()

    def _spin(self) -> None:
        while not self._ending:
            try:
                self._executor.spin()
            except ExternalShutdownException:
                return
            except Exception as error:  # one bad message must not end what the others say
                if not self._ending:
                    self.node.get_logger().error(f'a message was not read: {error!r}')
