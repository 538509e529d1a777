"""What truly happened to a tool call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Status(IntEnum):
    """How a call ended. The numbers are those of ``nemotron_msgs/msg/ToolResult``."""

    PENDING = 0
    SUCCEEDED = 1
    FAILED = 2
    INVALID = 3
    DENIED = 4
    CANCELED = 5
    TIMED_OUT = 6
    UNKNOWN = 7
    NOT_RUN = 8


@dataclass(frozen=True)
class ToolResult:
    """How one call ended. ``value`` is a JSON value; times are in seconds.

    ``start_time_s`` is wall-clock time, for people; ``duration_s`` is monotonic.
    ``confirmed_by`` is the operator who let it run, where one was asked. ``rule`` names what
    kept the call from running, as ``nemotron_msgs/msg/ToolResult`` lists them; empty if it was
    let through. ``clamped`` are the arguments that were out of range, as they ran: at its edge.
    """

    status: Status
    value: object = None
    error: str = ''
    start_time_s: float = 0.0
    duration_s: float = 0.0
    confirmed_by: str = ''
    rule: str = ''
    clamped: Mapping[str, Any] = field(default_factory=dict)
