"""A client of the command action, for people's tools: sends, streams, cancels."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from action_msgs.msg import GoalStatus
from lifecycle_msgs.srv import GetState
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from nemotron_ros.bridge.action_client import SpunActionClient
from nemotron_ros.bridge.action_server_watch import ActionServerWatch
from nemotron_ros.bridge.qos import EVENTS
from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.cancel import CancelToken

CANCEL_S = 10.0
"""How long a cancelled command is given to tell its outcome."""
ANSWER_S = 10.0
"""How long the node is given to say whether it takes a goal, and to hand over the result."""
LAST_EVENT_S = 0.5
"""How long the last event of a goal that has ended may still be on its way."""
LOOK_S = 0.1
"""How often the action server is looked for."""
ASK_AGAIN_S = 1.0
ACTIVE, CONFIGURING = 'active', 'configuring'
ENDED = frozenset(
    {GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED}
)


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
        self._server = server
        self._name = f'{server}/execute_command'
        self._node = node
        self._state: Any = node.create_client(GetState, f'{server}/get_state')
        self._client: Any = SpunActionClient(
            node,
            ExecuteCommand,
            self._name,
            callback_group=MutuallyExclusiveCallbackGroup(),  # one event after the other
            feedback_sub_qos_profile=EVENTS,
        )

    def wait_ready(self, timeout_s: float, cancel: CancelToken | None = None) -> bool:
        """Wait until the node is there and active; False if ``cancel`` ends first.

        :raise CommandError: if it is not so in time.
        """
        cancel = cancel or CancelToken()
        budget = cancel.child(timeout_s)

        def there() -> bool:
            return bool(self._client.server_is_ready() and self._state.service_is_ready())

        if not until_true(there, timeout_s, budget):
            if cancel.ended:
                return False
            raise CommandError(
                f'nobody serves {self._name}; is the nemotron node running, '
                'with the same ROS_DOMAIN_ID?'
            )
        label = ''
        while label != ACTIVE:
            future = self._state.call_async(GetState.Request())
            # Asked again: a server that has not discovered this client yet loses its answer.
            if until_done(future, ASK_AGAIN_S, budget):
                label = future.result().current_state.label
            else:
                self._state.remove_pending_request(future)
            if label != ACTIVE and budget.wait(LOOK_S):
                if cancel.ended:
                    return False
                way_out = f'`ros2 lifecycle set {self._server} activate` makes it so'
                if label == CONFIGURING:
                    way_out = f'it loads its model; {self._server}/engine_status tells how far'
                raise CommandError(
                    f'{self._server} is {label or "silent"} and not active; {way_out}'
                )
        return True

    def send(
        self,
        goal: ExecuteCommand.Goal,
        on_event: Callable[[Event], None],
        cancel: CancelToken,
    ) -> ExecuteCommand.Result:
        """Send a command and wait for its outcome; cancels it when ``cancel`` ends.

        :param on_event: gets every event, in order, in the calling thread. What it raises
            cancels the command and goes on to the caller.
        :raise CommandError: if the goal is rejected or the outcome never comes.
        """
        events: SimpleQueue[Event] = SimpleQueue()
        over = CancelToken()  # a command that nobody follows any more is not left running
        forget = cancel.on_cancel(over.cancel)
        server = ActionServerWatch(self._node, self._name)
        try:
            accepted = self._client.send_goal_async(
                goal, feedback_callback=lambda message: events.put(message.feedback.event)
            )
            accepted.add_done_callback(lambda future: _cancel_when_over(future, over))
            handle = self._answer(accepted, server, 'answered')
            if not handle.accepted:
                raise CommandError(f'{self._name} rejected the command; is the node active?')
            # Not before: with the result, rclpy drops the feedback that is still on its way.
            self._follow(handle, server, events, on_event, cancel)
            return self._result(handle, server)
        except BaseException:
            over.cancel()
            raise
        finally:
            forget()

    def _follow(
        self,
        handle: Any,
        server: ActionServerWatch,
        events: SimpleQueue[Event],
        on_event: Callable[[Event], None],
        cancel: CancelToken,
    ) -> None:
        """Hand on every event to the last one, or at least to the goal's end."""
        cancelled_s: float | None = None
        while True:
            now_s = time.monotonic()
            if cancelled_s is None and cancel.ended:
                cancelled_s = now_s
            if cancelled_s is not None and now_s - cancelled_s > CANCEL_S:
                raise CommandError(f'no outcome within {CANCEL_S:g} s of the cancel')
            ended = handle.status in ENDED
            try:
                event = events.get(timeout=LAST_EVENT_S if ended else LOOK_S)
            except Empty:
                if ended:
                    return
                self._check(server)
                continue
            on_event(event)
            if event.phase == Event.PHASE_DONE:
                return

    def _result(self, handle: Any, server: ActionServerWatch) -> ExecuteCommand.Result:
        response = self._answer(handle.get_result_async(), server, 'told the outcome')
        if response.status == GoalStatus.STATUS_UNKNOWN:
            raise CommandError(f'{self._name} does not know the goal any more')
        result: ExecuteCommand.Result = response.result
        return result

    def _answer(self, future: Any, server: ActionServerWatch, what: str) -> Any:
        budget = CancelToken(ANSWER_S)
        while not until_done(future, LOOK_S, budget):
            self._check(server)
            if budget.ended:
                raise CommandError(f'{self._name} has not {what} within {ANSWER_S:g} s')
        return future.result()

    def _check(self, server: ActionServerWatch) -> None:
        """Give up if the node is gone, also if another one is in its place."""
        if server.gone():
            raise CommandError(f'{self._name} went away; how the command ended is not known')

    def close(self) -> None:
        """Free what it holds of the node."""
        self._client.destroy()
        self._node.destroy_client(self._state)


def _cancel_when_over(future: Any, over: CancelToken) -> None:
    handle = future.result()
    if handle is not None and handle.accepted:
        over.on_cancel(handle.cancel_goal_async)


def status_name(message: Any) -> str:
    """Return the name of the constant that a message's ``status`` holds, in lower case."""
    for name in dir(type(message)):
        if name.startswith('STATUS_') and getattr(type(message), name) == message.status:
            return name[len('STATUS_') :].lower()
    return str(message.status)
