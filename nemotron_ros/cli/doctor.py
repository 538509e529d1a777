"""``nemotron doctor``: whether this board has what its profile needs, and what to do if not."""

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

from nemotron_ros.bringup import config_path
from nemotron_ros.cli.arguments import port
from nemotron_ros.device.detect import choose, detect
from nemotron_ros.device.doctor import Check, check_board, check_model, check_software
from nemotron_ros.device.model_path import find_model, models_of_hub
from nemotron_ros.device.profile import Profile, load_profiles, named
from nemotron_ros.edge_llm.cache import engines_folder
from nemotron_ros.edge_llm.checks import check_edge_llm
from nemotron_ros.engine.model_files import Catalogue, load_catalogue, models_folder
from nemotron_ros.engine.protocol import EngineError


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('doctor', help='check that this board has what its profile needs')
    parser.add_argument('--device', metavar='PROFILE', help='default: the one that fits it')
    parser.add_argument('--cache-dir', type=Path, help='where engines are kept')
    parser.add_argument('--environment', default='', help="in place of the profile's own")
    parser.add_argument('--port', type=port, default=8000, help='of the server (default 8000)')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print each check; 1 if one of them failed."""
    try:
        profiles = load_profiles(config_path('devices'))
        catalogue = load_catalogue(config_path('models.yaml'))
        board = detect()
        choice = choose(board, profiles)
        profile = named(arguments.device, profiles) if arguments.device else choice.profile
    except EngineError as error:
        print(f'nemotron doctor: {error}', file=sys.stderr)
        return 1
    environment = arguments.environment or profile.environment
    folder = models_folder() if profile.model.catalogue else models_of_hub()
    checks = [
        *check_board(profile, board, choice),
        *check_software(profile, environment, arguments.port),
        *check_model(profile, catalogue, folder),
    ]
    if profile.engine == 'edge_llm':
        cache = arguments.cache_dir or engines_folder()
        checkpoint = _model_or_none(profile, catalogue)
        checks += check_edge_llm(profile, board, checkpoint, cache, environment)
    if arguments.json:
        told = {'profile': profile.name, 'checks': [asdict(check) for check in checks]}
        print(json.dumps(told, indent=2))
    else:
        Console().print(_table(profile, checks))
    return 0 if all(check.ok for check in checks) else 1


def _model_or_none(profile: Profile, catalogue: Catalogue) -> Path | None:
    try:
        return find_model(profile, catalogue)
    except EngineError:  # a check of its own has told
        return None


def _table(profile: Profile, checks: Sequence[Check]) -> Table:
    table = Table(title=Text(f'{profile.name}: {profile.title}'), title_justify='left')
    for column in ('', 'check', 'found', 'what to do'):
        table.add_column(column, overflow='fold')  # a command that is cut short is of no use
    for check in checks:
        mark = Text('ok', 'green') if check.ok else Text('FAIL', 'bold red')
        advice = '' if check.ok else check.advice
        table.add_row(mark, check.name, Text(check.found), Text(advice))
    return table
