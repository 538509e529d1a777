"""``nemotron trace``: show what happened, add it up, and replay it against today's rules."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.tool_file import ToolFileError, load
from nemotron_ros.trace.files import read_trace
from nemotron_ros.trace.hashes import sha256_of
from nemotron_ros.trace.record import Trace, TraceError, entry_json, origin_json
from nemotron_ros.trace.replay import Report, replay
from nemotron_ros.trace.script import script_lines
from nemotron_ros.trace.stats import summary


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('trace', help='show, count or replay what a node has recorded')
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    show = actions.add_parser('show', help='tell what happened, command by command')
    stats = actions.add_parser('stats', help='how commands ended, what was refused, how long')
    again = actions.add_parser(
        'replay', help='what would differ with the parser, validator and guard of today'
    )
    again.add_argument('--tools', metavar='FILE', help='tool file (default: that of the trace)')
    for action, run in ((show, run_show), (stats, run_stats), (again, run_replay)):
        action.add_argument('file', nargs='+', type=Path, help='a .jsonl or .mcap of a trace')
        action.add_argument('--json', action='store_true', help='print JSON')
        action.set_defaults(run=run)


def run_show(arguments: argparse.Namespace) -> int:
    """Print the story of every command; 1 if a trace can't be read."""
    traces = _read(arguments.file)
    if traces is None:
        return 1
    for trace in traces:
        if arguments.json:
            _print_entries(trace)
            continue
        _console().print(Text('\n'.join(script_lines(trace))), soft_wrap=True)
    return 0


def run_stats(arguments: argparse.Namespace) -> int:
    """Print what the traces add up to; 1 if one can't be read."""
    traces = _read(arguments.file)
    if traces is None:
        return 1
    told = summary(traces)
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return 0
    table = Table(show_header=False)
    for key in ('commands', 'refused', 'direct_calls', 'turns', 'incomplete', 'lost'):
        value = told[key]
        if isinstance(value, dict):
            value = ', '.join(f'{count} {name}' for name, count in value.items()) or 'none'
        table.add_row(key.replace('_', ' '), Text(str(value)))
    for name, counts in told['tools'].items():
        row = ', '.join(f'{count} {status}' for status, count in counts.items())
        table.add_row(Text(name), Text(row))
    for name, (median, most, largest) in told['seconds'].items():
        table.add_row(Text(name), f'{median:.3f} s, 95 % {most:.3f} s, at most {largest:.3f} s')
    _console().print(table)
    return 0


def run_replay(arguments: argparse.Namespace) -> int:
    """Print what would differ; 1 if anything does, or if it can't be told."""
    traces = _read(arguments.file)
    if traces is None:
        return 1
    reports = []
    for path, trace in zip(arguments.file, traces, strict=True):
        name = arguments.tools or trace.origin.tool_file
        if not name:
            return _fail(f'{path}: does not name its tool file; say which with --tools FILE')
        try:
            tool_file = load(name)
        except ToolFileError as error:
            return _fail(f'{error}\nnemotron trace: --tools FILE takes another tool file')
        report = replay(trace, tool_file)
        if not report.commands:
            return _fail(f'{path}: holds no command, so nothing was replayed')
        _note_tool_file(trace, tool_file, report)
        reports.append((path, report))
    if arguments.json:
        told = [_as_json(path, report) for path, report in reports]
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        for path, report in reports:
            _print_report(path, report)
    return 1 if any(report.differences for _, report in reports) else 0


def _read(paths: Iterable[Path]) -> list[Trace] | None:
    """Return the traces; None, and the reason printed, if one can't be read."""
    try:
        return [read_trace(path) for path in paths]
    except TraceError as error:
        _fail(str(error))
        return None


def _fail(reason: str) -> int:
    print(f'nemotron trace: {reason}', file=sys.stderr)
    return 1


def _note_tool_file(trace: Trace, tool_file: ToolFile, report: Report) -> None:
    then = trace.origin.tool_file_sha256
    if then and then != sha256_of(Path(tool_file.path)):
        report.notes.append(f'{tool_file.path} is not the tool file that was recorded')


def _print_entries(trace: Trace) -> None:
    print(json.dumps(origin_json(trace.origin), ensure_ascii=False))
    for entry in trace.entries:
        print(json.dumps(entry_json(entry), ensure_ascii=False))


def _as_json(path: Path, report: Report) -> dict[str, Any]:
    return {
        'file': str(path),
        'commands': report.commands,
        'turns': report.turns,
        'calls': report.calls,
        'differences': [asdict(found) for found in report.differences],
        'unjudged': dict(report.unjudged),
        'notes': report.notes,
    }


def _print_report(path: Path, report: Report) -> None:
    console = _console()
    for note in report.notes:
        console.print(Text(f'note: {note}', 'dim'), soft_wrap=True)
    for reason, count in report.unjudged.items():
        console.print(Text(f'not judged: {reason} ({count})', 'dim'), soft_wrap=True)
    for found in report.differences:
        console.print(Text(f'differs: {found.what} (command {found.command_id})', 'bold red'))
        console.print(Text(f'    then:  {found.then}\n    today: {found.today}'), soft_wrap=True)
    told = f'{report.commands} commands, {report.turns} turns, {report.calls} calls'
    differ = len(report.differences)
    verdict = f'{differ} would differ today' if differ else 'as they were'
    console.print(Text(f'{path}: {told}: {verdict}'), soft_wrap=True)


def _console() -> Console:
    return Console(highlight=False)
