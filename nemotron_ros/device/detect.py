"""Which board this is, from what its system tells; and which profile fits it."""

from __future__ import annotations

import csv
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nemotron_ros.device.budget import GIB, needed_bytes
from nemotron_ros.device.profile import Profile

TOOL_S = 10.0
"""How long a tool such as nvidia-smi may take."""
JETPACK = {
    'R35.1': '5.0.2', 'R35.2': '5.1', 'R35.3': '5.1.1', 'R35.4': '5.1.2', 'R35.5': '5.1.3',
    'R35.6': '5.1.4', 'R36.2': '6.0', 'R36.3': '6.0', 'R36.4': '6.1', 'R36.4.3': '6.2',
    'R36.4.4': '6.2.1', 'R38.2': '7.0', 'R38.4': '7.1', 'R39.2': '7.2',
}  # fmt: skip
"""Jetson Linux release, with as many numbers as it takes to tell: JetPack release."""
SMI_FIELDS = ('name', 'driver_version', 'compute_cap', 'memory.total', 'memory.free')
NO_LIMIT = 1 << 60
"""A control group without a limit tells a number beyond any memory, or ``max``."""

Run = Callable[[Sequence[str]], str]
"""Runs a tool and returns what it prints; empty if it is absent, fails or takes too long."""


@dataclass(frozen=True)
class Gpu:
    """The first NVIDIA GPU; sizes are 0 where it has no memory of its own."""

    name: str
    compute_capability: str = ''
    total_bytes: int = 0
    free_bytes: int = 0


@dataclass(frozen=True)
class Board:
    """What the system tells of itself; empty or 0 is what it does not tell.

    :param model: the name of the board or the computer.
    :param compatible: the device tree's list of what the board is compatible with.
    :param l4t: release of Jetson Linux, such as ``R39.2``.
    :param ram_available_bytes: what a new program could get, within its control group's limit.
    """

    arch: str
    model: str = ''
    compatible: str = ''
    l4t: str = ''
    jetpack: str = ''
    driver: str = ''
    gpu: Gpu | None = None
    ram_total_bytes: int = 0
    ram_available_bytes: int = 0
    swap_free_bytes: int = 0
    glibc: str = ''


@dataclass(frozen=True)
class Choice:
    """A profile, and why it is this one."""

    profile: Profile
    reason: str


def run_tool(command: Sequence[str]) -> str:
    """Run a tool of the system; see :data:`Run`."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TOOL_S
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ''
    return done.stdout if done.returncode == 0 else ''


def detect(root: Path = Path('/'), run: Run = run_tool) -> Board:
    """Look at this computer.

    :param root: where the system's files begin.
    """
    l4t = _l4t(_read(root / 'etc/nv_tegra_release'))
    gpu, driver = _gpu(run)
    total, available, swap = _memory(root)
    name, version = platform.libc_ver()
    return Board(
        arch=platform.machine(),
        model=_model(root),
        compatible=' '.join(_read(root / 'proc/device-tree/compatible').split('\0')).strip(),
        l4t=l4t,
        jetpack=_jetpack(l4t),
        driver=driver or _driver(_read(root / 'proc/driver/nvidia/version')),
        gpu=gpu,
        ram_total_bytes=total,
        ram_available_bytes=available,
        swap_free_bytes=swap,
        glibc=version if name == 'glibc' else '',
    )


def available_bytes(board: Board, pool: str) -> int:
    """Return the free memory of a profile's pool."""
    if pool == 'gpu':
        return board.gpu.free_bytes if board.gpu else 0
    return board.ram_available_bytes


def choose(board: Board, profiles: Mapping[str, Profile]) -> Choice:
    """Return the profile for a board: the one that names it, else one for its GPU, else the CPU's.

    :param profiles: one of them named ``cpu``.
    """
    told = f'{board.model} {board.gpu.name if board.gpu else ""} {board.compatible}'.casefold()
    for profile in profiles.values():
        word = next((word for word in profile.boards if word.casefold() in told), '')
        if word:
            return _large_enough(board, Choice(profile, f'the board tells {word!r}'), profiles)
    passed = []
    for profile in profiles.values():
        if profile.memory.pool == 'gpu' and board.gpu is not None:
            fault = _gpu_fault(board, board.gpu, profile)
            if not fault:
                return Choice(profile, f'the GPU is {board.gpu.name}')
            passed.append(f'not {profile.name}: {fault}')
    if board.gpu is None:
        passed.append('no NVIDIA GPU is found')
    return Choice(profiles['cpu'], '; '.join(passed))


def version(text: str) -> tuple[int, ...]:
    """Return a version's numbers, to compare it by."""
    return tuple(int(number) for number in re.findall(r'\d+', text))


def _large_enough(board: Board, choice: Choice, profiles: Mapping[str, Profile]) -> Choice:
    profile, total = choice.profile, board.ram_total_bytes
    if not profile.smaller or total >= needed_bytes(profile):
        return choice
    reason = (
        f'{choice.reason}, but {profile.name} needs {needed_bytes(profile) / GIB:.1f} GiB and it '
        f'has {total / GIB:.1f}'
    )
    return Choice(profiles[profile.smaller], reason)


def _gpu_fault(board: Board, gpu: Gpu, profile: Profile) -> str:
    needs = profile.needs
    if needs.arch and needs.arch != board.arch:
        return f'it is for {needs.arch}'
    if version(gpu.compute_capability) < version(needs.compute_capability):
        return (
            f'{gpu.name} has compute capability {gpu.compute_capability or "unknown"}, '
            f'{needs.compute_capability} is needed'
        )
    if gpu.total_bytes < needed_bytes(profile):
        return (
            f'{gpu.name} has {gpu.total_bytes / GIB:.1f} GiB, '
            f'{needed_bytes(profile) / GIB:.1f} are needed'
        )
    return ''


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


def _model(root: Path) -> str:
    """Return the device tree's model, or the firmware's name of the computer."""
    model = _read(root / 'proc/device-tree/model').strip('\0\n ')
    if not model:
        model = _read(root / 'sys/class/dmi/id/product_name').strip()
    return re.sub(r'[_-]+', ' ', model)


def _l4t(text: str) -> str:
    match = re.search(r'R(\d+) *\(release\), *REVISION: *([\d.]+)', text)
    return f'R{match[1]}.{match[2]}' if match else ''


def _jetpack(l4t: str) -> str:
    """Return the JetPack of a Jetson Linux release: of the longest beginning that is known."""
    parts = l4t.split('.')
    for length in range(len(parts), 0, -1):
        known = JETPACK.get('.'.join(parts[:length]))
        if known:
            return known
    return ''


def _gpu(run: Run) -> tuple[Gpu | None, str]:
    """Return the first GPU that nvidia-smi tells, and the version of the driver."""
    query = f'--query-gpu={",".join(SMI_FIELDS)}'
    text = run(['nvidia-smi', query, '--format=csv,noheader,nounits'])
    row = next(csv.reader(text.splitlines(), skipinitialspace=True), [])
    if len(row) != len(SMI_FIELDS):
        return None, ''
    # What a GPU does not have, such as memory of its own on a Jetson, reads [N/A].
    name, driver, capability, total, free = (
        '' if cell.startswith('[') else cell.strip() for cell in row
    )
    if not name:
        return None, driver
    return Gpu(name, capability, _mebibytes(total), _mebibytes(free)), driver


def _mebibytes(text: str) -> int:
    return int(text) << 20 if text.isdigit() else 0


def _driver(text: str) -> str:
    match = re.search(
        r'^NVRM version: .*Kernel Module(?: for \w+)? +(\d+(?:\.\d+)+)', text, re.MULTILINE
    )
    return match[1] if match else ''


# Memory


def _memory(root: Path) -> tuple[int, int, int]:
    """Return total and available RAM as far as this process may have it, and swap; in bytes."""
    info = dict(re.findall(r'^(\w+): +(\d+) kB', _read(root / 'proc/meminfo'), re.MULTILINE))
    total = int(info.get('MemTotal', 0)) << 10
    available = int(info.get('MemAvailable', 0)) << 10
    for limit, used in _group_limits(root):
        total, available = min(total, limit), min(available, max(0, limit - used))
    return total, available, int(info.get('SwapFree', 0)) << 10


def _group_limits(root: Path) -> list[tuple[int, int]]:
    """Return limit and use of each control group that this process is in, in bytes.

    What of the use is files that nobody reads any more can be had again, so it is left out.
    """
    limits = []
    for line in _read(root / 'proc/self/cgroup').splitlines():
        number, controllers, path = [*line.split(':', 2), '', ''][:3]
        base, names = root / 'sys/fs/cgroup', ('memory.max', 'memory.current', 'inactive_file')
        if number != '0':
            if 'memory' not in controllers.split(','):
                continue
            base = base / 'memory'
            names = (
                'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file',
            )  # fmt: skip
        folder = base / path.strip('/')
        for group in (folder, *folder.parents):
            limits += _group_limit(group, *names)
            if group == base:
                break
    return limits


def _group_limit(group: Path, limit: str, used: str, idle: str) -> list[tuple[int, int]]:
    most, now = _read(group / limit).strip(), _read(group / used).strip()
    if not (most.isdigit() and now.isdigit()) or int(most) >= NO_LIMIT:
        return []
    match = re.search(rf'^{idle} (\d+)$', _read(group / 'memory.stat'), re.MULTILINE)
    return [(int(most), int(now) - (int(match[1]) if match else 0))]
