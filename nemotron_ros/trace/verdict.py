"""What the gate decided about a call, and by which rule, read from the call's result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from nemotron_ros.tools.result import Status, ToolResult

_RULE = re.compile(r'([a-z_]+): ')


class Decision(Enum):
    """What became of a call at the gate."""

    ADMITTED = 'admitted'
    DENIED = 'denied'
    INVALID = 'invalid'
    UNREACHED = 'unreached'
    """It never came to a decision: one before it failed, it was repeated, or time was up."""


@dataclass(frozen=True)
class Verdict:
    """A decision. ``rule`` names what refused: a rule of the guard, or ``schema``."""

    decision: Decision
    rule: str = ''

    def __str__(self) -> str:
        return f'{self.decision.value} by {self.rule}' if self.rule else self.decision.value


def verdict_of(result: ToolResult) -> Verdict:
    """Return what the gate decided, by how the call ended.

    The dispatcher begins a refusal with the rule, and tells by its words what never ran.
    """
    if result.status is Status.DENIED:
        found = _RULE.match(result.error)
        return Verdict(Decision.DENIED, found[1] if found else '')
    if result.status is Status.INVALID:
        return Verdict(Decision.INVALID, 'schema')
    dry = result.status is Status.NOT_RUN and result.error.startswith('dry run: ')
    before = result.error.startswith('the command had ended before')
    if not dry and (before or result.status is Status.NOT_RUN):
        return Verdict(Decision.UNREACHED)
    return Verdict(Decision.ADMITTED)
