"""Tools that read the latest message of a topic."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.values import fields_of, plain
from nemotron_ros.bridge.waiting import DISCOVERY_S
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import Read
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.templates import evaluate


def read(
    clients: Clients, binding: Read, variables: Mapping[str, Any], cancel: CancelToken
) -> ToolResult:
    """Return the value of a message no older than ``max_age_s``, waiting for one if need be."""
    latest = clients.latest(binding.topic, binding.type)
    if not latest.connect(DISCOVERY_S, cancel):
        return ToolResult(Status.FAILED, None, f'nobody publishes {binding.topic}')
    sample = latest.newest()
    if sample is None or time.monotonic() - sample.received_s > binding.max_age_s:
        newer = latest.wait(sample.number if sample else 0, binding.max_age_s, cancel)
        if newer is None:
            age = (
                'no message has come'
                if sample is None
                else f'the last message is {time.monotonic() - sample.received_s:.1f} s old'
            )
            return ToolResult(
                Status.FAILED,
                None,
                f'{binding.topic}: {age}; one no older than {binding.max_age_s:g} s is needed',
            )
        sample = newer
    seen = {**fields_of(sample.message), **variables}
    return ToolResult(Status.SUCCEEDED, plain(evaluate(binding.value, seen)))
