"""Which ROS interfaces a tool file reaches for, and from where in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from nemotron_ros.bridge.read_parameter import SERVICE
from nemotron_ros.bridge.reading import TYPES
from nemotron_ros.bridge.transforms import MOVING
from nemotron_ros.tools.conditions import TopicCondition
from nemotron_ros.tools.model import (
    CallService,
    Publish,
    Read,
    ReadImage,
    Reading,
    ReadParameter,
    ReadScan,
    ReadSeveral,
    ReadTransform,
    SendGoal,
    Tool,
    ToolFile,
    UsePlugin,
)


class Needs(Enum):
    """Who must be on the other side."""

    SUBSCRIBER = 'subscriber'
    PUBLISHER = 'publisher'
    SERVICE = 'service server'
    ACTION = 'action server'


@dataclass(frozen=True)
class Use:
    """One interface that is reached for; ``path`` says where the file names it."""

    path: str
    needs: Needs
    name: str
    type: str


def uses(tool_file: ToolFile) -> Iterator[Use]:
    """Yield every interface of the enabled tools, of the conditions, the fence and the e-stop."""
    for name, tool in tool_file.tools.items():
        yield from _of_tool(tool, f'tools.{name}')
    for name, condition in tool_file.conditions.items():
        if isinstance(condition, TopicCondition):
            path = f'conditions.{name}.topic'
            yield Use(path, Needs.PUBLISHER, condition.topic, condition.type)
    fence = tool_file.limits.fence
    if fence is not None:
        yield Use('limits.fence.pose.topic', Needs.PUBLISHER, fence.topic, fence.type)
    estop = tool_file.estop
    if estop.topic is not None:
        yield Use('estop.topic', Needs.PUBLISHER, estop.topic, 'std_msgs/msg/Bool')
    if estop.heartbeat is not None:
        beat = estop.heartbeat
        yield Use('estop.heartbeat.topic', Needs.PUBLISHER, beat.topic, beat.type)


def _of_tool(tool: Tool, path: str) -> Iterator[Use]:
    binding = tool.binding
    if isinstance(binding, Publish):
        send = binding.send
        yield Use(f'{path}.topic.name', Needs.SUBSCRIBER, send.topic, send.type)
        if binding.until is not None:
            until = binding.until
            yield Use(f'{path}.topic.until.topic', Needs.PUBLISHER, until.topic, until.type)
        if binding.then is not None and binding.then.topic != send.topic:
            then = binding.then
            yield Use(f'{path}.topic.then.topic', Needs.SUBSCRIBER, then.topic, then.type)
    elif isinstance(binding, Reading):
        yield from _of_reading(binding, f'{path}.read')
    elif isinstance(binding, CallService):
        yield Use(f'{path}.service.name', Needs.SERVICE, binding.name, binding.type)
        if binding.then is not None:
            then = binding.then
            yield Use(f'{path}.service.then.topic', Needs.SUBSCRIBER, then.topic, then.type)
    elif isinstance(binding, SendGoal):
        yield Use(f'{path}.action.name', Needs.ACTION, binding.name, binding.type)
    elif isinstance(binding, UsePlugin) and binding.then is not None:
        then = binding.then
        yield Use(f'{path}.plugin.then.topic', Needs.SUBSCRIBER, then.topic, then.type)


def _of_reading(reading: Reading, path: str) -> Iterator[Use]:
    if isinstance(reading, Read):
        yield Use(f'{path}.topic', Needs.PUBLISHER, reading.topic, reading.type)
    elif isinstance(reading, ReadTransform):
        yield Use(f'{path}.transform', Needs.PUBLISHER, MOVING, TYPES[ReadTransform])
    elif isinstance(reading, ReadParameter):
        name = f'{reading.node}/get_parameters'
        yield Use(f'{path}.parameter.node', Needs.SERVICE, name, SERVICE)
    elif isinstance(reading, (ReadScan, ReadImage)):
        kind = 'scan' if isinstance(reading, ReadScan) else 'image'
        yield Use(f'{path}.{kind}.topic', Needs.PUBLISHER, reading.topic, TYPES[type(reading)])
    elif isinstance(reading, ReadSeveral):
        for name, part in reading.parts.items():
            yield from _of_reading(part, f'{path}.several.{name}')
