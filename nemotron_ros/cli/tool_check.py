"""``nemotron tools check``: hold a tool file against itself, its types, and a running robot."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nemotron_ros.cancel import CancelToken
from nemotron_ros.cli.arguments import node_name
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.tool_file import ToolFileError, load

DISCOVERY_S = 6.0


def add_parser(actions: Any) -> None:
    """Add the action to ``nemotron tools``."""
    parser = actions.add_parser(
        'check', help='check a tool file, types and fields included, or against a running robot'
    )
    parser.add_argument('file')
    parser.add_argument(
        '--live',
        action='store_true',
        help='hold it against what runs on ROS now: missing, mistyped, out of reach by QoS',
    )
    parser.add_argument(
        '--namespace',
        type=node_name,
        help='namespace of the node that will use the file; for --live',
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check a tool file; print every problem with its line."""
    from nemotron_ros.bridge.check import check, check_disabled

    try:
        tool_file = load(arguments.file)
    except ToolFileError as error:
        return _report(arguments, None, error.problems, [], [])
    findings = _live(tool_file, arguments.namespace or '') if arguments.live else []
    warnings = [*tool_file.warnings, *check_disabled(tool_file)]
    return _report(arguments, tool_file, check(tool_file), warnings, findings)


def _live(tool_file: ToolFile, namespace: str) -> list[Any]:
    from nemotron_ros.bridge.graph import settled
    from nemotron_ros.bridge.live import check_live
    from nemotron_ros.spinning import spinning

    with spinning('nemotron_tools_check') as node:
        graph = settled(node, DISCOVERY_S, CancelToken(2 * DISCOVERY_S))
    return check_live(tool_file, graph, namespace)


def _report(
    arguments: argparse.Namespace,
    tool_file: ToolFile | None,
    problems: Sequence[str],
    warnings: Sequence[str],
    findings: Sequence[Any],
) -> int:
    enabled = 0 if tool_file is None else len(tool_file.tools)
    disabled = 0 if tool_file is None else len(tool_file.disabled)
    if arguments.json:
        document = {
            'file': arguments.file,
            'tools': enabled,
            'disabled': disabled,
            'problems': list(problems),
            'warnings': list(warnings),
            'live': [_as_json(finding) for finding in findings] if arguments.live else None,
        }
        print(json.dumps(document, ensure_ascii=False, indent=2))
        return 1 if problems or findings else 0
    for problem in problems:
        print(problem, file=sys.stderr)
    for warning in warnings:
        print(f'{warning} (warning)', file=sys.stderr)
    if findings:
        # A pipe has no width of its own; what goes there is not folded at 80.
        Console(width=None if sys.stdout.isatty() else 120).print(_table(findings))
    if problems or findings:
        return 1
    more = f' and {disabled} disabled' if disabled else ''
    where = ', each within reach of the robot that runs' if arguments.live else ''
    print(f'{arguments.file}: {enabled} tools{more}, no problem found{where}')
    return 0


def _table(findings: Sequence[Any]) -> Table:
    table = Table(title='not within reach', title_justify='left')
    for column in ('in the file', 'needs', 'is', 'nearest'):
        table.add_column(column, overflow='fold')
    for finding in findings:
        file, _, line = finding.where.rpartition(':')
        row = (
            f'{Path(file).name}:{line}\n{finding.path}',
            f'{finding.needs.value} {finding.name}\n{finding.type}',
            f'{finding.fault}\n{finding.problem}',
            finding.nearest,
        )
        table.add_row(*map(Text, row))
    return table


def _as_json(finding: Any) -> dict[str, object]:
    return {**asdict(finding), 'needs': finding.needs.value}
