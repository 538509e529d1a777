"""``nemotron eval``: how often a model does with a tool file what it is told."""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from nemotron_ros.agent import Limits, Sampling
from nemotron_ros.bringup import config_path
from nemotron_ros.cli.arguments import seconds
from nemotron_ros.cli.scenario_files import ToolFiles, scenario_files
from nemotron_ros.deployment import Wanted, engine_settings
from nemotron_ros.device.detect import detect
from nemotron_ros.device.profile import load_profiles
from nemotron_ros.edge_llm.cache import engines_folder
from nemotron_ros.engine.factory import make_engine
from nemotron_ros.engine.model_files import load_catalogue
from nemotron_ros.engine.protocol import Engine, EngineError, EngineState, ModelInfo
from nemotron_ros.engine.protocol import Progress as LoadProgress
from nemotron_ros.evaluation import bfcl, plots
from nemotron_ros.evaluation.bfcl import BfclError
from nemotron_ros.evaluation.compare import compare
from nemotron_ros.evaluation.record import Record, RecordError, Row, read, row_of, write
from nemotron_ros.evaluation.report import compare_markdown, rates_table, run_markdown, tags_table
from nemotron_ros.evaluation.run import Conduct, is_asked, items_of, run_items
from nemotron_ros.evaluation.scenario import ScenarioError, load
from nemotron_ros.evaluation.split import PARTS
from nemotron_ros.tools.tool_file import ToolFileError
from nemotron_ros.trace.hashes import sha256_of

Drawn = TypeVar('Drawn')


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('eval', help='how often a model does what it is told')
    actions = parser.add_subparsers(dest='action', metavar='compare')
    _add_engine(parser)
    _add_items(parser)
    _add_conduct(parser)
    parser.add_argument(
        '--out', type=Path, default=Path('out/eval'), help='folder for the results (out/eval)'
    )
    parser.set_defaults(run=run)
    comparing = actions.add_parser('compare', help='hold two runs against each other')
    comparing.add_argument('first', type=Path, help='the eval.json of a run')
    comparing.add_argument('second', type=Path, help='that of another one')
    comparing.add_argument('--out', type=Path, help='folder for the comparison and its picture')
    comparing.set_defaults(run=run_compare)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('engine', "the node's parameters of the same names")
    group.add_argument('--device', default='cpu', help='profile of a board, or auto (cpu)')
    for name in ('engine', 'model', 'url', 'api-key-env', 'script'):
        group.add_argument(f'--{name}', default='', metavar=name.rpartition('-')[2].upper())
    for name in ('context-tokens', 'threads'):
        group.add_argument(f'--{name}', type=int, default=0, metavar='N')


def _add_items(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('what is asked')
    group.add_argument(
        '--scenarios', type=Path, nargs='+', metavar='PATH',
        help="files of scenarios, or folders of them (this package's own)",
    )  # fmt: skip
    group.add_argument(
        '--tools', type=Path, metavar='FILE',
        help='tool file for the robot that it names (config/tools/ROBOT.yaml)',
    )  # fmt: skip
    group.add_argument(
        '--bfcl',
        nargs='+',
        metavar='WHAT',
        help='in place of scenarios: categories of the Berkeley Function-Calling Leaderboard '
        f'({", ".join(bfcl.CATEGORIES)}), or files of it',
    )
    group.add_argument('--part', choices=(*PARTS, 'all'), default='tuning', help='(tuning)')
    group.add_argument('--tags', nargs='+', metavar='TAG', help='only what has one of these')
    group.add_argument('--limit', type=_count, metavar='N', help='at most so many items')


def _add_conduct(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('how it is asked')
    group.add_argument(
        '--runs', type=_count, default=1, metavar='N', help='each with a seed of its own (1)'
    )
    group.add_argument('--seed', type=int, default=0, help='of the first run (0)')
    group.add_argument('--temperature', type=float, default=0.0, help='of the sampling (0)')
    group.add_argument('--thinking', action='store_true', help='let the model reason')
    group.add_argument(
        '--unconstrained', action='store_true', help="don't hold it to the tools as it writes"
    )
    group.add_argument('--ask-user', action='store_true', help='let it ask the person by a tool')
    group.add_argument(
        '--timeout', type=seconds, default=120.0, metavar='S', help='for one command (120)'
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask what is to be asked; 0 if that could be done, however good the model is."""
    try:
        catalogue = load_catalogue(config_path('models.yaml'))
        asking = _bfcl(arguments) if arguments.bfcl else _scenarios(arguments)
        settings = engine_settings(
            _wanted(arguments),
            load_profiles(config_path('devices')),
            detect,
            catalogue,
            engines_folder(),
        )
        arguments.out.mkdir(parents=True, exist_ok=True)
        record = _run(arguments, asking, lambda: make_engine(settings, catalogue, _unheard))
        _save(record, arguments.out)
    except (ScenarioError, ToolFileError, BfclError, EngineError, OSError, _NothingToDo) as error:
        print(f'nemotron eval: {error}', file=sys.stderr)
        return 1
    print(f'{rates_table(record.rows)}\n\n{tags_table(record.rows)}\n\nin {arguments.out}')
    return 0


def run_compare(arguments: argparse.Namespace) -> int:
    """Tell how two runs differ; 1 if one can't be read."""
    paths = (arguments.first, arguments.second)
    try:
        records = (read(paths[0]), read(paths[1]))
        names = _names(paths)
        told = compare_markdown(compare(*records), names)
        print(told, end='')
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            (arguments.out / 'compare.md').write_text(told, encoding='utf-8')
            with _without_pictures_if_need_be():
                plots.plot_comparison(records, names, arguments.out / 'compare.png')
    except (RecordError, OSError) as error:
        print(f'nemotron eval: {error}', file=sys.stderr)
        return 1
    return 0


class _NothingToDo(Exception):
    """No item is left of what was asked for."""


@dataclass(frozen=True)
class _Asking:
    """What is to be asked: how many rows will come of it, of which files, and how.

    ``run`` takes what makes the engine, what is told while it loads, and what is told each row.
    """

    rows: int
    settings: Mapping[str, Any]
    run: Callable[[Callable[[], Engine], LoadProgress, Callable[[Row], None]], ModelInfo]


def _scenarios(arguments: argparse.Namespace) -> _Asking:
    tool_files = ToolFiles(arguments.tools)
    files = scenario_files(arguments.scenarios)
    every = items_of(load(files, tool_files.of))
    chosen = [item for item in every if is_asked(item, arguments.part, arguments.tags or ())]
    if not chosen:
        tags = sorted({tag for item in every for tag in item.scenario.tags})
        raise _NothingToDo(
            f'none of {len(every)} items is of the part {arguments.part} and has a tag of '
            f'{arguments.tags}; there is {", ".join(tags)}'
        )
    items = _drawn(chosen, arguments.limit, lambda item: item.key)
    conduct = Conduct(
        Limits(), _sampling(arguments), arguments.ask_user, arguments.runs, arguments.timeout
    )
    robots = sorted({item.scenario.robot for item in items})
    settings = {
        'part': arguments.part,
        'tags': arguments.tags or [],
        'runs': conduct.runs,
        'ask_user': conduct.ask_user,
        'tool_files': {robot: sha256_of(Path(tool_files.of(robot).path))[:12] for robot in robots},
        'scenarios': {file.name: sha256_of(file)[:12] for file in files},
    }
    return _Asking(
        len(items) * conduct.runs,
        settings,
        lambda engine, loading, told: run_items(
            items,
            tool_files.by_robot,
            engine,
            conduct,
            loading,
            lambda result: told(row_of(result)),
        ),
    )


def _bfcl(arguments: argparse.Namespace) -> _Asking:
    found = [entry for what in arguments.bfcl for entry in bfcl.load(what)]
    entries = _drawn(found, arguments.limit, lambda entry: entry.id)
    return _Asking(
        len(entries),
        {'part': f'BFCL v4 {", ".join(sorted({entry.category for entry in entries}))}'},
        lambda engine, loading, told: bfcl.run_entries(
            entries, engine, _sampling(arguments), arguments.timeout, loading, told
        ),
    )


def _sampling(arguments: argparse.Namespace) -> Sampling:
    return Sampling(
        arguments.temperature,
        arguments.seed,
        arguments.thinking,
        constrained=not arguments.unconstrained,
    )


def _drawn(every: Sequence[Drawn], limit: int | None, key: Callable[[Drawn], str]) -> list[Drawn]:
    """Return at most so many, drawn by a hash: the same ones each time, from everywhere."""

    def lot(one: Drawn) -> str:
        return hashlib.sha256(key(one).encode()).hexdigest()

    drawn = set(map(key, sorted(every, key=lot)[:limit]))
    return [one for one in every if key(one) in drawn]


def _wanted(arguments: argparse.Namespace) -> Wanted:
    return Wanted(
        arguments.device,
        arguments.engine,
        arguments.model,
        arguments.script,
        arguments.context_tokens,
        arguments.threads,
        arguments.url,
        arguments.api_key_env,
    )


def _run(arguments: argparse.Namespace, asking: _Asking, engine: Callable[[], Engine]) -> Record:
    began, began_s = datetime.now(timezone.utc), time.monotonic()
    rows: list[Row] = []
    with _bar(asking.rows) as bar:

        def told(row: Row) -> None:
            rows.append(row)
            bar.advance(rows)

        model = asking.run(engine, bar.loading, told)
    board = detect()
    return Record(
        {
            'engine': model.engine,
            'model': model.model,
            'context_tokens': model.context_tokens,
            **asking.settings,
            'limit': arguments.limit,
            'seed': arguments.seed,
            'temperature': arguments.temperature,
            'thinking': arguments.thinking,
            'constrained': not arguments.unconstrained,
        },
        {
            'began': began.isoformat(timespec='seconds'),
            'seconds': round(time.monotonic() - began_s, 1),
            'machine': f'{board.model or board.arch}, {os.cpu_count()} cores',
            'python': platform.python_version(),
        },
        tuple(rows),
    )


def _unheard(_state: EngineState, _text: str) -> None:
    """Leave what an engine tells of itself to the errors of what is asked."""


def _save(record: Record, folder: Path) -> None:
    write(record, folder / 'eval.json')
    (folder / 'eval.md').write_text(run_markdown(record), encoding='utf-8')
    with _without_pictures_if_need_be():
        plots.plot_run(record, folder / 'eval.png')


@contextmanager
def _without_pictures_if_need_be() -> Iterator[None]:
    try:
        yield
    except plots.NoPlotsError as error:
        print(f'nemotron eval: {error}', file=sys.stderr)


def _names(paths: tuple[Path, Path]) -> tuple[str, str]:
    """Return short names of two files: those of their folders, if these differ."""
    first, second = (path.resolve() for path in paths)
    if first.parent.name != second.parent.name:
        return first.parent.name, second.parent.name
    return (first.stem, second.stem) if first.stem != second.stem else (str(first), str(second))


class _Bar:
    """How far the run is, and how good it has been so far."""

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task('loading', total=total)

    def loading(self, part: float, text: str) -> None:
        self._bar.update(self._task, description=f'{text} {100 * part:.0f} %')

    def advance(self, rows: Sequence[Row]) -> None:
        right = sum(row.right for row in rows)
        false = sum(bool(row.false_actions) for row in rows)
        text = f'{right} right, {false} false actions'
        self._bar.update(self._task, advance=1, description=text)


@contextmanager
def _bar(total: int) -> Iterator[_Bar]:
    # Standard output is for the results alone.
    console = Console(stderr=True)
    columns = (
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield _Bar(bar, total)


def _count(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f'expected a number of at least 1, got {text!r}')
    return value
