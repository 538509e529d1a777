"""A leaf of a behaviour tree that has a command carried out; needs ``pip install py_trees``.

::

    python examples/behaviour_tree.py 'go to the kitchen' 'say dinner is ready'

gives the commands one after the other, and ends with the first that fails.
"""

from __future__ import annotations

import sys
from typing import Any

import py_trees
import rclpy
from nemotron_msgs.action import ExecuteCommand
from py_trees.common import Status
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future

TICK_S = 0.05


class Obey(py_trees.behaviour.Behaviour):
    """Has one command carried out. No tick blocks; whoever owns the node spins it.

    ============ =============================================================
    the tree     the command
    ============ =============================================================
    RUNNING      waits for the server, was sent, or is carried out
    SUCCESS      ended as succeeded: it made calls, and every one succeeded
    FAILURE      ended in another way, be it answered in words alone, or was not taken
    INVALID      the tree went elsewhere: it is cancelled, accepted or not yet
    ============ =============================================================
    """

    def __init__(self, name: str, node: Node, command: str, server: str = 'nemotron') -> None:
        super().__init__(name)
        self._command = command
        self._client = ActionClient(node, ExecuteCommand, f'{server}/execute_command')
        self._attempt = 0
        self._sent = False
        self._handle: Any = None
        self._result: Any = None

    def initialise(self) -> None:
        """Begin anew."""
        self._attempt += 1
        self._sent, self._handle, self._result = False, None, None

    def update(self) -> Status:
        """Send the command once there is a server; look how it goes."""
        if not self._sent:
            if self._client.server_is_ready():
                self._send(self._attempt)
            else:
                self.feedback_message = 'nobody serves commands'
            return Status.RUNNING
        if self._handle is not None and not self._handle.accepted:
            self.feedback_message = 'the command was not taken'
            return Status.FAILURE
        if self._result is None:
            return Status.RUNNING
        self.feedback_message = self._result.text or self._result.error
        succeeded = self._result.status == ExecuteCommand.Result.STATUS_SUCCEEDED
        return Status.SUCCESS if succeeded else Status.FAILURE

    def terminate(self, new_status: Status) -> None:
        """Cancel what runs, if the tree goes elsewhere."""
        if new_status == Status.INVALID:
            self._attempt += 1
            if self._handle is not None and self._handle.accepted and self._result is None:
                self._handle.cancel_goal_async()

    def _send(self, attempt: int) -> None:
        self._sent = True

        def accepted(future: Future) -> None:
            handle = future.result()
            if attempt != self._attempt:  # the tree went elsewhere meanwhile
                if handle.accepted:
                    handle.cancel_goal_async()
                return
            self._handle = handle
            if handle.accepted:
                handle.get_result_async().add_done_callback(ended)

        def ended(future: Future) -> None:
            if attempt == self._attempt:
                self._result = future.result().result

        goal = ExecuteCommand.Goal(command=self._command)
        self._client.send_goal_async(goal).add_done_callback(accepted)


def main() -> int:
    """Give the commands of the command line; 0 if all succeeded."""
    if not sys.argv[1:]:
        print('expected commands in words', file=sys.stderr)
        return 2
    rclpy.init()
    node = Node('example_tree')
    root = py_trees.composites.Sequence(name='commands', memory=True)
    root.add_children([Obey(words, node, words) for words in sys.argv[1:]])
    try:
        while True:
            root.tick_once()
            if root.status != Status.RUNNING:
                break
            rclpy.spin_once(node, timeout_sec=TICK_S)
        print(f'{root.status.name.lower()}: {root.tip().feedback_message}')
        return 0 if root.status == Status.SUCCESS else 1
    finally:
        root.stop(Status.INVALID)
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
