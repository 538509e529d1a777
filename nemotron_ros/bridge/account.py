"""The account of a command as ROS messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from builtin_interfaces.msg import Time
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event as EventMsg
from nemotron_msgs.msg import StopStatus, ToolManifest
from nemotron_msgs.msg import Tool as ToolMsg
from nemotron_msgs.msg import ToolCall as ToolCallMsg
from nemotron_msgs.msg import ToolResult as ToolResultMsg
from nemotron_msgs.msg import Usage as UsageMsg

from nemotron_ros.bridge.reading import TYPES
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Outcome, Usage
from nemotron_ros.tools.model import (
    Binding,
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
    ToolFile,
    UsePlugin,
)
from nemotron_ros.tools.result import ToolResult


def result_message(result: ToolResult) -> ToolResultMsg:
    """Return a tool result as a message."""
    return ToolResultMsg(
        status=int(result.status),
        value='' if result.value is None else _json(result.value),
        error=result.error,
        start_time=time_message(result.start_time_s),
        duration_s=float(result.duration_s),
        confirmed_by=result.confirmed_by,
        rule=result.rule,
        clamped=_json(dict(result.clamped)) if result.clamped else '',
    )


def call_message(call: ToolCall, result: ToolResult) -> ToolCallMsg:
    """Return a call and what came of it as a message."""
    return ToolCallMsg(
        id=call.id,
        name=call.name,
        arguments=_json(dict(call.arguments)),
        result=result_message(result),
    )


def event_message(event: Event, stamp: Time) -> EventMsg:
    """Return an event as a message."""
    return EventMsg(
        stamp=stamp,
        command_id=event.command_id,
        session_id=event.session_id,
        sequence=event.sequence,
        phase=int(event.phase),
        text_delta=event.text_delta,
        reasoning_delta=event.reasoning_delta,
        call=_calls(() if event.record is None else (event.record,)),
        detail='' if event.detail is None else _json(event.detail),
    )


def outcome_message(outcome: Outcome) -> ExecuteCommand.Result:
    """Return an outcome as the action's result."""
    return ExecuteCommand.Result(
        status=int(outcome.status),
        text=outcome.text,
        error=outcome.error,
        session_id=outcome.session_id,
        calls=_calls(outcome.calls),
        usage=_usage(outcome.usage),
    )


def tool_messages(tool_file: ToolFile) -> list[ToolMsg]:
    """Return the tools as the model sees them."""
    return [
        ToolMsg(
            name=tool.spec.name,
            description=tool.spec.description,
            parameters=_json(dict(tool.spec.parameters)),
            kind=_kind(tool.binding),
            interface=_interface(tool.binding),
            rules=_json({key: rule for key, rule in asdict(tool.rules).items() if rule}),
        )
        for tool in tool_file.tools.values()
    ]


def manifest_message(tool_file: ToolFile | None, stamp: Time) -> ToolManifest:
    """Return what announces a tool file, or, by None, that there is none."""
    if tool_file is None:
        return ToolManifest(stamp=stamp)
    return ToolManifest(
        stamp=stamp,
        robot=tool_file.robot,
        tool_file=tool_file.path,
        tools=tool_messages(tool_file),
    )


def stop_message(reasons: Sequence[str], stamp: Time) -> StopStatus:
    """Return what has latched a stop, if anything."""
    return StopStatus(stamp=stamp, latched=bool(reasons), reasons=list(reasons))


def _kind(binding: Binding) -> str:
    if isinstance(binding, Reading):
        return 'read'
    kinds = {Publish: 'topic', CallService: 'service', SendGoal: 'action', UsePlugin: 'plugin'}
    return kinds[type(binding)]


def _interface(binding: Binding) -> str:
    if isinstance(binding, Publish):
        return f'{binding.send.topic} ({binding.send.type})'
    if isinstance(binding, UsePlugin):
        return binding.use
    if isinstance(binding, ReadSeveral):
        return ', '.join(map(_interface, binding.parts.values()))
    if isinstance(binding, ReadTransform):
        return f'{binding.source} in {binding.target} ({TYPES[ReadTransform]})'
    if isinstance(binding, ReadParameter):
        return f'{binding.name} of {binding.node} (parameter)'
    if isinstance(binding, (ReadScan, ReadImage)):
        return f'{binding.topic} ({TYPES[type(binding)]})'
    name = binding.topic if isinstance(binding, Read) else binding.name
    return f'{name} ({binding.type})'


def _calls(records: Sequence[CallRecord]) -> list[ToolCallMsg]:
    return [call_message(record.call, record.result) for record in records]


def _usage(usage: Usage) -> UsageMsg:
    return UsageMsg(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        time_to_first_token_s=usage.time_to_first_token_s,
        time_to_first_call_s=usage.time_to_first_call_s,
        generating_s=usage.generating_s,
        total_s=usage.total_s,
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def time_message(seconds: float) -> Time:
    """Return wall-clock seconds as a message."""
    whole = int(seconds)
    return Time(sec=whole, nanosec=int((seconds - whole) * 1e9))
