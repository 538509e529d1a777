"""What an argument may be: equal to a value, about a number, one of some, or like a pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Match(Protocol):
    """What an argument is held against."""

    def fits(self, value: object) -> bool:
        """Whether the argument is as it should be."""

    def examples(self) -> tuple[object, ...]:
        """Return values that fit, for who holds them against the argument's schema."""


@dataclass(frozen=True)
class Equals:
    """This value. Numbers are equal by what they count: 1 is 1.0, and neither is true."""

    value: object

    def fits(self, value: object) -> bool:
        """Whether the argument is equal."""
        return same(value, self.value)

    def examples(self) -> tuple[object, ...]:
        """Return the value."""
        return (self.value,)


@dataclass(frozen=True)
class About:
    """A number no further than ``within`` from ``number``."""

    number: float
    within: float

    def fits(self, value: object) -> bool:
        """Whether the argument is a number that near."""
        return is_number(value) and abs(value - self.number) <= self.within * (1 + 1e-9)  # type: ignore[operator]

    def examples(self) -> tuple[object, ...]:
        """Return the number itself."""
        return (self.number,)


@dataclass(frozen=True)
class OneOf:
    """Any one of some values."""

    values: tuple[object, ...]

    def fits(self, value: object) -> bool:
        """Whether the argument is equal to one of them."""
        return any(same(value, each) for each in self.values)

    def examples(self) -> tuple[object, ...]:
        """Return them all."""
        return self.values


@dataclass(frozen=True)
class Matches:
    """Text in which a regular expression is found, whatever the case of its letters."""

    pattern: re.Pattern[str]

    def fits(self, value: object) -> bool:
        """Whether the argument is such a text."""
        return isinstance(value, str) and self.pattern.search(value) is not None

    def examples(self) -> tuple[object, ...]:
        """Return nothing: which texts fit is not known."""
        return ()


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, with 1 equal to 1.0 and not to true."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if is_number(one) and is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def is_number(value: object) -> bool:
    """Whether a JSON value is a number, which true is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
