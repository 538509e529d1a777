"""A context, an executor and nodes for tests that speak real DDS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node


class WholeNode(Node):
    """A node that takes its action servers along, so that no later test discovers them."""

    def destroy_node(self) -> None:
        for waitable in list(self.waitables):
            waitable.destroy()
        super().destroy_node()


class Ros:
    """Nodes in one context, spun in the background."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self.context.init(args=None)
        self.executor = MultiThreadedExecutor(num_threads=6, context=self.context)
        self._nodes: list[Node] = []
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def node(self, name: str) -> Node:
        """Return a new node that is spun."""
        return self.add(WholeNode(name, context=self.context))

    def add(self, node: Node) -> Node:
        """Spin a node made elsewhere in this context."""
        self._nodes.append(node)
        self.executor.add_node(node)
        return node

    def close(self) -> None:
        """End everything."""
        self.executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        for node in self._nodes:
            node.destroy_node()
        self.context.try_shutdown()

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except rclpy.executors.ExternalShutdownException:
            return


@pytest.fixture
def ros() -> Iterator[Ros]:
    """Give a context of the test's own."""
    it = Ros()
    yield it
    it.close()


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Give an assertion that waits for its condition."""
    from nemotron_ros.bridge.waiting import until_true
    from nemotron_ros.cancel import CancelToken

    def check(condition: Callable[[], bool], timeout_s: float = 5.0, what: str = '') -> None:
        assert until_true(condition, timeout_s, CancelToken(timeout_s)), what or 'not in time'

    return check
