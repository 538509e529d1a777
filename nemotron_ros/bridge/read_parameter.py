"""Reads a parameter of another node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.reading import NothingRead, told
from nemotron_ros.bridge.values import plain
from nemotron_ros.bridge.waiting import DISCOVERY_S, until_done, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import ReadParameter

SERVICE = 'rcl_interfaces/srv/GetParameters'
ASK_AGAIN_S = 1.0
"""A node that has not discovered us yet loses its answer: it is asked once more after this."""
FIELDS: Mapping[int, str] = {
    ParameterType.PARAMETER_BOOL: 'bool_value',
    ParameterType.PARAMETER_INTEGER: 'integer_value',
    ParameterType.PARAMETER_DOUBLE: 'double_value',
    ParameterType.PARAMETER_STRING: 'string_value',
    ParameterType.PARAMETER_BYTE_ARRAY: 'byte_array_value',
    ParameterType.PARAMETER_BOOL_ARRAY: 'bool_array_value',
    ParameterType.PARAMETER_INTEGER_ARRAY: 'integer_array_value',
    ParameterType.PARAMETER_DOUBLE_ARRAY: 'double_array_value',
    ParameterType.PARAMETER_STRING_ARRAY: 'string_array_value',
}


def parameter_client(clients: Clients, binding: ReadParameter) -> Any:
    """Return the client that asks the parameter's node."""
    return clients.service(f'{binding.node}/get_parameters', SERVICE)


def read_parameter(
    clients: Clients, binding: ReadParameter, variables: Mapping[str, Any], cancel: CancelToken
) -> object:
    """Return a parameter's value.

    :raise NothingRead: if its node is not there, does not answer, or has no such parameter.
    """
    client = parameter_client(clients, binding)
    budget = cancel.child(binding.timeout_s)
    if not until_true(client.service_is_ready, DISCOVERY_S, budget):
        raise NothingRead(f'there is no node {binding.node} that tells its parameters')
    while not budget.ended:
        future = client.call_async(GetParameters.Request(names=[binding.name]))
        if until_done(future, ASK_AGAIN_S, budget):
            return _told(binding, future.result(), variables)
        client.remove_pending_request(future)
    raise NothingRead(f'{binding.node} has not told its parameters within {binding.timeout_s:g} s')


def _told(binding: ReadParameter, answer: Any, variables: Mapping[str, Any]) -> object:
    field = FIELDS.get(answer.values[0].type) if answer.values else None
    if field is None:
        raise NothingRead(f'{binding.node} has no parameter {binding.name!r}')
    value = plain(getattr(answer.values[0], field))
    if binding.value is None:
        return value
    return told(binding.value, {'parameter': value}, variables)
