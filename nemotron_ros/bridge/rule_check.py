"""Holds a tool file's rules against ROS types, and its tools against its own limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nemotron_ros.bridge.convert import ConvertError, to_message
from nemotron_ros.bridge.interfaces import (
    InterfaceError,
    load_action,
    load_message,
    load_service,
)
from nemotron_ros.bridge.motion_limits import motion_faults, speed_faults
from nemotron_ros.bridge.transforms import TF_TYPE
from nemotron_ros.tools.conditions import TopicCondition
from nemotron_ros.tools.known import known_calls, known_part
from nemotron_ros.tools.limits import MotionLimits
from nemotron_ros.tools.model import CallService, Publish, SendGoal, Tool, ToolFile, UsePlugin
from nemotron_ros.tools.templates import TemplateError, Value, evaluate


def type_problems(tool_file: ToolFile) -> Iterator[str]:
    """Yield a line for each type that conditions, limits and e-stop name and that is not there."""
    named: dict[str, str] = {}
    for name, condition in tool_file.conditions.items():
        if isinstance(condition, TopicCondition):
            named[f'conditions.{name}.type'] = condition.type
        else:
            named[f'conditions.{name}.transform'] = TF_TYPE
    if tool_file.limits.fence is not None:
        named['limits.fence.pose.type'] = tool_file.limits.fence.type
    if tool_file.estop.heartbeat is not None:
        named['estop.heartbeat.type'] = tool_file.estop.heartbeat.type
    for path, name in named.items():
        try:
            load_message(name)
        except InterfaceError as error:
            yield f'{path}: {error}'


def limit_problems(tool: Tool, tool_file: ToolFile) -> Iterator[str]:
    """Yield a line for each choice of arguments whose message is over a limit.

    Arguments that are not a choice of few are not known: fields made from them are left out,
    and the fence is held only against messages that are known as a whole.
    """
    if tool_file.limits == MotionLimits():
        return
    for message_class, mapping, path in _outgoing(tool):
        yield from _faults(tool, tool_file, message_class, mapping, path)


def _outgoing(tool: Tool) -> Iterator[tuple[Any, Value, str]]:
    """Yield the class, the mapping and the path of each message that a tool sends."""
    binding = tool.binding
    path = f'tools.{tool.spec.name}'
    if isinstance(binding, Publish):
        path += '.topic'
        yield load_message(binding.send.type), binding.send.message, f'{path}.message'
    elif isinstance(binding, CallService):
        path += '.service'
        service: Any = load_service(binding.type)
        yield service.Request, binding.request, f'{path}.request'
    elif isinstance(binding, SendGoal):
        action: Any = load_action(binding.type)
        yield action.Goal, binding.goal, f'{path}.action.goal'
    elif isinstance(binding, UsePlugin):
        path += '.plugin'
    if isinstance(binding, (Publish, CallService, UsePlugin)) and binding.then is not None:
        yield load_message(binding.then.type), binding.then.message, f'{path}.then.message'


def _faults(
    tool: Tool, tool_file: ToolFile, message_class: Any, mapping: Value, path: str
) -> Iterator[str]:
    for choice in known_calls(tool.spec.parameters):
        known = {**tool_file.tables, **choice}
        part, is_whole = known_part(mapping, set(known))
        try:
            message = to_message(message_class, evaluate(part, known), path)
        except (TemplateError, ConvertError) as error:
            yield str(error)
            continue
        faults = motion_faults if is_whole else speed_faults
        given = ', '.join(f'{name}: {value}' for name, value in choice.items())
        for fault in faults(message, tool_file.limits, path):
            yield f'{fault}, with {given}' if given else fault
