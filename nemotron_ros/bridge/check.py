"""Holds a tool file against the ROS types that it names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from nemotron_ros.bridge.interfaces import (
    InterfaceError,
    load_action,
    load_message,
    load_service,
)
from nemotron_ros.bridge.mapping import check_mapping
from nemotron_ros.bridge.reading import TYPES
from nemotron_ros.bridge.rule_check import limit_problems, type_problems
from nemotron_ros.tools.model import (
    CallService,
    Publish,
    Read,
    Reading,
    ReadSeveral,
    Send,
    Tool,
    ToolFile,
    UsePlugin,
)
from nemotron_ros.tools.plugins import PluginError, load_plugin
from nemotron_ros.tools.tool_file import ToolFileError, load


def load_checked(path: str) -> ToolFile:
    """Read a tool file, and hold it against the ROS types that it names.

    :raise ToolFileError: with everything that is wrong with it.
    """
    tool_file = load(path)
    problems = check(tool_file)
    if problems:
        raise ToolFileError(problems)
    return tool_file


def check(tool_file: ToolFile) -> list[str]:
    """Return what is wrong with the types and fields of a tool file.

    That is every type that is not there, every field that a mapping gets wrong, and, if there
    is none of these, everything known to be over the limits.

    Each line begins with the file, the line and the path of the field at fault. Disabled tools
    are left to :func:`check_disabled`.
    """
    return _lines(tool_file, tool_file.tools.values(), list(type_problems(tool_file)))


def check_disabled(tool_file: ToolFile) -> list[str]:
    """Return what :func:`check` would say of the disabled tools, were they enabled."""
    return _lines(tool_file, tool_file.disabled.values(), [])


def _lines(tool_file: ToolFile, tools: Collection[Tool], problems: list[str]) -> list[str]:
    problems = [*problems, *(problem for tool in tools for problem in _problems(tool))]
    if not problems:  # only what has its types and fields can be held against the limits
        problems = [problem for tool in tools for problem in limit_problems(tool, tool_file)]
    return [f'{tool_file.place(problem.partition(": ")[0])}: {problem}' for problem in problems]


def _problems(tool: Tool) -> Iterator[str]:
    binding = tool.binding
    path = f'tools.{tool.spec.name}'
    if isinstance(binding, Publish):
        yield from _message(binding.send, f'{path}.topic')
        if binding.until is not None:
            yield from _mapping(load_message, binding.until.type, {}, f'{path}.topic.until', '')
        if binding.then is not None:
            yield from _message(binding.then, f'{path}.topic.then')
    elif isinstance(binding, Reading):
        yield from _reading(binding, f'{path}.read')
    elif isinstance(binding, CallService):
        path = f'{path}.service'
        yield from _mapping(_request, binding.type, binding.request, path, 'request')
        if binding.then is not None:
            yield from _message(binding.then, f'{path}.then')
    elif isinstance(binding, UsePlugin):
        yield from _plugin(binding, f'{path}.plugin')
    else:
        yield from _mapping(_goal, binding.type, binding.goal, f'{path}.action', 'goal')


def _reading(reading: Reading, path: str) -> Iterator[str]:
    if isinstance(reading, ReadSeveral):
        for name, part in reading.parts.items():
            yield from _reading(part, f'{path}.several.{name}')
        return
    if isinstance(reading, Read):
        yield from _mapping(load_message, reading.type, {}, path, '')
        return
    try:
        if type(reading) in TYPES:
            load_message(TYPES[type(reading)])
    except InterfaceError as error:
        yield f'{path}: {error}'


def _plugin(binding: UsePlugin, path: str) -> Iterator[str]:
    try:
        load_plugin(binding.use)
    except PluginError as error:
        yield f'{path}.use: {error}'
    if binding.then is not None:
        yield from _message(binding.then, f'{path}.then')


def _message(send: Send, path: str) -> Iterator[str]:
    yield from _mapping(load_message, send.type, send.message, path, 'message')


def _request(name: str) -> type[Any]:
    service: Any = load_service(name)
    request: type[Any] = service.Request
    return request


def _goal(name: str) -> type[Any]:
    action: Any = load_action(name)
    goal: type[Any] = action.Goal
    return goal


def _mapping(
    look_up: Callable[[str], type[Any]], type_name: str, data: Any, path: str, key: str
) -> Iterator[str]:
    try:
        message_class = look_up(type_name)
    except InterfaceError as error:
        yield f'{path}.type: {error}'
        return
    yield from check_mapping(message_class, data, f'{path}.{key}' if key else path)
