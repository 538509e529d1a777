"""A run, and a comparison of two, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nemotron_ros.evaluation.compare import Comparison
from nemotron_ros.evaluation.record import Record, Row
from nemotron_ros.evaluation.score import CUT_SHORT
from nemotron_ros.evaluation.summary import MEASURES, Spread, by_tag, costs, rate, rates
from nemotron_ros.events import CommandStatus

IN_TAGS = ('all right', 'right tools', 'exact arguments', 'nothing acted', 'false actions')
"""The measures that are told of each tag."""
WIDEST = 40
"""Columns are padded up to so many characters."""
MOST_ITEMS = 40
"""So many items are named of each kind."""


def run_markdown(record: Record) -> str:
    """Return what a run has come to: rates, costs, tags, and what went wrong."""
    rows = record.rows
    about = {**record.settings, **record.circumstances}
    return (
        '\n\n'.join(
            (
                '# Evaluation',
                _table(('', ''), ((name, _plain(value)) for name, value in about.items())),
                rates_table(rows),
                _table(
                    ('cost', ''), ((name, _amount(value)) for name, value in costs(rows).items())
                ),
                tags_table(rows),
                '## What went wrong',
                _failures(rows),
            )
        )
        + '\n'
    )


def rates_table(rows: Sequence[Row]) -> str:
    """Return a row for each measure."""
    told = ((name, str(rate), str(rate.n)) for name, rate in rates(rows).items() if rate.n)
    return _table(('', '95 % interval', 'n'), told)


def tags_table(rows: Sequence[Row]) -> str:
    """Return a row for each tag."""
    told = (
        (tag, str(len({row.item for row in those})), *(_share(those, name) for name in IN_TAGS))
        for tag, those in by_tag(rows).items()
    )
    return _table(('tag', 'n', *IN_TAGS), told)


def compare_markdown(comparison: Comparison, names: tuple[str, str]) -> str:
    """Return how two runs differ.

    :param names: what to call the first and the second.
    """
    parts = [
        f'# {names[0]} → {names[1]}',
        _table(
            ('', *names, 'better', 'worse', 'p'),
            (
                (
                    name,
                    str(c.first),
                    str(c.second),
                    str(len(c.better)),
                    str(len(c.worse)),
                    f'{c.p:.3f}',
                )
                for name, c in comparison.changes.items()
            ),
        ),
    ]
    if comparison.settings:
        told = ((n, _plain(a), _plain(b)) for n, (a, b) in comparison.settings.items())
        parts.append(_table(('what differs', *names), told))
    if comparison.missing:
        parts.append(f'Only one of them has {_named(comparison.missing)}; these are left out.')
    for name, change in comparison.changes.items():
        for kind, items in (('better', change.better), ('worse', change.worse)):
            if items:
                parts.append(f'**{name}, {kind}**: {_named(items)}')
    return '\n\n'.join(parts) + '\n'


def _failures(rows: Sequence[Row]) -> str:
    wrong = [row for row in rows if not row.right]
    if not wrong:
        return 'Nothing.'
    counts = Counter(row.verdict for row in wrong)
    told = ', '.join(f'{count} {verdict}' for verdict, count in counts.most_common())
    order = {verdict: place for place, (verdict, _) in enumerate(counts.most_common())}
    wrong.sort(key=lambda row: (row.verdict != 'false action', order[row.verdict], row.item))
    table = _table(
        ('', 'item', 'said', 'came of it'),
        ((row.verdict, row.item, ' … '.join(row.say), what_came_of(row)) for row in wrong),
    )
    return f'{told}.\n\n{table}'


def what_came_of(row: Row) -> str:
    """Return the calls, those that were refused with their status, and the words."""
    parts = []
    for call in row.calls:
        arguments = ', '.join(map(_plain, call['arguments'].values()))
        refused = '' if call['status'] in ('succeeded', '') else f' {call["status"]}'
        parts.append(f'{call["name"]}({arguments}){refused}')
    if row.text:
        parts.append(f'"{row.text}"')
    # The leaderboard's checker says what is wrong with calls that nobody has run.
    if CommandStatus[row.outcome.upper()] in CUT_SHORT or (
        row.outcome == 'answered' and row.calls
    ):
        parts.append(f'{row.outcome}: {row.error}')
    return ', '.join(parts)


def _share(rows: Sequence[Row], measure: str) -> str:
    found = rate(rows, MEASURES[measure])
    return f'{100 * found.share:.0f} %' if found.n else '-'


def _amount(value: float | Spread) -> str:
    if isinstance(value, (Spread, int)):
        return str(value)
    return f'{value:.2f}'


def _named(items: Sequence[str]) -> str:
    more = f' and {len(items) - MOST_ITEMS} more' if len(items) > MOST_ITEMS else ''
    return ', '.join(items[:MOST_ITEMS]) + more


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ', '.join(f'{key}: {_plain(item)}' for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ', '.join(map(_plain, value))
    return str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that can be read as it is, too."""
    lines = [[_cell(text) for text in line] for line in (head, *rows)]
    widths = [min(max(3, *map(len, column)), WIDEST) for column in zip(*lines, strict=True)]
    lines.insert(1, ['-' * width for width in widths])
    told = (
        ' | '.join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        for line in lines
    )
    return '\n'.join(f'| {line} |' for line in told)


def _cell(text: str) -> str:
    """Return a text that stays in its cell, whatever a model has written."""
    return ' '.join(text.split()).replace('\\', '\\\\').replace('|', '\\|')
