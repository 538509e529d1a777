"""``nemotron model``: fetch a model file, list those that are known."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from nemotron_ros.bringup import config_path
from nemotron_ros.engine.model_files import fetch, fetch_or_smaller, load_catalogue
from nemotron_ros.engine.protocol import EngineError, Progress


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('model', help='fetch a model file, or list those that are known')
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    getting = actions.add_parser('fetch', help='download a model, or check that it is there')
    getting.add_argument('name', help='a name from the list, or the path of a GGUF file')
    getting.set_defaults(run=run_fetch)
    listing = actions.add_parser('list', help='list the models that are known by name')
    listing.set_defaults(run=run_list)


def run_fetch(arguments: argparse.Namespace) -> int:
    """Fetch a model with a progress bar; print its path."""
    try:
        path = fetch_with_bar(arguments.name)
    except EngineError as error:
        print(f'nemotron model: {error}', file=sys.stderr)
        return 1
    print(path)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Print the catalogue."""
    table = Table()
    for column in ('name', 'file', 'MB', 'licence'):
        table.add_column(column)
    for entry in load_catalogue(config_path('models.yaml')).values():
        table.add_row(entry.name, entry.file, f'{entry.bytes / 1e6:.0f}', entry.licence)
    Console().print(table)
    return 0


def fetch_with_bar(name: str) -> Path:
    """Fetch a model and show how far it is.

    :raise EngineError: if it can't be had.
    """
    catalogue = load_catalogue(config_path('models.yaml'))
    with _bar(name) as progress:
        return fetch(name, catalogue, progress)


def fetch_or_smaller_with_bar(name: str) -> tuple[Path, str]:
    """Fetch a model, or a smaller one where it can't be reached; say why.

    :raise EngineError: if neither can be had.
    """
    catalogue = load_catalogue(config_path('models.yaml'))
    with _bar(name) as progress:
        return fetch_or_smaller(name, catalogue, progress)


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    # Standard output is for the path alone.
    console = Console(stderr=True)
    columns = (TextColumn('{task.description}'), BarColumn(), TaskProgressColumn())
    hidden = not console.is_terminal
    with ProgressBar(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda part, text: bar.update(task, completed=part, description=text)
