"""What a nemotron node tells, read back from its messages; whoever listens can use it."""

from __future__ import annotations

import json
from typing import Any

from builtin_interfaces.msg import Time
from nemotron_msgs.msg import Confirmations
from nemotron_msgs.msg import Event as EventMsg
from nemotron_msgs.msg import ToolCall as ToolCallMsg

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.confirmation import Question
from nemotron_ros.tools.result import Status, ToolResult


def event_of(message: EventMsg) -> Event:
    """Return the event that a message tells.

    :raise ValueError: if no node of ours has sent it: an unknown phase or status, or no JSON
        where JSON should be.
    """
    return Event(
        message.command_id,
        message.session_id,
        message.sequence,
        Phase(message.phase),
        message.text_delta,
        message.reasoning_delta,
        _record(message.call[0]) if message.call else None,
        json.loads(message.detail) if message.detail else None,
    )


def questions_of(message: Confirmations) -> tuple[Question, ...]:
    """Return the calls that wait for an operator.

    :raise ValueError: if no node of ours has sent it.
    """
    return tuple(
        Question(
            question.id,
            question.tool,
            question.description,
            _object(question.arguments),
            seconds_of(question.asked),
            seconds_of(question.deadline),
        )
        for question in message.open
    )


def seconds_of(time: Time) -> float:
    """Return a message's time in seconds."""
    return float(time.sec + time.nanosec / 1e9)


def _record(message: ToolCallMsg) -> CallRecord:
    result = message.result
    return CallRecord(
        ToolCall(message.id, message.name, _object(message.arguments)),
        ToolResult(
            Status(result.status),
            json.loads(result.value) if result.value else None,
            result.error,
            seconds_of(result.start_time),
            result.duration_s,
            result.confirmed_by,
            result.rule,
            _object(result.clamped) if result.clamped else {},
        ),
    )


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f'arguments: expected a JSON object, got {text!r:.60}')
    return value
