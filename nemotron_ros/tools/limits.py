"""Limits of motion, whatever the arguments: speed caps and a fence. Plain geometry, no ROS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Corner = tuple[float, float]


@dataclass(frozen=True)
class Fence:
    """Where the robot may be: a polygon in a frame, metres, and from which height to which.

    ``topic`` tells where the robot is; silent for ``max_silence_s``, nothing moves.
    """

    frame: str
    corners: tuple[Corner, ...]
    topic: str
    type: str
    max_silence_s: float
    low_m: float = -math.inf
    high_m: float = math.inf


@dataclass(frozen=True)
class MotionLimits:
    """Speed caps, m/s and rad/s, and a fence; None sets no limit."""

    max_linear_mps: float | None = None
    max_angular_radps: float | None = None
    fence: Fence | None = None


def too_fast(parts: Sequence[float], most: float | None, unit: str) -> str:
    """Return by how much a velocity is over its cap; empty if it is not.

    :param parts: the velocity along each axis; what counts is its length.
    """
    if most is None:
        return ''
    speed = math.hypot(*parts)
    if speed <= most:  # what is not a number is not below anything
        return ''
    return f'{speed:g} {unit} is over the limit of {most:g} {unit}'


def outside(fence: Fence, frame: str, x: float, y: float, z: float) -> str:
    """Return why a point is not within the fence, or can't be said to be; empty if it is."""
    if frame != fence.frame:
        return f'a point in frame {frame!r}; the fence is in {fence.frame!r}'
    if not _contains(fence.corners, x, y):
        return f'({x:g}, {y:g}) m is outside the fence'
    if not fence.low_m <= z <= fence.high_m:
        return f'a height of {z:g} m is outside the fence: {fence.low_m:g} to {fence.high_m:g} m'
    return ''


def fault_of_polygon(corners: Sequence[Corner]) -> str:
    """Return what is wrong with a polygon; empty if it has an inside and an outside."""
    if len(corners) < 3:
        return f'expected at least 3 corners, got {len(corners)}'
    sides = list(_sides(corners))
    for a, b in sides:
        if a == b:
            return f'the corner {a} stands twice in a row'
    for i, (a, b) in enumerate(sides):
        for j in range(i + 1, len(sides)):
            c, d = sides[j]
            if j == i + 1 or (i == 0 and j == len(sides) - 1):
                far = d if j == i + 1 else c
                if _turn(a, b, far) == 0 and _folds_back(a, b, c, d):
                    return f'the side from {c} to {d} lies on the one from {a} to {b}'
            elif _cross(a, b, c, d):
                return f'the side from {c} to {d} crosses the one from {a} to {b}'
    return ''


def _contains(corners: Sequence[Corner], x: float, y: float) -> bool:
    """Whether a point is inside, or on the border."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return False
    inside = False
    for (ax, ay), (bx, by) in _sides(corners):
        if _on_side((ax, ay), (bx, by), (x, y)):
            return True
        if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
            inside = not inside
    return inside


def _sides(corners: Sequence[Corner]) -> Iterator[tuple[Corner, Corner]]:
    for i, corner in enumerate(corners):
        yield corner, corners[(i + 1) % len(corners)]


def _turn(a: Corner, b: Corner, c: Corner) -> float:
    """Positive where a, b, c turn left, negative where they turn right, 0 on a line."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _on_side(a: Corner, b: Corner, point: Corner) -> bool:
    return (
        _turn(a, b, point) == 0
        and min(a[0], b[0]) <= point[0] <= max(a[0], b[0])
        and min(a[1], b[1]) <= point[1] <= max(a[1], b[1])
    )


def _cross(a: Corner, b: Corner, c: Corner, d: Corner) -> bool:
    """Whether two sides that share no corner have a point in common."""
    if any((_on_side(a, b, c), _on_side(a, b, d), _on_side(c, d, a), _on_side(c, d, b))):
        return True
    return (_turn(a, b, c) > 0) != (_turn(a, b, d) > 0) and (_turn(c, d, a) > 0) != (
        _turn(c, d, b) > 0
    )


def _folds_back(a: Corner, b: Corner, c: Corner, d: Corner) -> bool:
    """Whether two sides on one line that share a corner lie on each other."""
    return (b[0] - a[0]) * (d[0] - c[0]) + (b[1] - a[1]) * (d[1] - c[1]) < 0
