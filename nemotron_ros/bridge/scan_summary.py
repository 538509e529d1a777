"""What a laser scan says in a few numbers: how near, and where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DIRECTIONS: Mapping[int, tuple[str, ...]] = {
    4: ('front', 'left', 'back', 'right'),
    8: (
        *('front', 'front_left', 'left', 'back_left'),
        *('back', 'back_right', 'right', 'front_right'),
    ),
}
"""Names of the sectors, by their number, anticlockwise from straight ahead (REP-103)."""


@dataclass(frozen=True)
class ScanSummary:
    """The nearest thing, all round and for each sector.

    Distances are in metres, None where nothing is in range. ``bearing_deg`` is of the nearest
    thing, degrees anticlockwise from straight ahead. ``unseen`` are the sectors of which the
    scan tells nothing; they are not in ``sectors``.
    """

    nearest_m: float | None
    bearing_deg: float | None
    direction: str | None
    sectors: Mapping[str, float | None]
    unseen: tuple[str, ...]


def summarize(scan: Any, sectors: int, mounted_deg: float) -> ScanSummary:
    """Sum up a ``sensor_msgs/msg/LaserScan``.

    An infinite reading says that nothing is in range, minus infinity that something is too
    near to be measured (REP-117): it counts as the shortest distance that can be. A reading
    that is no number, or is nearer than the scanner can measure, says nothing.

    :param sectors: into how many the circle is parted: one of :data:`DIRECTIONS`.
    :param mounted_deg: how far the scanner's zero is turned from straight ahead, degrees
        anticlockwise.
    """
    ranges = np.asarray(scan.ranges, dtype=np.float64)
    angles = (
        scan.angle_min + math.radians(mounted_deg) + scan.angle_increment * np.arange(len(ranges))
    )
    names = DIRECTIONS[sectors]
    width = math.tau / sectors
    sector = np.floor((angles + width / 2) % math.tau / width).astype(np.intp) % sectors
    too_near = np.isneginf(ranges)
    clear = np.isposinf(ranges) | (ranges > scan.range_max)
    measured = (ranges >= scan.range_min) & ~clear
    distances = np.where(measured, ranges, np.inf)
    distances[too_near] = scan.range_min
    tells = measured | clear | too_near
    nearest = np.full(sectors, np.inf)
    np.minimum.at(nearest, sector, distances)
    seen = np.bincount(sector[tells], minlength=sectors) > 0
    index = int(np.argmin(distances)) if len(distances) else 0
    found = bool(len(distances)) and math.isfinite(distances[index])
    return ScanSummary(
        _rounded(float(distances[index])) if found else None,
        round(math.degrees(math.remainder(float(angles[index]), math.tau)), 1) if found else None,
        names[sector[index]] if found else None,
        {name: _rounded(float(m)) for name, m, s in zip(names, nearest, seen, strict=True) if s},
        tuple(name for name, s in zip(names, seen, strict=True) if not s),
    )


def _rounded(distance_m: float) -> float | None:
    return round(distance_m, 2) if math.isfinite(distance_m) else None
