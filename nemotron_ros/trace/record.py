"""What a trace is made of: where it comes from, and every event with its time; as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.trace.verdict import verdict_of

FORMAT = 'nemotron_trace_1'


class TraceError(Exception):
    """A trace can't be read. The message says which, where and why."""


@dataclass(frozen=True)
class Origin:
    """What ran when the trace was written. Hashes are SHA-256; empty: not known.

    ``lost`` counts the events that were not written before this file: the disk was full, or
    slower than the events.
    """

    node: str = ''
    robot: str = ''
    engine: str = ''
    model: str = ''
    context_tokens: int = 0
    tool_file: str = ''
    tool_file_sha256: str = ''
    model_file: str = ''
    model_sha256: str = ''
    started_ns: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Entry:
    """An event, and when it happened.

    :param time_ns: wall clock of the recorder's start, and from there on a monotonic one.
    :param stamp_ns: the node's clock, which may be that of a simulation.
    """

    time_ns: int
    stamp_ns: int
    event: Event


@dataclass(frozen=True)
class Trace:
    """What was read. ``flaws`` say what is missing or can't be read in it."""

    origin: Origin
    entries: tuple[Entry, ...] = ()
    flaws: tuple[str, ...] = field(default=())


def origin_json(origin: Origin) -> dict[str, Any]:
    """Return the first line of a trace."""
    return {'format': FORMAT, **asdict(origin)}


def origin_of(data: Mapping[str, Any]) -> Origin:
    """Read the first line of a trace; what later versions have added is left out.

    :raise TraceError: if it is none.
    """
    if data.get('format') != FORMAT:
        raise TraceError(f'format: expected {FORMAT}, got {data.get("format")!r:.60}')
    known: dict[str, Any] = {}
    for item in fields(Origin):
        value = data.get(item.name, item.default)
        if type(value) is not type(item.default):
            raise TraceError(f'{item.name}: expected {type(item.default).__name__}')
        known[item.name] = value
    return Origin(**known)


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return a line of a trace; what is empty is left out."""
    event = entry.event
    line: dict[str, Any] = {
        'time_ns': entry.time_ns,
        'stamp_ns': entry.stamp_ns,
        'command_id': event.command_id,
        'session_id': event.session_id,
        'sequence': event.sequence,
        'phase': event.phase.name,
    }
    if event.text_delta:
        line['text_delta'] = event.text_delta
    if event.reasoning_delta:
        line['reasoning_delta'] = event.reasoning_delta
    if event.record is not None:
        line['call'] = _call_json(event.record, event.phase)
    if event.detail is not None:
        line['detail'] = event.detail
    return line


def entry_of(data: Mapping[str, Any]) -> Entry:
    """Read a line of a trace.

    :raise TraceError: naming the field at fault.
    """
    phase = _get(data, 'phase', str)
    if phase not in Phase.__members__:
        raise TraceError(f'phase: expected one of {", ".join(Phase.__members__)}, got {phase!r}')
    event = Event(
        command_id=_get(data, 'command_id', str),
        session_id=_get(data, 'session_id', str),
        sequence=_get(data, 'sequence', int),
        phase=Phase[phase],
        text_delta=_get(data, 'text_delta', str, ''),
        reasoning_delta=_get(data, 'reasoning_delta', str, ''),
        record=_record(_get(data, 'call', dict)) if 'call' in data else None,
        detail=data.get('detail'),
    )
    return Entry(_get(data, 'time_ns', int), _get(data, 'stamp_ns', int), event)


def _call_json(record: CallRecord, phase: Phase) -> dict[str, Any]:
    call, result = record.call, record.result
    told: dict[str, Any] = {'id': call.id, 'name': call.name, 'arguments': dict(call.arguments)}
    if phase is Phase.RESULT:
        told['decision'] = verdict_of(result).decision.value
        told['result'] = {
            key: value
            for key, value in {**asdict(result), 'status': result.status.name}.items()
            if value not in ('', None) and (key != 'clamped' or value)
        }
    return told


def _record(data: Mapping[str, Any]) -> CallRecord:
    call = ToolCall(_get(data, 'id', str), _get(data, 'name', str), _get(data, 'arguments', dict))
    told = _get(data, 'result', dict, {'status': 'PENDING'})
    status = _get(told, 'status', str)
    if status not in Status.__members__:
        raise TraceError(f'status: expected one of {", ".join(Status.__members__)}')
    result = ToolResult(
        Status[status],
        told.get('value'),
        _get(told, 'error', str, ''),
        _seconds(told, 'start_time_s'),
        _seconds(told, 'duration_s'),
        _get(told, 'confirmed_by', str, ''),
        _get(told, 'rule', str, ''),
        _get(told, 'clamped', dict, {}),
    )
    return CallRecord(call, result)


def _seconds(data: Mapping[str, Any], key: str) -> float:
    value = data.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TraceError(f'{key}: expected seconds, got {value!r:.60}')
    return float(value)


def _get(data: Mapping[str, Any], key: str, kind: type, default: object = None) -> Any:
    value = data.get(key, default)
    if type(value) is not kind:
        raise TraceError(f'{key}: expected {kind.__name__}, got {value!r:.60}')
    return value
