"""Builds an engine on the board: as a whole or not at all.

The builder writes into a folder that nobody takes for an engine; when it is done, a manifest is
written beside its files and the folder is renamed. Whatever ends the build before that, a power
cut included, leaves at most that folder, which the next build removes. A build is not taken up
in the middle: the builder can't.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from nemotron_ros.device.budget import GIB
from nemotron_ros.device.detect import Board
from nemotron_ros.device.model_path import parent_on_disk
from nemotron_ros.device.profile import Build, Profile
from nemotron_ros.edge_llm import manifest
from nemotron_ros.edge_llm.manifest import EngineFolderError, Manifest, Origin
from nemotron_ros.edge_llm.toolchain import Toolchain, program, sizes
from nemotron_ros.engine.protocol import EngineError

BUILDER = 'tensorrt-edgellm-build'
BUILD_S = 4 * 3600.0
"""How long a build may take."""
END_S = 10.0
LAST_LINES = 4
"""Lines of the builder that are told when it fails."""
FULL = 'No space left on device'


class BuildError(EngineError):
    """No engine was built; nothing of it is left. The message says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """A build, decided and not begun.

    :param command: the builder's, with the folder it writes to left out.
    :param engine_dir: where the engine will be.
    """

    origin: Origin
    command: tuple[str, ...]
    engine_dir: Path
    memory_bytes: int
    disk_bytes: int

    @property
    def part(self) -> Path:
        """The folder that the builder writes to; hidden, as the server's own ones are."""
        return self.engine_dir.with_name(f'.{self.engine_dir.name}.part')


def make_plan(
    profile: Profile,
    board: Board,
    checkpoint: Path,
    model: str,
    toolchain: Toolchain,
    environment: str,
    engine_dir: Path | None = None,
) -> Plan:
    """Decide on a build.

    :param model: what the manifest calls the checkpoint.
    :param engine_dir: None for the folder where the server looks for it.
    :raise EngineError: if no engine can be built of that profile, or by that environment.
    """
    build = check_profile(profile)
    if not toolchain.tensorrt:
        raise BuildError(
            f'environment: TensorRT can not be loaded in {environment}: {toolchain.tensorrt_fault}'
            '; it comes with JetPack: `sudo apt-get install nvidia-jetpack`'
        )
    command = [str(program(profile, environment, BUILDER)), '--model-dir', str(checkpoint)]
    command += ['--components', 'all']
    for name, size in sizes(profile).items():
        command += [f'--{name.replace("_", "-")}', str(size)]
    return Plan(
        origin=manifest.origin(profile, model, board, toolchain),
        command=tuple(command),
        engine_dir=(engine_dir or Path(toolchain.engine_dir)).absolute(),
        memory_bytes=build.memory_bytes,
        disk_bytes=build.disk_bytes,
    )


def check_profile(profile: Profile) -> Build:
    """Return what the build of a profile's engine takes.

    :raise BuildError: if the profile has no engine to build.
    """
    if profile.engine != 'edge_llm' or profile.build is None:
        raise BuildError(
            f'device: {profile.name} is served by {profile.engine}, for which no engine is built; '
            'let the node start it'
        )
    return profile.build


def run(plan: Plan, board: Board, tell: Callable[[str], None]) -> Manifest:
    """Build the engine, unless it is there already.

    :param board: its free memory is what the build may have.
    :param tell: called with each line of the builder.
    :raise EngineError: if it can't be built; nothing of it is left then.
    """
    try:
        plan.engine_dir.parent.mkdir(parents=True, exist_ok=True)
        with _locked(plan.engine_dir) as lock:
            built = _built(plan)
            if built is not None:
                tell(f'{plan.engine_dir} is built already, at {built.built_at}')
                return built
            shutil.rmtree(plan.part, ignore_errors=True)
            check_room(plan, board)
            try:
                return _build(plan, tell, lock)
            finally:
                shutil.rmtree(plan.part, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BuildError(_full(plan)) from error
        raise BuildError(f'engine_dir: {plan.engine_dir}: {error}') from error


def check_room(plan: Plan, board: Board) -> None:
    """Check that there are memory and disk space for the build.

    :raise BuildError: if not, with the numbers.
    """
    check_memory(plan.memory_bytes, board)
    folder = parent_on_disk(plan.engine_dir)
    free = shutil.disk_usage(folder).free
    if free < plan.disk_bytes:
        raise BuildError(
            f'disk: the build needs {plan.disk_bytes / GIB:.1f} GiB at {folder} and '
            f'{free / GIB:.1f} are free; make room, or name another folder by --cache-dir'
        )


def check_memory(needed_bytes: int, board: Board) -> None:
    """Check that there is memory for a build.

    :raise BuildError: if not, with the numbers.
    """
    free = board.ram_available_bytes + board.swap_free_bytes
    if free < needed_bytes:
        raise BuildError(
            f'memory: the build needs {needed_bytes / GIB:.1f} GiB and {free / GIB:.1f} are '
            'free, swap counted in; stop other programs, or add swap'
        )


def _built(plan: Plan) -> Manifest | None:
    """Return the manifest of an engine that is there and can be used."""
    try:
        return manifest.check(plan.engine_dir, plan.origin, with_hashes=True)
    except EngineFolderError:
        return None


def _build(plan: Plan, tell: Callable[[str], None], lock: int) -> Manifest:
    plan.part.mkdir()
    command = (*plan.command, '--engine-dir', str(plan.part))
    _run_builder(plan, command, tell, lock)
    now = datetime.now(timezone.utc).isoformat(timespec='seconds')
    try:
        made = manifest.write(plan.part, plan.origin, command, now)
    except EngineFolderError as error:
        raise BuildError(f'the builder ended well, but {error}') from error
    # A name must never reach the disk before the bytes that it stands for.
    os.sync()
    if plan.engine_dir.exists():
        shutil.rmtree(plan.engine_dir)
    plan.part.rename(plan.engine_dir)
    return made


def _run_builder(
    plan: Plan, command: tuple[str, ...], tell: Callable[[str], None], lock: int
) -> None:
    last: deque[str] = deque(maxlen=LAST_LINES)
    # Killed with this process, whatever ends it: a build left to itself would take the memory
    # of the robot. The lock is the builder's too, so that nobody builds beside it.
    child = subprocess.Popen(
        ['setpriv', '--pdeathsig', 'KILL', *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        pass_fds=[lock],
    )
    timer = threading.Timer(BUILD_S, child.kill)
    timer.start()
    try:
        for line in _lines(child.stdout):
            last.append(line)
            tell(line)
        code = child.wait()
    finally:
        late = timer.finished.is_set()
        timer.cancel()
        _end(child)
    if code:
        raise BuildError(_failure(plan, code, list(last), late))


def _lines(output: IO[str] | None) -> Iterator[str]:
    assert output is not None
    with output:
        for line in output:
            if line.strip():
                yield line.rstrip()


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _failure(plan: Plan, code: int, last: list[str], late: bool) -> str:
    """Say what ended the builder."""
    told = ' | '.join(last) or 'it has said nothing'
    if late:
        return f'the build was not done within {BUILD_S:g} s: {told}'
    if FULL in told:
        return f'{_full(plan)}: {told}'
    if code == -signal.SIGKILL:
        return (
            'the builder was killed, most likely because memory ran out: stop other programs, or '
            f'add swap: {told}'
        )
    if code < 0:
        return f'the builder was ended by {signal.Signals(-code).name}: {told}'
    return f'the builder ended with code {code}: {told}'


def _full(plan: Plan) -> str:
    return (
        f'disk: {plan.engine_dir.parent} became full while the engine was built, and nothing of '
        f'it is left; {plan.disk_bytes / GIB:.1f} GiB are needed: make room, or name another '
        'folder by --cache-dir'
    )


@contextmanager
def _locked(engine_dir: Path) -> Iterator[int]:
    """Hold the lock on an engine: the file that NVIDIA's server takes for its own builds.

    :raise BuildError: if somebody else holds it.
    """
    with open(f'{engine_dir}.lock', 'w', encoding='utf-8') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildError(
                f'engine_dir: {engine_dir} is being built by another process; wait until it is '
                'done'
            ) from None
        yield file.fileno()
