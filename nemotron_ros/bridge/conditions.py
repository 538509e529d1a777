"""Preconditions, held against what topics say now."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.interfaces import InterfaceError
from nemotron_ros.bridge.transform_tree import TransformError
from nemotron_ros.bridge.values import fields_of, plain
from nemotron_ros.bridge.waiting import DISCOVERY_S
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.conditions import (
    Condition,
    TopicCondition,
    TransformCondition,
    fault_of_value,
)
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.templates import TemplateError, evaluate


class ConditionChecker:
    """Tells why a condition does not hold; waits for a topic's first message alone."""

    def __init__(self, clients: Clients, tool_file: ToolFile) -> None:
        self._clients = clients
        self._tables = dict(tool_file.tables)
        for condition in tool_file.conditions.values():
            if isinstance(condition, TopicCondition):
                # Early, so that the first call finds a message there.
                clients.latest(condition.topic, condition.type).connect(0.0, CancelToken())
            else:
                with suppress(InterfaceError):  # told when it is asked for
                    clients.transforms()

    def __call__(self, condition: Condition, cancel: CancelToken) -> str:
        """Return why a condition does not hold, or that it can't be told; empty if it holds."""
        if isinstance(condition, TransformCondition):
            return self._unknown_transform(condition, cancel)
        return self._fault_of_topic(condition, cancel)

    def _unknown_transform(self, condition: TransformCondition, cancel: CancelToken) -> str:
        try:
            self._clients.transforms().look_up(
                condition.target,
                condition.source,
                condition.max_age_s,
                min(condition.max_age_s, DISCOVERY_S),
                cancel,
            )
        except (InterfaceError, TransformError) as error:
            return str(error)
        return ''

    def _fault_of_topic(self, condition: TopicCondition, cancel: CancelToken) -> str:
        latest = self._clients.latest(condition.topic, condition.type)
        if not latest.connect(DISCOVERY_S, cancel):
            return f'nobody publishes {condition.topic}'
        sample = latest.newest() or latest.wait(0, DISCOVERY_S, cancel)
        if sample is None:
            return f'{condition.topic}: no message has come'
        age_s = time.monotonic() - sample.received_s
        if condition.max_age_s is not None and age_s > condition.max_age_s:
            return (
                f'the last message of {condition.topic} is {age_s:.1f} s old; '
                f'one no older than {condition.max_age_s:g} s is needed'
            )
        if condition.value is None:
            return ''
        try:
            value = plain(evaluate(condition.value, self._seen(sample.message)))
        except TemplateError as error:
            return str(error)
        fault = fault_of_value(condition, value)
        return f'{condition.topic}: {fault}' if fault else ''

    def _seen(self, message: Any) -> dict[str, Any]:
        return {**fields_of(message), **self._tables}
