"""Whether a board has what a profile needs: one check after the other, each with its advice."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

from nemotron_ros.device.budget import GIB, DoesNotFit, fits, sum_text
from nemotron_ros.device.detect import Board, Choice, available_bytes, version
from nemotron_ros.device.model_path import find_model, parent_on_disk
from nemotron_ros.device.profile import Profile
from nemotron_ros.engine.model_files import Catalogue
from nemotron_ros.engine.protocol import EngineError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and what to do if it is not as needed."""

    name: str
    ok: bool
    found: str
    advice: str = ''

    @staticmethod
    def failed(name: str, message: str) -> Check:
        """Return a check that failed with a message of which the last part is the advice."""
        found, _, advice = message.rpartition('; ')
        return Check(name, False, found or message, advice if found else '')


def check_board(profile: Profile, board: Board, choice: Choice) -> Iterator[Check]:
    """Check the hardware and the system: what is missing there takes another board or JetPack.

    :param choice: the profile that fits the board by itself.
    """
    needs = profile.needs
    # An engine that is built is tied to its board; what is only loaded runs on any like it.
    yield Check(
        'board',
        profile.build is None or choice.profile == profile,
        board.model or 'unknown',
        f'use the profile {choice.profile.name}: {choice.reason}',
    )
    if needs.arch:
        yield Check(
            'architecture', board.arch == needs.arch, board.arch, f'{needs.arch} is needed'
        )
    if needs.jetpack:
        yield Check(
            'JetPack',
            version(board.jetpack)[:2] in {version(release)[:2] for release in needs.jetpack},
            f'{board.jetpack or "unknown"} ({board.l4t or "no Jetson Linux"})',
            f'install JetPack {" or ".join(needs.jetpack)}'
            + (f', or use the profile {profile.smaller}' if profile.smaller else ''),
        )
    if needs.glibc:
        yield Check(
            'glibc',
            version(board.glibc) >= version(needs.glibc),
            board.glibc or 'unknown',
            f'{needs.glibc} or later is needed, which comes with a later release of the system',
        )
    if profile.memory.pool != 'ram':
        yield _driver(board)
    if needs.compute_capability:
        yield _compute_capability(board, needs.compute_capability)
    yield _memory(profile, board)


def check_software(profile: Profile, environment: str, port: int) -> Iterator[Check]:
    """Check what is installed, and that nobody has the server's port."""
    if profile.needs.package and not profile.environment:
        yield _package(profile.needs.package)
    if profile.server:
        yield _program(profile, environment)
        yield Check(
            'port',
            port_is_free(port),
            f'{port} on this computer',
            'end the program that listens there, or choose another one by --port',
        )


def check_model(profile: Profile, catalogue: Catalogue, folder: Path) -> Iterator[Check]:
    """Check that the model is on disk, or that there is room for it.

    :param folder: where a fetched model would be kept.
    """
    try:
        path = find_model(profile, catalogue)
    except EngineError as error:
        yield Check.failed('model', str(error))
        free = shutil.disk_usage(parent_on_disk(folder)).free
        size = profile.memory.weights_bytes
        yield Check(
            'disk',
            free >= size,
            f'{free / GIB:.1f} GiB free, {size / GIB:.1f} to fetch the model',
            f'make room at {folder}',
        )
        return
    yield Check('model', True, str(path))


def port_is_free(port: int) -> bool:
    """Whether a server could listen on a port of the loopback address."""
    with closing(socket.socket()) as probe:
        # As servers do: a port is free though old connections of it are not forgotten yet.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def _driver(board: Board) -> Check:
    # On a Jetson, the GPU's driver is a part of Jetson Linux.
    found = board.driver or (f'of Jetson Linux {board.l4t}' if board.l4t else '')
    return Check(
        'driver',
        bool(found),
        found or 'none',
        "install NVIDIA's driver, and see that `nvidia-smi` names the GPU",
    )


def _compute_capability(board: Board, needed: str) -> Check:
    found = board.gpu.compute_capability if board.gpu else ''
    return Check(
        'GPU',
        version(found) >= version(needed),
        f'{board.gpu.name}, compute capability {found}' if board.gpu else 'none',
        f'compute capability {needed} or more is needed; use the profile cpu',
    )


def _memory(profile: Profile, board: Board) -> Check:
    available = available_bytes(board, profile.memory.pool)
    try:
        fits(profile, available)
    except DoesNotFit as error:
        return Check.failed('memory', str(error).removeprefix('memory: '))
    return Check('memory', True, f'{available / GIB:.1f} GiB free, {sum_text(profile)} needed')


def _package(requirement: str) -> Check:
    name, _, needed = requirement.partition('==')
    try:
        found = package_version(name)
    except PackageNotFoundError:
        found = 'not installed'
    advice = f'install it with `pip install {requirement}`'
    return Check('package', found == needed, f'{name} {found}', advice)


def _program(profile: Profile, environment: str) -> Check:
    name = profile.command('', Path(), environment)[0]
    found = shutil.which(name)
    return Check('server', found is not None, found or f'{name} is not there', profile.install)
