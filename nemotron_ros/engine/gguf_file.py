"""A first look at a model file, so that a bad one is told apart before it is loaded.

The layout is that of the GGUF specification, versions 2 and 3: magic, version,
counts, metadata, tensor infos, padding, tensor data.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from nemotron_ros.engine.protocol import ModelFileError

MAGIC = b'GGUF'
_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
MAX_STRING = 64 * 1024 * 1024


def check(path: Path) -> None:
    """Check that ``path`` is a whole GGUF file, as far as its header tells.

    :raise ModelFileError: saying what is wrong and what to do.
    """
    if not path.exists():
        raise ModelFileError(f'{path}: there is no such file; `nemotron model list` names some')
    if not path.is_file():
        raise ModelFileError(f'{path}: is not a file; give the path of a GGUF file')
    size = path.stat().st_size
    with path.open('rb') as file:
        if file.read(4) != MAGIC:
            raise ModelFileError(f'{path}: is not a GGUF file; give one made for llama.cpp')
        try:
            least = _least_size(file)
        except (struct.error, KeyError, OverflowError) as error:
            raise ModelFileError(
                f'{path}: its header can not be read: it is cut short or damaged; fetch it again'
            ) from error
    if size <= least:
        raise ModelFileError(
            f'{path}: is cut short: {size} bytes, more than {least} expected; fetch it again'
        )


def _least_size(file: BinaryIO) -> int:
    """Return where the last tensor's data begin: the file must be longer than that."""
    _, tensors, pairs = struct.unpack('<IQQ', _read(file, 20))
    alignment = 32
    for _ in range(pairs):
        key = _string(file)
        (kind,) = struct.unpack('<I', _read(file, 4))
        if key == b'general.alignment' and kind == 4:
            (alignment,) = struct.unpack('<I', _read(file, 4))
        else:
            _skip(file, kind)
    last = 0
    for _ in range(tensors):
        _string(file)
        (dimensions,) = struct.unpack('<I', _read(file, 4))
        _read(file, 8 * dimensions + 4)
        last = max(last, struct.unpack('<Q', _read(file, 8))[0])
    start = -(-file.tell() // alignment) * alignment
    return start + last


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _string(file)
    elif kind == _ARRAY:
        item, count = struct.unpack('<IQ', _read(file, 12))
        if item in _FIXED:
            file.seek(_FIXED[item] * count, 1)
        else:
            for _ in range(count):
                _skip(file, item)
    else:
        _read(file, _FIXED[kind])


def _string(file: BinaryIO) -> bytes:
    (length,) = struct.unpack('<Q', _read(file, 8))
    if length > MAX_STRING:
        raise OverflowError(length)
    return _read(file, length)


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise struct.error('the file ends here')
    return data
