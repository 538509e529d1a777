"""How this package's processes run a ROS node: spun in the background, ended in order."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

NodeT = TypeVar('NodeT', bound=Any)

END_S = 2.0
"""How long callbacks are given to return when a node ends."""


def serve(
    make: Callable[[], NodeT],
    begin: Callable[[NodeT], bool],
    end: Callable[[NodeT], object],
    args: Sequence[str] | None = None,
) -> int:
    """Run a node until SIGINT or SIGTERM; return the process's exit code.

    :param make: makes the node, once ROS is up.
    :param begin: called while the node is spun; False ends it at once, with code 1.
    :param end: called while the node is still spun, so that it can say its last words.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    node = make()
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        if not begin(node):
            return 1
        over.wait()
        return 0
    finally:
        end(node)
        executor.shutdown(timeout_sec=END_S)
        thread.join(END_S)
        node.destroy_node()
        rclpy.try_shutdown()


@contextmanager
def spinning(name: str) -> Iterator[Node]:
    """Yield a node, with a name of its own, that is spun in the background.

    The process keeps its own signal handlers, so that Ctrl-C can still cancel::

        with spinning('my_client') as node:
            client = CommandClient(node)
    """
    context = rclpy.Context()
    context.init(args=None)
    node = Node(f'{name}_{time.monotonic_ns() % 10**9}', context=context)
    executor = MultiThreadedExecutor(num_threads=2, context=context)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown(timeout_sec=END_S)
        thread.join(END_S)
        node.destroy_node()
        context.try_shutdown()


def _spin(executor: MultiThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return
