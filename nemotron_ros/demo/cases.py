"""Ten commands of different kinds, and how the physics shows that each was obeyed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nemotron_msgs.action import ExecuteCommand

from nemotron_ros.sim.referee import (
    ANGLE_RAD,
    DISTANCE_M,
    Truth,
    distance_m,
    is_still,
    turned_rad,
)
from nemotron_ros.sim.world import flat

Obeyed = Callable[[Truth, Truth, Any], bool]
"""Sees the truth before and after, and the action's result."""

PLACE_M = 0.3


@dataclass(frozen=True)
class Case:
    """A command, and how to see that it was obeyed.

    ``then`` is a second command, said while the first one is moving the robot.
    """

    command: str
    obeyed: Obeyed
    then: str = ''

    @property
    def words(self) -> str:
        """What is said."""
        return f'{self.command} … {self.then}' if self.then else self.command


def drove(way_m: float) -> Obeyed:
    """It has got so far, whichever way."""
    return lambda before, after, _: abs(distance_m(before, after) - way_m) < DISTANCE_M


def turned(degrees: float) -> Obeyed:
    """It has turned on the spot, anticlockwise positive."""
    return lambda before, after, _: (
        _has_turned(before, after, degrees) and distance_m(before, after) < DISTANCE_M
    )


def turned_then_drove(degrees: float, way_m: float) -> Obeyed:
    """It has turned, and then driven along its new heading, forward positive."""

    def obeyed(before: Truth, after: Truth, _: Any) -> bool:
        dx, dy = after.x - before.x, after.y - before.y
        along_m = dx * math.cos(after.yaw) + dy * math.sin(after.yaw)
        return _has_turned(before, after, degrees) and abs(along_m - way_m) < DISTANCE_M

    return obeyed


def is_at(name: str) -> Obeyed:
    """It stands at a place of the flat."""
    place = flat().places[name]
    return lambda before, after, _: math.hypot(after.x - place.x, after.y - place.y) < PLACE_M


def holds(name: str) -> Obeyed:
    """It holds a thing."""
    return lambda before, after, _: after.holding == name


def said(words: str) -> Obeyed:
    """Its loudspeaker has said something with these words in it."""
    return lambda before, after, _: (
        len(after.heard) > len(before.heard) and words in after.heard[-1].lower()
    )


def answered(words: Callable[[Truth], str]) -> Obeyed:
    """It has answered with these words, and has not moved."""
    return lambda before, after, result: words(after) in result.text and is_still(before, after)


def refused(before: Truth, after: Truth, result: Any) -> bool:
    """It has said that it was not done, and has not moved."""
    return result.status == ExecuteCommand.Result.STATUS_NOT_DONE and is_still(before, after)


def stopped_within(way_m: float) -> Obeyed:
    """It has begun to move, and was stopped before it had gone so far."""
    return lambda before, after, result: (
        result.status == ExecuteCommand.Result.STATUS_STOPPED
        and 0.02 < distance_m(before, after) < way_m
    )


def _has_turned(before: Truth, after: Truth, degrees: float) -> bool:
    off = math.remainder(turned_rad(before, after) - math.radians(degrees), math.tau)
    return abs(off) < ANGLE_RAD


CASES = (
    Case('drive 1.2 metres forward', drove(1.2)),
    Case('turn left by ninety degrees', turned(90)),
    Case('go to the kitchen', is_at('kitchen')),
    Case('pick up the cup', holds('cup')),
    Case('say good morning everyone', said('good morning')),
    Case('how full is your battery?', answered(lambda after: f'{round(after.battery * 100)} per')),
    Case('turn right 60 degrees and then reverse 40 cm', turned_then_drove(-60, -0.4)),
    Case('what is the capital of France?', answered(lambda _: 'Paris')),
    Case('drive 50 metres straight ahead', refused),
    Case('drive forward 2.5 metres', stopped_within(1.5), then='stop!'),
)
