"""Two runs held against each other, item by item."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nemotron_ros.evaluation.record import Record, Row
from nemotron_ros.evaluation.summary import LESS_IS_BETTER, MEASURES, Rate, by_item, rate


@dataclass(frozen=True)
class Change:
    """One measure of two runs, over the items that both have.

    :param better: items that fared better in the second run; ``worse`` likewise.
    :param p: how probable a difference as large would be by chance alone (the sign test,
        two-sided).
    """

    first: Rate
    second: Rate
    better: tuple[str, ...]
    worse: tuple[str, ...]
    p: float


@dataclass(frozen=True)
class Comparison:
    """How two runs differ.

    :param settings: what was not the same of the two, by name.
    :param missing: items that only one of them has.
    """

    changes: Mapping[str, Change]
    settings: Mapping[str, tuple[Any, Any]]
    missing: tuple[str, ...]


def compare(first: Record, second: Record) -> Comparison:
    """Compare two runs."""
    both = {row.item for row in first.rows} & {row.item for row in second.rows}
    either = {row.item for row in (*first.rows, *second.rows)}
    rows = [[row for row in record.rows if row.item in both] for record in (first, second)]
    changes = {name: _change(name, *rows) for name in MEASURES}
    names = sorted(first.settings.keys() | second.settings.keys())
    pairs = {name: (first.settings.get(name), second.settings.get(name)) for name in names}
    return Comparison(
        {name: change for name, change in changes.items() if change.first.n},
        {name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
        tuple(sorted(either - both)),
    )


def _change(name: str, first: list[Row], second: list[Row]) -> Change:
    measure = MEASURES[name]
    shares = by_item(first, measure), by_item(second, measure)
    more = tuple(sorted(key for key in shares[0] if shares[1].get(key, 0.0) > shares[0][key]))
    less = tuple(sorted(key for key in shares[0] if shares[1].get(key, 0.0) < shares[0][key]))
    better, worse = (less, more) if name in LESS_IS_BETTER else (more, less)
    return Change(
        rate(first, measure),
        rate(second, measure),
        better,
        worse,
        sign_test(len(better), len(worse)),
    )


def sign_test(better: int, worse: int) -> float:
    """Return how probable so uneven a count is if both are equally likely."""
    n = better + worse
    tail = sum(math.comb(n, k) for k in range(min(better, worse) + 1))
    return min(1.0, tail * 0.5 ** (n - 1))
