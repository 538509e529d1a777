"""A first look at a model file, so that a bad one is told apart before it is loaded.

The layout is that of the GGUF specification, versions 2 and 3: magic, version,
counts, metadata, tensor infos, padding, tensor data.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

from nemotron_ros.engine.protocol import ModelFileError

MAGIC = b'GGUF'
MAX_READ = 16 * 1024 * 1024
"""No string of a header is longer; a damaged length must not take the memory."""
MAX_DIMENSIONS = 4
_STRING, _ARRAY = 8, 9
_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# How tensor data are packed: values to a block, then type: bytes to a block.
_PACKED = {
    1: {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2},
    32: {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 20: 18, 39: 17},
    256: {10: 84, 11: 110, 12: 144, 13: 176, 14: 210}
    | {16: 66, 17: 74, 18: 98, 19: 50, 21: 110, 22: 82, 23: 136, 29: 56},
}
_BLOCKS = {kind: (n, size) for n, sizes in _PACKED.items() for kind, size in sizes.items()}


def check(path: Path) -> None:
    """Check that ``path`` is a whole GGUF file, as far as its header tells.

    :raise ModelFileError: saying what is wrong and what to do.
    """
    if not path.exists():
        raise ModelFileError(f'{path}: there is no such file; `nemotron model list` names some')
    if not path.is_file():
        raise ModelFileError(f'{path}: is not a file; give the path of a GGUF file')
    size = path.stat().st_size
    with _opened(path) as file:
        if file.read(4) != MAGIC:
            raise ModelFileError(f'{path}: is not a GGUF file; give one made for llama.cpp')
        try:
            whole = _whole_size(file)
        except (struct.error, KeyError, ValueError, ArithmeticError, OSError) as error:
            raise ModelFileError(
                f'{path}: its header can not be read: it is cut short or damaged; fetch it again'
            ) from error
    if size < whole:
        raise ModelFileError(
            f'{path}: is cut short: {size} bytes, {whole} expected; fetch it again'
        )


def text_of(path: Path, key: str) -> str:
    """Return a text of the metadata, such as ``tokenizer.chat_template``; empty if it has none.

    :raise ModelFileError: if ``path`` is no whole GGUF file.
    """
    check(path)
    with _opened(path) as file:
        file.seek(len(MAGIC))
        _, _, pairs = struct.unpack('<IQQ', _read(file, 20))
        for _ in range(pairs):
            name = _string(file).decode()
            (kind,) = struct.unpack('<I', _read(file, 4))
            if name == key and kind == _STRING:
                return _string(file).decode()
            _skip(file, kind)
    return ''


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open('rb')
    except OSError as error:
        raise ModelFileError(f'{path}: can not be read: {error.strerror}') from error


def _whole_size(file: BinaryIO) -> int:
    """Return where the tensor data end."""
    _, tensors, pairs = struct.unpack('<IQQ', _read(file, 20))
    alignment = 32
    for _ in range(pairs):
        key = _string(file)
        (kind,) = struct.unpack('<I', _read(file, 4))
        if key == b'general.alignment' and kind == 4:
            (alignment,) = struct.unpack('<I', _read(file, 4))
        else:
            _skip(file, kind)
    end = 0
    for _ in range(tensors):
        _string(file)
        (dimensions,) = struct.unpack('<I', _read(file, 4))
        if dimensions > MAX_DIMENSIONS:
            raise OverflowError(dimensions)
        *shape, kind, start = struct.unpack(f'<{dimensions}QIQ', _read(file, 8 * dimensions + 12))
        end = max(end, start + _data_size(kind, shape))
    return -(-file.tell() // alignment) * alignment + end


def _data_size(kind: int, shape: list[int]) -> int:
    """Return the bytes of a tensor's data; of a type that is not known, the least there can be."""
    if kind not in _BLOCKS:
        return 1
    values, size = _BLOCKS[kind]
    return math.prod(shape) // values * size


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        _string(file)
    elif kind == _ARRAY:
        item, count = struct.unpack('<IQ', _read(file, 12))
        if item == _STRING:
            for _ in range(count):
                _string(file)
        else:
            file.seek(_FIXED[item] * count, 1)
    else:
        _read(file, _FIXED[kind])


def _string(file: BinaryIO) -> bytes:
    (length,) = struct.unpack('<Q', _read(file, 8))
    return _read(file, length)


def _read(file: BinaryIO, count: int) -> bytes:
    if count > MAX_READ:
        raise OverflowError(count)
    data = file.read(count)
    if len(data) < count:
        raise struct.error('the file ends here')
    return data
