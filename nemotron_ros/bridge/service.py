"""Tools that call a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.convert import to_message
from nemotron_ros.bridge.ending import cut_short, succeeded
from nemotron_ros.bridge.interfaces import load_service
from nemotron_ros.bridge.motion_limits import check_motion
from nemotron_ros.bridge.sender import NobodyListens, Sender
from nemotron_ros.bridge.waiting import DISCOVERY_S, POLL_S, until_done, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import CallService
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.templates import evaluate

CLOSE_S = 2.0
"""How long a service is given to answer once the closing message has ended what it began."""


def call_service(
    clients: Clients, binding: CallService, variables: Mapping[str, Any], cancel: CancelToken
) -> ToolResult:
    """Call a service and judge its response.

    A request that was sent can't be taken back: without an answer in time the
    result is *unknown*, never a claim that nothing happened.
    """
    service_class: Any = load_service(binding.type)
    request = to_message(service_class.Request, evaluate(binding.request, variables), binding.name)
    check_motion(request, clients.limits, binding.name)
    client = clients.service(binding.name, binding.type)
    closer = None if binding.then is None else Sender(clients, binding.then, variables)
    budget = cancel.child(binding.timeout_s)
    if not until_true(client.service_is_ready, DISCOVERY_S, budget):
        return ToolResult(Status.FAILED, None, f'the service {binding.name} is not there')
    if closer is not None:
        try:
            closer.connect(budget)
        except NobodyListens as error:
            return ToolResult(Status.FAILED, None, str(error))
    if budget.ended:
        return ToolResult(cut_short(cancel), None, 'ended before the request was sent')
    future = client.call_async(request)
    try:
        answered = _wait(client, future, budget)
    finally:
        if closer is not None and not future.done():
            closer.send()
    if answered:
        return _judge(binding, future.result(), variables)
    if closer is not None and until_done(future, CLOSE_S, CancelToken(CLOSE_S)):
        result = _judge(binding, future.result(), variables)
        if result.status is Status.SUCCEEDED:
            return result
        return ToolResult(cut_short(cancel), result.value, result.error)
    client.remove_pending_request(future)
    why = 'has not answered in time' if budget.ended else 'went away'
    return ToolResult(
        Status.UNKNOWN,
        None,
        f'the service {binding.name} {why}; whether it took effect is not known',
    )


def _wait(client: Any, future: Any, budget: CancelToken) -> bool:
    """Wait for the response; False if the budget ends or the server is gone."""
    lost = _Lost(client.service_is_ready)
    while not until_done(future, 10 * POLL_S, budget):
        if budget.ended or lost():
            return bool(future.done())
    return True


def _judge(binding: CallService, response: Any, variables: Mapping[str, Any]) -> ToolResult:
    if getattr(response, 'success', None) is False:
        reason = getattr(response, 'message', '')
        reason = reason or f'the service {binding.name} reported a failure'
        return ToolResult(Status.FAILED, None, str(reason))
    return succeeded(f'the service {binding.name}', response, binding.value, variables)


class _Lost:
    """True once the server has not been there at several looks in a row."""

    LOOKS = 5

    def __init__(self, ready: Any) -> None:
        self._ready = ready
        self._missed = 0

    def __call__(self) -> bool:
        self._missed = 0 if self._ready() else self._missed + 1
        return self._missed >= self.LOOKS
