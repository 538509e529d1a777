"""The hash by which a file is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

_PIECE_BYTES = 1 << 20


def sha256_of(path: Path, give_up: Callable[[], bool] = lambda: False) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; empty if it is none.

    :param give_up: is asked between two pieces; by True the hash is not made.
    """
    digest = hashlib.sha256()
    try:
        with path.open('rb') as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                if len(piece) == _PIECE_BYTES and give_up():
                    return ''
    except OSError:
        return ''
    return digest.hexdigest()
