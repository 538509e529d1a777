"""What came of the commands: as a table for people, as data for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from nemotron_ros.client import status_name
from nemotron_ros.demo.trial import Run
from nemotron_ros.demo.words import done_words
from nemotron_ros.sim.referee import STILL_M, distance_m, turned_rad


def table(runs: Sequence[Run]) -> Table:
    """Return a row for each command: what was said, what was called, what truly happened."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ('', 'command', 'calls, or answer', 'outcome', 'how it truly moved'):
        found.add_column(column, overflow='fold')
    for column in ('first\nword s', 'first\nmotion s', 'end s'):
        found.add_column(column, justify='right')
    for run in runs:
        found.add_row(
            '[green]✓' if run.obeyed else '[red]✗',
            Text(run.case.words),
            Text(done_words(run.result)),  # not markup, whatever the model writes
            status_name(run.result),
            Text(moved(run)),
            _seconds(run.first_word_s),
            _seconds(run.first_motion_s),
            _seconds(run.total_s),
        )
    return found


def line(number: int, run: Run) -> str:
    """Return one line on one command."""
    return f'{number:2} {"✓" if run.obeyed else "✗"} {run.case.words}  →  {done_words(run.result)}'


def as_data(run: Run) -> dict[str, object]:
    """Return everything that was measured of one command."""
    return {
        'command': run.case.command,
        'then': run.case.then,
        'calls': [
            {
                'name': call.name,
                'arguments': json.loads(call.arguments),
                'status': status_name(call.result),
                'error': call.result.error,
            }
            for call in run.result.calls
        ],
        'text': run.result.text,
        'outcome': status_name(run.result),
        'error': run.result.error,
        'moved': moved(run),
        'first_word_s': run.first_word_s,
        'first_motion_s': run.first_motion_s,
        'total_s': run.total_s,
        'obeyed': run.obeyed,
        'contradictions': list(run.lies),
        'collisions': run.after.collisions - run.before.collisions,
        'touches': run.after.touches - run.before.touches,
        'near_misses': run.after.near_misses - run.before.near_misses,
    }


def moved(run: Run) -> str:
    """Say how the robot has moved, as the physics has it."""
    parts = []
    way_m = distance_m(run.before, run.after)
    if way_m > STILL_M:
        parts.append(f'{way_m:.2f} m')
    angle = math.degrees(turned_rad(run.before, run.after))
    if abs(angle) > 2:
        parts.append(f'{abs(angle):.0f}° {"left" if angle > 0 else "right"}')
    if run.after.holding != run.before.holding:
        parts.append(f'holds {run.after.holding or "nothing"}')
    if len(run.after.heard) > len(run.before.heard):
        parts.append(f'said "{run.after.heard[-1]}"')
    return ', '.join(parts) or 'not at all'


def _seconds(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'
