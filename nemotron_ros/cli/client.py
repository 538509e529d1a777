"""A client of the command action, for people's tools: sends, streams, cancels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.cancel import CancelToken

CANCEL_S = 10.0
"""How long a cancelled command is given to tell its outcome."""


class CommandError(Exception):
    """The command could not be sent, or its outcome could not be learnt."""


class CommandClient:
    """Sends commands to a nemotron node.

    The node handed in must be spun by an executor in another thread::

        with spinning('my_client') as node:
            client = CommandClient(node)
            result = client.send(
                ExecuteCommand.Goal(command='turn left'), print, CancelToken(30.0)
            )

    :param server: name of the nemotron node.
    """

    def __init__(self, node: Node, server: str = 'nemotron') -> None:
        self._name = f'{server}/execute_command'
        self._client: Any = ActionClient(
            node, ExecuteCommand, self._name, callback_group=ReentrantCallbackGroup()
        )

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the action server.

        :raise CommandError: if it is not there in time.
        """
        if not until_true(self._client.server_is_ready, timeout_s, CancelToken(timeout_s)):
            raise CommandError(
                f'nobody serves {self._name}; is the nemotron node running, '
                'with the same ROS_DOMAIN_ID?'
            )

    def send(
        self,
        goal: ExecuteCommand.Goal,
        on_event: Callable[[Event], None],
        cancel: CancelToken,
    ) -> ExecuteCommand.Result:
        """Send a command and wait for its outcome; cancels it when ``cancel`` ends.

        :raise CommandError: if the goal is rejected or the outcome never comes.
        """
        accepted = self._client.send_goal_async(
            goal, feedback_callback=lambda message: on_event(message.feedback.event)
        )
        accepted.add_done_callback(lambda future: _cancel_if_ended(future, cancel))
        if not until_done(accepted, 10.0, CancelToken(10.0)):
            raise CommandError(f'{self._name} has not answered within 10 s')
        handle = accepted.result()
        if not handle.accepted:
            raise CommandError(f'{self._name} rejected the command; is the node active?')
        finished = handle.get_result_async()
        if not until_done(finished, threading.TIMEOUT_MAX, cancel):
            handle.cancel_goal_async()
            if not until_done(finished, CANCEL_S, CancelToken(CANCEL_S)):
                raise CommandError(f'no outcome within {CANCEL_S:g} s of the cancel')
        response = finished.result()
        if response.status == GoalStatus.STATUS_UNKNOWN:
            raise CommandError(f'{self._name} does not know the goal any more')
        result: ExecuteCommand.Result = response.result
        return result

    def close(self) -> None:
        """Free the action client."""
        self._client.destroy()


def _cancel_if_ended(future: Any, cancel: CancelToken) -> None:
    handle = future.result()
    if cancel.ended and handle is not None and handle.accepted:
        handle.cancel_goal_async()
