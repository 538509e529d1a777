"""Preconditions: what must be so on the robot before a call may run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.templates import Value


@dataclass(frozen=True)
class TopicCondition:
    """A topic has spoken, not longer than ``max_age_s`` ago, and ``value`` is as it must be.

    ``value`` sees the message's fields by name. It must lie from ``minimum`` to ``maximum``;
    where neither is given, it must be ``equals``.
    """

    name: str
    topic: str
    type: str
    max_age_s: float | None = None
    value: Value | None = None
    minimum: float | None = None
    maximum: float | None = None
    equals: object = True


@dataclass(frozen=True)
class TransformCondition:
    """The transform from ``source`` to ``target`` is known, not older than ``max_age_s``."""

    name: str
    target: str
    source: str
    max_age_s: float


Condition = TopicCondition | TransformCondition

Unmet = Callable[[Condition, CancelToken], str]
"""Tells why a condition does not hold now, or that it can't be told; empty if it holds.

It may wait for a first message, and ends with the token."""


def fault_of_value(condition: TopicCondition, value: object) -> str:
    """Return what is wrong with a condition's value; empty if it is as it must be."""
    low, high = condition.minimum, condition.maximum
    if low is None and high is None:
        same = type(value) is type(condition.equals) and value == condition.equals
        return '' if same else f'is {value!r:.60}, and must be {condition.equals!r}'
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return f'is {value!r:.60}, and must be a finite number'
    if low is not None and value < low:
        return f'is {value:g}, and must be at least {low:g}'
    if high is not None and value > high:
        return f'is {value:g}, and must be at most {high:g}'
    return ''
