"""Where frames are to each other: the newest transform of every link, joined on demand."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

MAX_DEPTH = 200
"""More links than this between two frames are taken for a circle."""
NORM_TOLERANCE = 0.01


class TransformError(LookupError):
    """Where one frame is to another is not known; the message says what is missing."""


@dataclass(frozen=True)
class Transform:
    """What takes a point of one frame to another: turned by ``rotation``, then moved.

    ``rotation`` is x, y, z, w. ``received_s`` is the monotonic time of the oldest link
    that moves, infinity if none does.
    """

    translation: Vector
    rotation: Quaternion
    received_s: float = math.inf


@dataclass(frozen=True)
class _Link:
    parent: str
    transform: Transform


class TransformTree:
    """Keeps the newest transform from each frame to its parent. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._links: dict[str, _Link] = {}

    def put(self, parent: str, child: str, transform: Transform) -> None:
        """Take a link in the place of the one before it; one that is no transform is dropped."""
        parent, child = parent.lstrip('/'), child.lstrip('/')
        if parent == child or not child or not parent or not _is_good(transform):
            return
        with self._lock:
            self._links[child] = _Link(parent, transform)

    def look_up(self, target: str, source: str) -> Transform:
        """Return what takes points of ``source`` to ``target``: the pose of source in target.

        Each link counts as it was last told; nothing is interpolated.

        :raise TransformError: naming the frame that is not known or not connected.
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        with self._lock:
            links = dict(self._links)
        known = {*links, *(link.parent for link in links.values())}
        for frame in (target, source):
            if frame not in known:
                near = get_close_matches(frame, known, 1)
                hint = f'; did you mean {near[0]!r}?' if near else ''
                raise TransformError(f'nobody tells where the frame {frame!r} is{hint}')
        up_target, up_source = dict(_up(links, target)), dict(_up(links, source))
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            raise TransformError(f'the frames {target!r} and {source!r} are not connected')
        return _join(_inverse(up_target[common]), up_source[common])


def _up(links: dict[str, _Link], frame: str) -> Iterator[tuple[str, Transform]]:
    """Yield the frame and what it hangs on, each with what takes points of the frame there."""
    transform = Transform((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    for _ in range(MAX_DEPTH):
        yield frame, transform
        if frame not in links:
            return
        frame, transform = links[frame].parent, _join(links[frame].transform, transform)
    raise TransformError(f'the frames above {frame!r} hang on each other in a circle')


def _join(outer: Transform, inner: Transform) -> Transform:
    moved = _rotate(outer.rotation, inner.translation)
    x, y, z = (a + b for a, b in zip(outer.translation, moved, strict=True))
    rotation = _multiply(outer.rotation, inner.rotation)
    return Transform((x, y, z), rotation, min(outer.received_s, inner.received_s))


def _inverse(transform: Transform) -> Transform:
    x, y, z, w = transform.rotation
    back = (-x, -y, -z, w)
    a, b, c = _rotate(back, transform.translation)
    return Transform((-a, -b, -c), back, transform.received_s)


def _multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _rotate(rotation: Quaternion, vector: Vector) -> Vector:
    x, y, z, w = rotation
    turned = _multiply(_multiply(rotation, (*vector, 0.0)), (-x, -y, -z, w))
    return turned[:3]


def _is_good(transform: Transform) -> bool:
    numbers = (*transform.translation, *transform.rotation)
    return all(map(math.isfinite, numbers)) and (
        abs(math.hypot(*transform.rotation) - 1.0) < NORM_TOLERANCE
    )
