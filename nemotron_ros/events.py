"""What happened: the one stream of events that tells the story of a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.result import ToolResult


class Phase(IntEnum):
    """What an event is about. The numbers are those of ``nemotron_msgs/msg/Event``."""

    ACCEPTED = 0
    PROMPTING = 1
    GENERATING = 2
    CALLING = 3
    EXECUTING = 4
    RESULT = 5
    DONE = 6
    QUEUED = 7
    ASKING = 8


class CommandStatus(IntEnum):
    """How a command ended. The numbers are those of ``nemotron_msgs/action/ExecuteCommand``."""

    UNKNOWN = 0
    SUCCEEDED = 1
    NOT_DONE = 2
    REJECTED = 3
    CANCELED = 4
    STOPPED = 5
    TIMED_OUT = 6
    ENGINE_FAILED = 7
    PREEMPTED = 8
    ASKED = 9
    ANSWERED = 10


@dataclass(frozen=True)
class CallRecord:
    """A call with what came of it."""

    call: ToolCall
    result: ToolResult


@dataclass(frozen=True)
class Usage:
    """What a command cost; see ``nemotron_msgs/msg/Usage`` for each field."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    time_to_first_token_s: float = 0.0
    time_to_first_call_s: float = 0.0
    generating_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a command ended, with every call that was asked for."""

    status: CommandStatus
    text: str = ''
    error: str = ''
    session_id: str = ''
    calls: tuple[CallRecord, ...] = ()
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Event:
    """One thing that happened while a command was carried out.

    ``detail`` is a JSON value: what a running call reports, or, in the last
    event, the outcome's status and error.
    """

    command_id: str
    session_id: str
    sequence: int
    phase: Phase
    text_delta: str = ''
    reasoning_delta: str = ''
    record: CallRecord | None = None
    detail: object = None
