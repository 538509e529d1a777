"""What the gate decided about a call, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from nemotron_ros.tools.result import Status, ToolResult


class Decision(Enum):
    """What became of a call at the gate."""

    ADMITTED = 'admitted'
    DENIED = 'denied'
    INVALID = 'invalid'
    UNREACHED = 'unreached'
    """It never came to a decision: one before it failed, it was repeated, or time was up."""


@dataclass(frozen=True)
class Verdict:
    """A decision. ``rule`` names what refused it, as :class:`ToolResult` has it."""

    decision: Decision
    rule: str = ''

    def __str__(self) -> str:
        return f'{self.decision.value} by {self.rule}' if self.rule else self.decision.value


def verdict_of(result: ToolResult) -> Verdict:
    """Return what the gate decided, by how the call ended."""
    if not result.rule:
        return Verdict(Decision.ADMITTED)
    refusals = {Status.DENIED: Decision.DENIED, Status.INVALID: Decision.INVALID}
    if result.status in refusals:
        return Verdict(refusals[result.status], result.rule)
    return Verdict(Decision.UNREACHED)
