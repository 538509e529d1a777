"""Tools that call a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.convert import to_message
from nemotron_ros.bridge.interfaces import load_service
from nemotron_ros.bridge.values import fields_of, plain
from nemotron_ros.bridge.waiting import POLL_S, until_done, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import CallService
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.templates import evaluate

DISCOVERY_S = 3.0


def call_service(
    clients: Clients, binding: CallService, variables: Mapping[str, Any], cancel: CancelToken
) -> ToolResult:
    """Call a service and judge its response.

    A request that was sent can't be taken back: without an answer in time the
    result is *unknown*, never a claim that nothing happened.
    """
    service_class: Any = load_service(binding.type)
    request = to_message(
        service_class.Request, evaluate(binding.request, variables), binding.name
    )
    client = clients.service(binding.name, binding.type)
    budget = cancel.child(binding.timeout_s)
    if not until_true(client.service_is_ready, DISCOVERY_S, budget):
        return ToolResult(Status.FAILED, None, f'the service {binding.name} is not there')
    future = client.call_async(request)
    lost = _Lost(client.service_is_ready)
    while not until_done(future, 10 * POLL_S, budget):
        if budget.ended or lost():
            client.remove_pending_request(future)
            why = 'went away' if not budget.ended else 'has not answered in time'
            return ToolResult(
                Status.UNKNOWN,
                None,
                f'the service {binding.name} {why}; whether it took effect is not known',
            )
    response = future.result()
    seen = fields_of(response)
    if seen.get('success') is False:
        reason = seen.get('message') or f'the service {binding.name} reported a failure'
        return ToolResult(Status.FAILED, None, str(reason))
    if binding.value is None:
        return ToolResult(Status.SUCCEEDED, plain(response))
    return ToolResult(Status.SUCCEEDED, plain(evaluate(binding.value, {**seen, **variables})))


class _Lost:
    """True once the server has not been there at several looks in a row."""

    LOOKS = 5

    def __init__(self, ready: Any) -> None:
        self._ready = ready
        self._missed = 0

    def __call__(self) -> bool:
        self._missed = 0 if self._ready() else self._missed + 1
        return self._missed >= self.LOOKS
