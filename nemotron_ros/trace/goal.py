"""What a command was asked, put into its first event, so that the story begins with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nemotron_ros.events import Event

ALL_TOOLS = '*'


@dataclass(frozen=True)
class Goal:
    """What was asked. ``allowed_tools`` names tools, ``'*'`` all of them."""

    command: str
    allowed_tools: tuple[str, ...] = (ALL_TOOLS,)
    dry_run: bool = False
    timeout_s: float = 0.0


def with_goal(event: Event, goal: Goal) -> Event:
    """Return a command's event; in the detail of the first one stands the goal as well."""
    if event.sequence != 0 or not (event.detail is None or isinstance(event.detail, Mapping)):
        return event
    told: dict[str, object] = {
        'command': goal.command,
        'allowed_tools': list(goal.allowed_tools),
        'dry_run': goal.dry_run,
        'timeout_s': goal.timeout_s,
    }
    return replace(event, detail={**told, **(event.detail or {})})


def goal_of(event: Event) -> Goal | None:
    """Return the goal that stands in a command's first event; None if none does."""
    detail: Any = event.detail
    if not isinstance(detail, Mapping) or not isinstance(detail.get('command'), str):
        return None
    allowed = detail.get('allowed_tools')
    if not isinstance(allowed, list) or not all(isinstance(name, str) for name in allowed):
        return None
    timeout_s = detail.get('timeout_s')
    return Goal(
        detail['command'],
        tuple(allowed),
        detail.get('dry_run') is True,
        float(timeout_s) if isinstance(timeout_s, int | float) else 0.0,
    )
