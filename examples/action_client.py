"""A node that gives a command, shows what happens as it happens, and can take it back.

::

    python examples/action_client.py 'drive 1.2 metres forward'
    python examples/action_client.py --node robot_1/nemotron --cancel-after 2 'go to the kitchen'

It uses rclpy alone, as with any other action, and never blocks a callback: each step is begun
by the one before it. Ctrl-C cancels the command; the robot stops.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import rclpy
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

END_S = 15.0
"""How long a cancelled command is given to tell its outcome."""


class Commander(Node):
    """Sends one command; ``outcome`` is done with its result when it has ended."""

    def __init__(self, server: str) -> None:
        super().__init__('example_commander')
        self.outcome: Future = Future()
        self._handle: Any = None
        self._cancelled = False
        self._client = ActionClient(self, ExecuteCommand, f'{server}/execute_command')

    def send(self, command: str, wait_s: float, cancel_after_s: float) -> bool:
        """Begin; False if nobody serves commands."""
        if not self._client.wait_for_server(wait_s):
            return False
        goal = ExecuteCommand.Goal(command=command, timeout_s=120.0)
        accepted = self._client.send_goal_async(goal, feedback_callback=self._show)
        accepted.add_done_callback(self._accepted)
        if cancel_after_s > 0:
            self.create_timer(cancel_after_s, self.cancel)
        return True

    def cancel(self) -> None:
        """Take the command back, also while it has not been accepted yet."""
        if not self._cancelled and self._handle is not None:
            self._handle.cancel_goal_async()
        self._cancelled = True

    def _accepted(self, future: Future) -> None:
        self._handle = future.result()
        if not self._handle.accepted:
            self.outcome.set_result(None)
            return
        if self._cancelled:
            self._handle.cancel_goal_async()
        self._handle.get_result_async().add_done_callback(
            lambda done: self.outcome.set_result(done.result().result)
        )

    def _show(self, message: Any) -> None:
        event = message.feedback.event
        if event.text_delta:
            print(event.text_delta, end='', flush=True)
        for call in event.call if event.phase == Event.PHASE_RESULT else ():
            print(f'{call.name} {call.arguments}: {call.result.value or call.result.error}')


def main() -> int:
    """Give the command of the command line; 0 if it was carried out."""
    parser = argparse.ArgumentParser()
    parser.add_argument('command')
    parser.add_argument('--node', default='nemotron', help='name of the nemotron node')
    parser.add_argument('--wait', type=float, default=10.0, help='seconds for the node to appear')
    parser.add_argument('--cancel-after', type=float, default=0.0, help='seconds; 0: never')
    arguments = parser.parse_args()
    # rclpy's own handler would end ROS before the cancel is sent.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Commander(arguments.node)
    try:
        if not node.send(arguments.command, arguments.wait, arguments.cancel_after):
            print(f'nobody serves commands at {arguments.node}', file=sys.stderr)
            return 1
        try:
            rclpy.spin_until_future_complete(node, node.outcome)
        except KeyboardInterrupt:
            node.cancel()
            rclpy.spin_until_future_complete(node, node.outcome, timeout_sec=END_S)
        result = node.outcome.result() if node.outcome.done() else None
        if result is None:
            print('the command was not taken, or its outcome is not known', file=sys.stderr)
            return 1
        print(f'\n{result.text or result.error} (status {result.status})')
        return 0 if result.status == ExecuteCommand.Result.STATUS_SUCCEEDED else 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
