"""How a call that has ended is told, whichever way its tool goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.values import fields_of, plain
from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.templates import TemplateError, Value, evaluate


def cut_short(cancel: CancelToken) -> Status:
    """Return the status of a call that was ended early: by its client, or by a deadline."""
    by_client = cancel.cause in (Cause.CANCELED, Cause.STOPPED)
    return Status.CANCELED if by_client else Status.TIMED_OUT


def succeeded(
    name: str, message: Any, value: Value | None, variables: Mapping[str, Any]
) -> ToolResult:
    """Return the result of what succeeded with ``message``.

    A value that can't be computed does not hide that it has.

    :param value: what to tell of the message's fields; None tells them all.
    """
    if value is None:
        return ToolResult(Status.SUCCEEDED, plain(message))
    try:
        told = plain(evaluate(value, {**fields_of(message), **variables}))
    except TemplateError as error:
        why = f'{name} succeeded, but what it returned could not be told: {error}'
        return ToolResult(Status.FAILED, plain(message), why)
    return ToolResult(Status.SUCCEEDED, told)
