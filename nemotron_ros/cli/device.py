"""``nemotron device``: which board this is, and which device profile fits it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nemotron_ros.bringup import config_path
from nemotron_ros.device.budget import GIB, needed_bytes, parts, sum_text
from nemotron_ros.device.detect import Board, Choice, available_bytes, choose, detect
from nemotron_ros.device.profile import ProfileError, load_profiles

UNKNOWN = '-'


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('device', help='tell which board this is and which profile fits it')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what this board is, and its profile with the reason."""
    try:
        profiles = load_profiles(config_path('devices'))
    except ProfileError as error:
        print(error, file=sys.stderr)
        return 1
    board = detect()
    choice = choose(board, profiles)
    if arguments.json:
        print(json.dumps(_as_json(board, choice), indent=2))
    else:
        Console().print(_table(board, choice))
    return 0


def _table(board: Board, choice: Choice) -> Table:
    profile = choice.profile
    table = Table(show_header=False)
    rows = {
        'board': board.model or UNKNOWN,
        'architecture': board.arch,
        'JetPack': f'{board.jetpack or "unknown"} ({board.l4t})' if board.l4t else UNKNOWN,
        'GPU': _gpu_text(board),
        'driver': board.driver or UNKNOWN,
        'RAM': f'{board.ram_available_bytes / GIB:.1f} GiB free of '
        f'{board.ram_total_bytes / GIB:.1f}',
        'glibc': board.glibc or UNKNOWN,
        'profile': f'{profile.name}: {choice.reason}',
        'engine': f'{profile.engine}, {profile.model.name}, {profile.precision}',
        'memory': f'{sum_text(profile)}; '
        f'{available_bytes(board, profile.memory.pool) / GIB:.1f} GiB are free',
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _gpu_text(board: Board) -> str:
    gpu = board.gpu
    if gpu is None:
        return UNKNOWN
    text = f'{gpu.name}, compute capability {gpu.compute_capability or "unknown"}'
    if gpu.total_bytes:
        text += f', {gpu.free_bytes / GIB:.1f} GiB free of {gpu.total_bytes / GIB:.1f}'
    return text


def _as_json(board: Board, choice: Choice) -> dict[str, object]:
    profile = choice.profile
    return {
        'board': asdict(board),
        'profile': profile.name,
        'reason': choice.reason,
        'engine': profile.engine,
        'model': asdict(profile.model),
        'precision': profile.precision,
        'memory': {
            'pool': profile.memory.pool,
            'parts_bytes': parts(profile),
            'needed_bytes': needed_bytes(profile),
            'available_bytes': available_bytes(board, profile.memory.pool),
        },
    }
