"""Holds what was reported about a command against what the physics saw."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

DISTANCE_M = 0.12
ANGLE_RAD = math.radians(8)
STILL_M = 0.03
STILL_RAD = 0.05
MOTIONS = ('drive', 'turn', 'go_to', 'pick_up', 'dock')


@dataclass(frozen=True)
class Truth:
    """What the physics says; poses in the flat's frame, metres and radians."""

    x: float
    y: float
    yaw: float
    speed_mps: float
    holding: str
    docked: bool
    collisions: int
    heard: tuple[str, ...]
    battery: float = 0.0
    things: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    people: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    touches: int = 0
    near_misses: int = 0
    shut_doors: tuple[str, ...] = ()

    @staticmethod
    def parse(text: str) -> Truth:
        """Read the answer of the robot's ``sim/truth`` service."""
        data = json.loads(text)
        return Truth(
            x=data['x'],
            y=data['y'],
            yaw=data['yaw'],
            speed_mps=abs(data['v']) + 0.2 * abs(data['w']),
            holding=data['holding'],
            docked=data['docked'],
            collisions=data['collisions'],
            heard=tuple(data['heard']),
            battery=data['battery'],
            things={name: (x, y) for name, (x, y) in data.get('things', {}).items()},
            people={name: (x, y) for name, (x, y) in data.get('people', {}).items()},
            touches=data.get('touches', 0),
            near_misses=data.get('near_misses', 0),
            shut_doors=tuple(data.get('shut_doors', ())),
        )


@dataclass(frozen=True)
class Reported:
    """A call as it was reported: name, arguments, and whether it was said to have succeeded."""

    name: str
    arguments: Mapping[str, Any]
    succeeded: bool
    sent: bool


def distance_m(a: Truth, b: Truth) -> float:
    """Return the distance between two positions."""
    return math.hypot(a.x - b.x, a.y - b.y)


def turned_rad(before: Truth, after: Truth) -> float:
    """Return the change of heading, anticlockwise positive, in (-pi, pi]."""
    return math.remainder(after.yaw - before.yaw, math.tau)


def is_still(before: Truth, after: Truth) -> bool:
    """Whether it stands where it stood, with the heading that it had."""
    return distance_m(before, after) < STILL_M and abs(turned_rad(before, after)) < STILL_RAD


def disagreements(
    before: Truth,
    after: Truth,
    calls: Sequence[Reported],
    places: Mapping[str, Mapping[str, float]],
) -> list[str]:
    """Return where the reported calls and the physics contradict each other.

    ``calls`` are those of ``config/tools/headless_robot.yaml``. Where every call
    that reached the robot was reported as a success, its pose must be the one
    that the calls lead to; where none reached it, it must not have moved. After
    any command it must stand still.
    """
    wrong = []
    if after.speed_mps > 0.02:
        wrong.append(f'the robot still moves at {after.speed_mps:.2f} m/s')
    sent = [call for call in calls if call.sent]
    if not sent and distance_m(before, after) > STILL_M:
        wrong.append(f'no call was reported, and it moved {distance_m(before, after):.2f} m')
    if not all(call.succeeded for call in sent):
        return wrong
    expected: Truth | None = before
    heard, held, docked = len(before.heard), before.holding, False
    for call in sent:
        expected = _after(expected, call, places)
        heard += call.name == 'say'
        if call.name in ('pick_up', 'put_down'):
            held = call.arguments.get('object', '')
        if call.name in MOTIONS:
            docked = call.name == 'dock'
    if len(after.heard) != heard:
        old = len(before.heard)
        wrong.append(f'{heard - old} sayings reported, {len(after.heard) - old} heard')
    if after.holding != held:
        wrong.append(f'reported to hold {held or "nothing"!r}, holds {after.holding!r}')
    if expected is not None:
        if distance_m(expected, after) > DISTANCE_M:
            wrong.append(f'it is {distance_m(expected, after):.2f} m from where the calls lead')
        if abs(turned_rad(expected, after)) > ANGLE_RAD:
            off = math.degrees(turned_rad(expected, after))
            wrong.append(f'its heading is {off:.0f} degrees from where the calls lead')
    if docked and not after.docked:
        wrong.append('reported to be docked, and it is not')
    return wrong


def _after(
    truth: Truth | None, call: Reported, places: Mapping[str, Mapping[str, float]]
) -> Truth | None:
    """Return the pose that a successful call leads to; None where it can't be foretold."""
    if call.name == 'go_to':
        place = places[call.arguments['place']]
        base = truth or Truth(0, 0, 0, 0, '', False, 0, ())
        return replace(base, x=place['x'], y=place['y'], yaw=place['yaw'])
    if call.name in ('pick_up', 'dock') or truth is None:
        return None
    if call.name == 'drive':
        way_m = call.arguments['distance_m']
        way_m = way_m if call.arguments['direction'] == 'forward' else -way_m
        return replace(
            truth,
            x=truth.x + way_m * math.cos(truth.yaw),
            y=truth.y + way_m * math.sin(truth.yaw),
        )
    if call.name == 'turn':
        angle_rad = math.radians(call.arguments['angle_deg'])
        left = call.arguments['direction'] == 'left'
        return replace(truth, yaw=truth.yaw + (angle_rad if left else -angle_rad))
    return truth
