"""The folder of the traces: names, room on the disk, and which traces are too old to keep."""

from __future__ import annotations

import errno
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r'nemotron_\d{8}T\d{6}Z_[A-Za-z0-9_]*_\d{4}\.(?:jsonl|mcap)')
FILES_KEPT = 8
"""The folder's size holds about so many traces; the oldest one goes first."""


@dataclass(frozen=True)
class Keep:
    """How much is kept.

    :param max_bytes: size of all traces together.
    :param max_age_s: age of the last event in a trace that is kept.
    :param min_free_bytes: left free on the disk for the rest of the robot.
    :param max_span_s: how long one trace goes on.
    """

    max_bytes: int = 512 << 20
    max_age_s: float = 30 * 86400.0
    min_free_bytes: int = 256 << 20
    max_span_s: float = 86400.0

    @property
    def max_file_bytes(self) -> int:
        """How large one trace may become."""
        return max(1, self.max_bytes // FILES_KEPT)


def next_stem(folder: Path, node: str) -> Path:
    """Return the path of a new trace, without its suffix; make the folder if need be.

    :raise OSError: if there can be none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    when = time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())
    plain = re.sub(r'[^A-Za-z0-9]+', '_', node).strip('_')
    begin = f'nemotron_{when}_{plain}_'
    # After the last one, and not in a gap: the names are in the order of time.
    numbers = [int(path.stem[-4:]) for path in folder.glob(f'{begin}*') if _is_trace(path)]
    number = max(numbers, default=-1) + 1
    if number > 9999:
        raise OSError(errno.EEXIST, 'ten thousand traces in one second', str(folder))
    return folder / f'{begin}{number:04}'


def check_room(folder: Path, keep: Keep) -> None:
    """See whether the disk has room.

    :raise OSError: if it has too little.
    """
    free = shutil.disk_usage(folder).free
    if free < keep.min_free_bytes:
        told = f'{free >> 20} MB are free, and {keep.min_free_bytes >> 20} MB are to stay so'
        raise OSError(errno.ENOSPC, told, str(folder))


def prune(folder: Path, keep: Keep, spare: Path) -> None:
    """Delete traces that are too old, and the oldest ones until a new one has room.

    Only files that have the name of a trace are looked at, and none of those of ``spare``.
    """
    found = []
    for path in folder.iterdir():
        if _is_trace(path) and path.stem != spare.name:
            status = path.stat()
            found.append((status.st_mtime, path.name, path, status.st_size))
    total = sum(size for *_, size in found)
    for changed_s, _, path, size in sorted(found):
        too_old = time.time() - changed_s > keep.max_age_s
        if too_old or total > keep.max_bytes - keep.max_file_bytes:
            path.unlink(missing_ok=True)
            total -= size


def _is_trace(path: Path) -> bool:
    return bool(_NAME.fullmatch(path.name)) and not path.is_symlink()
