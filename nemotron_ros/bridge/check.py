"""Holds a tool file against the ROS types that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from nemotron_ros.bridge.convert import check_mapping
from nemotron_ros.bridge.interfaces import (
    InterfaceError,
    load_action,
    load_message,
    load_service,
)
from nemotron_ros.tools.model import CallService, Publish, Read, Tool, ToolFile


def check(tool_file: ToolFile) -> list[str]:
    """Return every type that is not there and every field that a mapping gets wrong.

    Each line begins with the file, the line and the path of the field at fault.
    """
    return [
        f'{tool_file.path}:{tool.line}: {problem}'
        for tool in tool_file.tools.values()
        for problem in _problems(tool)
    ]


def _problems(tool: Tool) -> Iterator[str]:
    binding = tool.binding
    path = f'tools.{tool.spec.name}'
    if isinstance(binding, Publish):
        yield from _mapping(load_message, binding.send.type, binding.send.message, f'{path}.topic', 'message')
        if binding.until is not None:
            yield from _mapping(load_message, binding.until.type, {}, f'{path}.topic.until', '')
        if binding.then is not None:
            yield from _mapping(load_message, binding.then.type, binding.then.message, f'{path}.topic.then', 'message')
    elif isinstance(binding, Read):
        yield from _mapping(load_message, binding.type, {}, f'{path}.read', '')
    elif isinstance(binding, CallService):
        yield from _mapping(
            lambda name: _part(load_service(name), 'Request'),
            binding.type, binding.request, f'{path}.service', 'request',
        )
    else:
        yield from _mapping(
            lambda name: _part(load_action(name), 'Goal'),
            binding.type, binding.goal, f'{path}.action', 'goal',
        )


def _part(interface: Any, name: str) -> type:
    part: type = getattr(interface, name)
    return part


def _mapping(
    look_up: Callable[[str], type], type_name: str, data: Any, path: str, key: str
) -> Iterator[str]:
    try:
        message_class = look_up(type_name)
    except InterfaceError as error:
        yield f'{path}.type: {error}'
        return
    yield from check_mapping(message_class, data, f'{path}.{key}' if key else path)
