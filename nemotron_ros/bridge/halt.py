"""What ends motion at once, whoever began it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from action_msgs.srv import CancelGoal

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.sender import Sender
from nemotron_ros.tools.model import CallService, Publish, Send, SendGoal, ToolFile, UsePlugin
from nemotron_ros.tools.templates import names_in

CANCEL_TYPE = 'action_msgs/srv/CancelGoal'


class Halt:
    """Sends every closing message of a tool file, and a cancel to every action in it.

    Publishers and clients are made at once, so that they have been discovered by the time
    they are needed. Closing messages that need a call's arguments are sent by the call alone.
    """

    def __init__(self, clients: Clients, tool_file: ToolFile) -> None:
        tables = dict(tool_file.tables)
        closings = [
            send for send in _closings(tool_file) if names_in(send.message) <= tables.keys()
        ]
        different = {(send.topic, send.type, repr(send.message)): send for send in closings}
        self._senders = [Sender(clients, send, tables) for send in different.values()]
        actions = {
            tool.binding.name
            for tool in tool_file.tools.values()
            if isinstance(tool.binding, SendGoal)
        }
        self._cancels: list[Any] = [
            clients.service(f'{name}/_action/cancel_goal', CANCEL_TYPE) for name in sorted(actions)
        ]

    def __call__(self) -> None:
        """Send them all; one that fails keeps none of the others from being sent."""
        with ExitStack() as stack:
            for client in self._cancels:
                stack.callback(_cancel_all, client)
            for sender in self._senders:  # what is pushed last is called first
                stack.callback(sender.send)


def _closings(tool_file: ToolFile) -> Iterator[Send]:
    for tool in tool_file.tools.values():
        binding = tool.binding
        if isinstance(binding, (Publish, CallService, UsePlugin)) and binding.then is not None:
            yield binding.then


def _cancel_all(client: Any) -> None:
    # By action_msgs, an id and a time of zeros mean every goal, also those of other clients.
    if client.service_is_ready():
        client.call_async(CancelGoal.Request())
