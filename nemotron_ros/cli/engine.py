"""``nemotron engine``: build the TensorRT engine of this board, serve the board's model."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemotron_ros.bringup import config_path
from nemotron_ros.cli.arguments import port
from nemotron_ros.device.budget import GIB
from nemotron_ros.device.detect import Board, choose, detect
from nemotron_ros.device.doctor import port_is_free
from nemotron_ros.device.model_path import fetch_model, find_model
from nemotron_ros.device.profile import Profile, load_profiles, named
from nemotron_ros.edge_llm import build
from nemotron_ros.edge_llm.cache import engines_folder
from nemotron_ros.edge_llm.serve import server_command
from nemotron_ros.edge_llm.toolchain import ask
from nemotron_ros.engine.checkpoint import find_checkpoint
from nemotron_ros.engine.model_files import load_catalogue
from nemotron_ros.engine.protocol import EngineError


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('engine', help='build the TensorRT engine of this board, or serve')
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    building = actions.add_parser('build', help='build the engine, which takes minutes')
    _add_common(building)
    building.add_argument(
        '--engine-dir',
        type=Path,
        help="where to put it, for NVIDIA's C++ tools; default: where the server looks for it",
    )
    building.set_defaults(run=run_build)
    serving = actions.add_parser('serve', help='serve the model in the foreground')
    _add_common(serving)
    serving.add_argument('--port', type=port, default=8000, help='on 127.0.0.1 (default 8000)')
    serving.set_defaults(run=run_serve)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--device', metavar='PROFILE', help='default: the one that fits the board')
    parser.add_argument(
        '--model-dir', type=Path, help="a checkpoint folder, in place of the profile's model"
    )
    parser.add_argument('--cache-dir', type=Path, help='where engines are kept')
    parser.add_argument('--environment', default='', help="in place of the profile's own")
    parser.add_argument('--dry-run', action='store_true', help='only show what would be done')


def run_build(arguments: argparse.Namespace) -> int:
    """Build the engine, and show what the builder says."""
    try:
        return _build(arguments)
    except EngineError as error:
        print(f'nemotron engine: {error}', file=sys.stderr)
        return 1


def run_serve(arguments: argparse.Namespace) -> int:
    """Become the server."""
    try:
        command = _serve_command(arguments)
    except EngineError as error:
        print(f'nemotron engine: {error}', file=sys.stderr)
        return 1
    print(' '.join(command), flush=True)
    if arguments.dry_run:
        return 0
    # In this process's place: signals reach the server itself, and nothing is left between.
    os.execv(command[0], command)


def _build(arguments: argparse.Namespace) -> int:
    profile, board = _profile(arguments)
    environment = arguments.environment or profile.environment
    # Nothing should be fetched for an engine that can't be built here.
    build.check_memory(build.check_profile(profile).memory_bytes, board)
    checkpoint, model = _checkpoint(arguments, profile)
    toolchain = ask(profile, environment, checkpoint, arguments.cache_dir or engines_folder())
    plan = build.make_plan(
        profile, board, checkpoint, model, toolchain, environment, arguments.engine_dir
    )
    for line in (
        f'model    {model}, {profile.precision}',
        f'board    {board.model}, JetPack {board.jetpack}',
        f'with     TensorRT {toolchain.tensorrt}, Edge-LLM {toolchain.edge_llm}',
        f'needs    {plan.memory_bytes / GIB:.1f} GiB of memory, '
        f'{plan.disk_bytes / GIB:.1f} GiB of disk',
        f'command  {" ".join(plan.command)}',
        f'engine   {plan.engine_dir}',
    ):
        print(line, flush=True)
    build.check_room(plan, board)
    if arguments.dry_run:
        return 0
    began_s = time.monotonic()
    with _ending_in_order():
        build.run(
            plan,
            board,
            lambda line: print(f'{time.monotonic() - began_s:6.0f} s  {line}', flush=True),
        )
    print(f'{time.monotonic() - began_s:6.0f} s  the engine is in {plan.engine_dir}')
    return 0


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Have a build that is told to end take back what it has begun.

    A service manager tells it by SIGTERM, a terminal that closes by SIGHUP.
    """
    told = (signal.SIGTERM, signal.SIGHUP)
    # Under nohup, a terminal that closes is to end nothing.
    numbers = [number for number in told if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, lambda given, _: sys.exit(128 + given)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _serve_command(arguments: argparse.Namespace) -> list[str]:
    profile, board = _profile(arguments)
    if arguments.model_dir is not None:
        path, model = _own(arguments.model_dir)
    else:
        path = find_model(profile, load_catalogue(config_path('models.yaml')))
        model = profile.model.name
    command = server_command(
        profile,
        board,
        path,
        arguments.cache_dir or engines_folder(),
        model=model,
        environment=arguments.environment,
        port=arguments.port,
    )
    if not port_is_free(arguments.port):
        raise EngineError(
            f'port: {arguments.port} is taken; end the program that listens there, or choose '
            'another one by --port'
        )
    return command


def _profile(arguments: argparse.Namespace) -> tuple[Profile, Board]:
    """Return the profile that is asked for, and the board.

    :raise EngineError: if an engine of that profile can't run on this board.
    """
    profiles = load_profiles(config_path('devices'))
    board = detect()
    choice = choose(board, profiles)
    if not arguments.device:
        return choice.profile, board
    profile = named(arguments.device, profiles)
    if profile.build is not None and profile != choice.profile:
        raise EngineError(
            f'device: {profile.name} is not this board ({board.model or "unknown"}): its engine '
            f'is built and run on that board only; the profile that fits is {choice.profile.name}'
        )
    return profile, board


def _checkpoint(arguments: argparse.Namespace, profile: Profile) -> tuple[Path, str]:
    """Return the checkpoint to build from, and its name."""
    if arguments.model_dir is not None:
        return _own(arguments.model_dir)
    if arguments.dry_run:
        return find_model(profile, {}), profile.model.name
    print(f'fetching {profile.model.name}, unless it is on disk', flush=True)
    return fetch_model(profile), profile.model.name


def _own(folder: Path) -> tuple[Path, str]:
    path = find_checkpoint(str(folder)).folder.absolute()
    return path, str(path)
