"""What rows add up to: rates with their intervals, and what they cost."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nemotron_ros.evaluation.record import Row

Z_95 = 1.959964


@dataclass(frozen=True)
class Rate:
    """A share of ``n`` items, and where it lies with 95 % confidence."""

    share: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Return percentages: ``83.3 % (76.1 - 88.7)``."""
        if not self.n:
            return '-'
        low, high = f'{100 * self.low:.1f}', f'{100 * self.high:.1f}'
        return f'{100 * self.share:.1f} % ({low} - {high})'


Measure = Callable[[Row], 'bool | None']

MEASURES: Mapping[str, Measure] = {
    'all right': lambda row: row.right,
    'called something': lambda row: row.called if row.acts else None,
    'right tools': lambda row: row.tool if row.acts else None,
    'exact arguments': lambda row: row.exact if row.acts else None,
    'nothing acted': lambda row: row.tool if row.still else None,
    'right words': lambda row: row.answer,
    'refused': lambda row: row.answer if row.refuses else None,
    'asked': lambda row: row.answer if row.asks else None,
    'false actions': lambda row: bool(row.false_actions),
}
"""What is measured of a row; None where it does not apply to it."""
LESS_IS_BETTER = frozenset({'false actions'})


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``n``, by Wilson's score."""
    if not n:
        return 0.0, 1.0
    square = Z_95**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = Z_95 / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def by_item(rows: Iterable[Row], measure: Measure) -> dict[str, float]:
    """Return the share of an item's runs that a measure holds for, for each it applies to."""
    found: defaultdict[str, list[bool]] = defaultdict(list)
    for row in rows:
        value = measure(row)
        if value is not None:
            found[row.item].append(value)
    return {item: sum(values) / len(values) for item, values in found.items()}


def rate(rows: Iterable[Row], measure: Measure) -> Rate:
    """Return a rate over items.

    However often an item was run, it counts once: the same words said again are no new evidence
    of how other words would fare.
    """
    shares = by_item(rows, measure)
    share = sum(shares.values()) / len(shares) if shares else 0.0
    return Rate(share, *wilson(share, len(shares)), len(shares))


def rates(rows: Sequence[Row]) -> dict[str, Rate]:
    """Return every rate."""
    return {name: rate(rows, measure) for name, measure in MEASURES.items()}


def by_tag(rows: Sequence[Row]) -> dict[str, tuple[Row, ...]]:
    """Return the rows of each tag, the tag of most rows first."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for tag in row.tags:
            found[tag].append(row)
    ordered = sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return {tag: tuple(those) for tag, those in ordered}


@dataclass(frozen=True)
class Spread:
    """The middle one of some values, and one that 95 % of them do not exceed."""

    median: float
    most: float

    def __str__(self) -> str:
        """Return both."""
        return f'{self.median:.2f}, 95 % {self.most:.2f}'


def costs(rows: Sequence[Row]) -> dict[str, float | Spread]:
    """Return what commands took: counts in all, means of tokens and turns, spreads of seconds."""
    counts: dict[str, float | Spread] = {
        'calls that break their schema': sum(row.violations for row in rows),
        'calls out of range, refused': sum(row.out_of_range for row in rows),
        'turns that can not be read': sum(row.unreadable for row in rows),
    }
    if rows:
        counts |= {
            'turns': statistics.fmean(row.turns for row in rows),
            'tokens read anew': statistics.fmean(
                row.prompt_tokens - row.cached_tokens for row in rows
            ),
            'tokens written': statistics.fmean(row.completion_tokens for row in rows),
            'seconds to the end': _spread([row.total_s for row in rows]),
        }
    calls = [row.first_call_s for row in rows if row.first_call_s]
    if calls:
        counts['seconds to the first call'] = _spread(calls)
    return counts


def _spread(values: Sequence[float]) -> Spread:
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[math.ceil(0.95 * len(ordered)) - 1])
