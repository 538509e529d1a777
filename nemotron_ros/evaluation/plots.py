"""Pictures of runs. They need matplotlib, which a robot need not have."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nemotron_ros.evaluation.record import Record, Row
from nemotron_ros.evaluation.summary import LESS_IS_BETTER, MEASURES, by_tag, rate

# Of a palette that people who don't see red and green apart can read (Okabe and Ito).
COLOURS: Mapping[str, str] = {
    'right': '#009E73',
    'wrong arguments': '#F0E442',
    'wrong answer': '#E6C8A0',
    'wrong tools': '#E69F00',
    'nothing called': '#BBBBBB',
    'false action': '#B2182B',
}
FIRST, SECOND = '#9A9A9A', '#0072B2'
MOST_TAGS = 24


class NoPlotsError(Exception):
    """matplotlib is not here. The message says how to get it."""


def plot_run(record: Record, path: Path) -> None:
    """Draw a run: what came of the items of each tag, the rates, and how long it took.

    :raise NoPlotsError: if it can't be drawn.
    """
    figure = _figure()
    rows = record.rows
    tags = dict(list(by_tag(rows).items())[:MOST_TAGS])
    height = 2.2 + 0.3 * (len(tags) + 1)
    canvas = figure(figsize=(13, max(5.5, height)), layout='constrained')
    left, right = canvas.subfigures(1, 2, width_ratios=(3, 2))
    _draw_verdicts(left.subplots(), {'everything': rows, **tags})
    upper, lower = right.subplots(2, 1, gridspec_kw={'height_ratios': (3, 2)})
    _draw_rates(upper, [('', rows, SECOND)])
    _draw_times(lower, rows)
    canvas.suptitle(_title(record), fontsize=13, fontweight='bold', x=0.01, ha='left')
    canvas.savefig(path, dpi=130)


def plot_comparison(records: tuple[Record, Record], names: tuple[str, str], path: Path) -> None:
    """Draw two runs over the items that both have: their rates, and each tag's share right.

    :raise NoPlotsError: if it can't be drawn.
    """
    figure = _figure()
    both = {row.item for row in records[0].rows} & {row.item for row in records[1].rows}
    first, second = ([row for row in record.rows if row.item in both] for record in records)
    tags = list(by_tag(first))[:MOST_TAGS]
    canvas = figure(figsize=(12, max(5.0, 2.0 + 0.3 * len(tags))), layout='constrained')
    left, right = canvas.subplots(1, 2)
    _draw_rates(left, [(names[0], first, FIRST), (names[1], second, SECOND)])
    _draw_tags(right, tags, first, second)
    canvas.suptitle(
        f'{names[0]} → {names[1]}, {len(both)} items',
        fontsize=13,
        fontweight='bold',
        x=0.01,
        ha='left',
    )
    canvas.savefig(path, dpi=130)


def _figure() -> Any:
    """Return what makes figures, without a window."""
    try:
        module = importlib.import_module('matplotlib.figure')
    except ImportError as error:
        raise NoPlotsError(
            f'no picture without matplotlib ({error}): pip install matplotlib'
        ) from error
    return module.Figure


def _draw_verdicts(axes: Any, groups: Mapping[str, Sequence[Row]]) -> None:
    """Draw a bar for each group: which share of it came to what."""
    labels = [f'{name}  ({len({row.item for row in rows})})' for name, rows in groups.items()]
    counts = [Counter(row.verdict for row in rows) for rows in groups.values()]
    lefts = [0.0] * len(labels)
    for verdict, colour in COLOURS.items():
        shares = [100 * count[verdict] / count.total() for count in counts]
        if not any(shares):
            continue
        bars = axes.barh(labels, shares, left=lefts, color=colour, label=verdict, height=0.75)
        texts = [f'{share:.0f}' if share >= 6 else '' for share in shares]
        dark = verdict in ('right', 'false action')
        axes.bar_label(
            bars, texts, label_type='center', fontsize=8, color='white' if dark else 'black'
        )
        lefts = [left + share for left, share in zip(lefts, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel('% of the items')
    axes.margins(y=0.01)
    axes.legend(ncol=3, loc='lower left', bbox_to_anchor=(0, 1), frameon=False, fontsize=9)
    _bare(axes)


def _draw_rates(axes: Any, runs: Sequence[tuple[str, Sequence[Row], str]]) -> None:
    """Draw each rate as a dot with its interval."""
    names = [name for name in MEASURES if any(rate(rows, MEASURES[name]).n for _, rows, _ in runs)]
    for place, (label, rows, colour) in enumerate(runs):
        shift = 0.3 * (place - (len(runs) - 1) / 2)
        for line, name in enumerate(names):
            found = rate(rows, MEASURES[name])
            axes.plot(
                (100 * found.low, 100 * found.high),
                (line + shift,) * 2,
                color=colour,
                linewidth=2,
                alpha=0.5,
                solid_capstyle='butt',
            )
            axes.plot(
                100 * found.share,
                line + shift,
                'o',
                color=colour,
                markersize=7,
                label=label if line == 0 else None,
            )
            axes.annotate(
                f'{100 * found.share:.0f} %',
                (100 * found.share, line + shift),
                xytext=(0, 6),
                textcoords='offset points',
                ha='center',
                fontsize=8,
                color=colour,
            )
    less = [f'{name} (fewer is better)' if name in LESS_IS_BETTER else name for name in names]
    axes.set_yticks(range(len(names)), less)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.set_xlim(-3, 103)
    axes.set_xlabel('%, with the 95 % interval')
    if len(runs) > 1:
        axes.legend(loc='lower left', bbox_to_anchor=(0, 1), ncol=2, frameon=False, fontsize=9)
    _bare(axes)


def _draw_times(axes: Any, rows: Sequence[Row]) -> None:
    """Draw which share of the commands had called, and had ended, after how many seconds."""
    kinds = {
        'first call': (SECOND, [row.first_call_s for row in rows if row.first_call_s]),
        'end': ('#444444', [row.total_s for row in rows]),
    }
    for label, (colour, values) in kinds.items():
        if values:
            shares = [(number + 1) / len(values) for number in range(len(values))]
            axes.step(sorted(values), shares, where='post', color=colour, label=label)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.02)
    axes.set_yticks((0, 0.5, 0.95), ('0', '50 %', '95 %'))
    axes.set_xlabel('seconds after the command')
    axes.legend(loc='lower right', frameon=False, fontsize=9)
    _bare(axes)


def _draw_tags(
    axes: Any, tags: Sequence[str], first: Sequence[Row], second: Sequence[Row]
) -> None:
    """Draw for each tag how the share of what is right has moved."""
    for line, tag in enumerate(tags):
        of_tag = [[row for row in rows if tag in row.tags] for rows in (first, second)]
        before, after = (100 * rate(rows, MEASURES['all right']).share for rows in of_tag)
        axes.plot((before, after), (line, line), color='#CCCCCC', linewidth=2, zorder=1)
        axes.plot(before, line, 'o', color=FIRST, markersize=7)
        axes.plot(after, line, 'o', color=SECOND, markersize=7)
    axes.set_yticks(range(len(tags)), tags)
    axes.set_ylim(len(tags) - 0.4, -0.6)
    axes.set_xlim(-3, 103)
    axes.set_xlabel('% all right')
    _bare(axes)


def _bare(axes: Any) -> None:
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis='x', color='#E6E6E6', zorder=0)
    axes.set_axisbelow(True)


def _title(record: Record) -> str:
    settings = record.settings
    items = len({row.item for row in record.rows})
    return f'{settings.get("model", "?")}, {settings.get("part", "all")}: {items} items'
