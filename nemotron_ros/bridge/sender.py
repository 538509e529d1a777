"""One message of the tool file, and the publisher that sends it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.convert import to_message
from nemotron_ros.bridge.interfaces import load_message
from nemotron_ros.bridge.motion_limits import check_motion
from nemotron_ros.bridge.waiting import DISCOVERY_S, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import Send
from nemotron_ros.tools.templates import evaluate

RETRY_S = (0.01, 0.03, 0.1)


class NobodyListens(Exception):
    """A message has no subscriber; what it should begin or end could not be begun or ended."""


class Sender:
    """Sends one message, made from a call's arguments, as often as it is asked to."""

    def __init__(self, clients: Clients, send: Send, variables: Mapping[str, Any]) -> None:
        self._message = to_message(
            load_message(send.type), evaluate(send.message, variables), send.topic
        )
        check_motion(self._message, clients.limits, send.topic)
        self._topic = send.topic
        self._publisher = clients.publisher(send.topic, send.type)

    def connect(self, cancel: CancelToken) -> None:
        """Wait for a subscriber.

        :raise NobodyListens: if there is none in time.
        """

        def heard() -> bool:
            return bool(self._publisher.get_subscription_count())

        if not until_true(heard, DISCOVERY_S, cancel):
            raise NobodyListens(
                f'nobody subscribes to {self._topic}; is the node that should listen running?'
            )

    def send(self) -> None:
        """Publish the message; again, if DDS can't take it at once: it may be what ends motion."""
        for pause_s in RETRY_S:
            try:
                self._publisher.publish(self._message)
                return
            except RuntimeError:
                time.sleep(pause_s)
        self._publisher.publish(self._message)
