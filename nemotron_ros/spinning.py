"""How this package's processes run a ROS node: spun in the background, ended in order.

Each node is spun by one thread of its own, and its callbacks are short: what takes long is
awaited (:func:`in_thread`). In rclpy's executor of several threads one thread waits while
another one takes, and now and then a message lies there for a second or two; on a robot that
may be a velocity, an odometry or a cancel.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import rclpy
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

T = TypeVar('T')

INTERRUPT_S = 15.0
"""How long a node that is still getting ready is given to give it up: longer than a server is
given to end before it is killed."""
END_S = 2.0
"""How long callbacks are given to return when a node ends."""
PAUSE_S = 0.01
"""Between a callback that failed and the next one, so that one that always fails blocks nobody."""


class Served(Protocol):
    """A node that :func:`serve` runs. All three are called while it is spun."""

    def begin(self) -> bool:
        """Get ready, however long it takes; False ends the process, with code 1."""

    def interrupt(self) -> None:
        """Make ``begin`` return soon; called again and again until it has."""

    def end(self) -> None:
        """End in order: say the last words, leave nothing moving."""


def serve(make: Callable[[], Any], args: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT or SIGTERM; return the process's exit code.

    :param make: makes the node, a :class:`Served` one, once ROS is up.
    """
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    with told_to_end() as over:
        try:
            node = make()
        except ParameterException as error:
            # No shutdown of rclpy: it would destroy the node, and that is half made.
            print(error, file=sys.stderr)
            return 1
        try:
            return _run_alone(node, over)
        finally:
            node.destroy_node()
            rclpy.try_shutdown()


class Over:
    """Whether a process is to end: told by a signal, or by itself."""

    def __init__(self, heard: socket.socket, told: socket.socket) -> None:
        self._heard = heard
        self._told = told

    def tell(self) -> None:
        """Have it end."""
        self._told.send(b'0')

    def wait(self) -> None:
        """Wait until it has been told."""
        self._heard.recv(1)


@contextmanager
def told_to_end() -> Iterator[Over]:
    """Yield what SIGINT and SIGTERM tell; once the block has ended they change nothing more."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    heard, told = socket.socketpair()
    with heard, told:
        told.setblocking(False)
        # By a file and not by a lock: of two signals at once the kernel hands both to whichever
        # thread it likes, and a main thread that waits for a lock would sleep on.
        signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        try:
            yield Over(heard, told)
        finally:
            for number in numbers:
                signal.signal(number, signal.SIG_IGN)  # it ends already, with its own exit code
            signal.set_wakeup_fd(-1)


def _run_alone(node: Any, over: Over) -> int:
    """Run a node unless another one of its name runs; return the exit code."""
    name = node.get_fully_qualified_name()
    with taken(name) as it_is_ours:
        if not it_is_ours:
            node.get_logger().error(
                f'{name} runs on this machine already, and both would obey every command: '
                'end that one, or give each robot a namespace of its own'
            )
            return 1
        with spun(node):
            return _run(node, over)


@contextmanager
def taken(name: str) -> Iterator[bool]:
    """Hold a node's name on this machine and ROS domain; yield False if a process has it already.

    The kernel frees it however a process ends. The graph would not do: for a while it
    shows nodes that were killed, and one that is started anew must not wait for that.
    """
    domain = os.environ.get('ROS_DOMAIN_ID') or '0'
    digest = hashlib.sha256(f'{domain} {name}'.encode()).hexdigest()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        try:
            held.bind(f'\0nemotron_ros/{digest}')  # an abstract address: no file is left
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                yield False
                return
            raise
        yield True


def _run(node: Served, over: Over) -> int:
    ready: list[bool] = []

    def begin() -> None:
        is_ready = False
        try:
            is_ready = node.begin()
        finally:
            ready.append(is_ready)
            if not is_ready:
                over.tell()

    # In a thread of its own, so that a signal ends a node that is still loading.
    beginning = threading.Thread(target=begin, daemon=True)
    beginning.start()
    over.wait()
    deadline_s = time.monotonic() + INTERRUPT_S
    interrupted = not ready  # and not whether the thread lives: it tells before it ends
    while beginning.is_alive() and time.monotonic() < deadline_s:
        node.interrupt()
        beginning.join(0.05)
    node.end()
    return 0 if interrupted or ready == [True] else 1


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
    try:
        with spun(node):
            yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


@contextmanager
def spun(node: Node) -> Iterator[None]:
    """Spin a node in the background, by one thread, for as long as the block runs."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    ending = threading.Event()
    thread = threading.Thread(target=_spin, args=(executor, ending), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        executor.shutdown(timeout_sec=END_S)
        thread.join(END_S)


async def in_thread(node: Node, function: Callable[[], T]) -> T:
    """Await, in one of a node's callbacks, what a blocking function returns or raises."""
    executor = node.executor
    future: Future = Future(executor=executor)

    def run() -> None:
        try:
            result = function()
        except Exception as error:  # handed on to whoever awaits
            future.set_exception(error)
        else:
            future.set_result(result)
        if executor is not None:
            executor.wake()

    threading.Thread(target=run, daemon=True).start()
    answer: T = await future
    return answer


def change_states_aside(node: Node, group: ReentrantCallbackGroup) -> None:
    """Have a lifecycle node's transitions that others ask for run in threads of their own.

    rclpy runs them in the thread that spins. There, to load a model would keep the node for
    minutes from saying which state it is in, and from hearing a stop.

    :param group: takes their service; in its own one nothing else would run meanwhile.
    """
    for service in node.services:
        if service.srv_type is ChangeState:
            service.callback = _aside(node, service.callback)
            service.callback_group = group
            group.add_entity(service)


def _aside(node: Node, change: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    async def aside(request: Any, response: Any) -> Any:
        try:
            return await in_thread(node, lambda: change(request, response))
        except RuntimeError as error:  # so Humble says that there is no such way from here
            node.get_logger().error(f'state not changed: {error}')
            response.success = False
            return response

    return aside


def _spin(executor: SingleThreadedExecutor, ending: threading.Event) -> None:
    """Spin until the end; a callback that raises takes none of the others along."""
    while not ending.is_set():
        try:
            executor.spin()
            return
        except ExternalShutdownException:
            return
        except Exception as error:
            if not ending.is_set():  # at the end, rclpy trips over what it has destroyed itself
                get_logger('nemotron_ros').error(f'a callback failed: {error!r}')
            time.sleep(PAUSE_S)
