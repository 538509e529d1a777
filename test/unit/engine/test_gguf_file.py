"""The first look at a model file: whole ones pass, all others are told apart without a crash."""

from __future__ import annotations

import resource
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nemotron_ros.engine.gguf_file import MAGIC, check
from nemotron_ros.engine.protocol import ModelFileError

HUGE = 2**64 - 1
UINT32, FLOAT64, STRING, ARRAY = 4, 12, 8, 9


def small_file(path: Path) -> bytes:
    """Write a GGUF file with a few of everything; return its bytes."""
    writer = gguf.GGUFWriter(path, 'nemotron_h')
    writer.add_name('small')
    writer.add_array('tokens', ['a', 'bc', ''])
    writer.add_array('numbers', [1, 2, 3])
    writer.add_bool('yes', True)
    writer.add_custom_alignment(64)
    writer.add_tensor('first', np.ones((3, 5), np.float32))
    packed = np.zeros((32, 34), np.uint8)  # a multiple of 64 bytes: no padding at the end
    writer.add_tensor('last', packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return small_file(tmp_path_factory.mktemp('gguf') / 'small.gguf')


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], str]:
    def refuse(data: bytes) -> str:
        path = tmp_path / 'model.gguf'
        path.write_bytes(data)
        with pytest.raises(ModelFileError) as error:
            check(path)
        assert str(error.value).startswith(f'{path}: ')
        return str(error.value)

    return refuse


def header(tensors: int, pairs: int) -> bytes:
    return MAGIC + struct.pack('<IQQ', 3, tensors, pairs)


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack('<Q', len(value) if length is None else length) + value


def test_whole_files_pass(tmp_path: Path, whole: bytes, tiny: Path) -> None:
    path = tmp_path / 'model.gguf'
    path.write_bytes(whole)
    check(path)
    check(tiny)


@pytest.mark.parametrize('kind', gguf.GGML_QUANT_SIZES)
def test_every_packing_is_measured(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    values, size = gguf.GGML_QUANT_SIZES[kind]
    start = header(1, 0) + text(b't') + struct.pack('<IQQIQ', 2, values * 2, 3, kind, 0)
    path = tmp_path / 'model.gguf'
    path.write_bytes(start + bytes(-len(start) % 32 + size * 2 * 3))
    check(path)


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r'no such file; `nemotron model list` names some'):
        check(tmp_path / 'none.gguf')


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match='is not a file'):
        check(tmp_path)


@pytest.mark.parametrize('data', [b'', b'GGU', b'<html>No such model</html>', bytes(1000)])
def test_not_gguf(refused: Callable[[bytes], str], data: bytes) -> None:
    assert 'is not a GGUF file' in refused(data)


def test_cut_anywhere(refused: Callable[[bytes], str], whole: bytes) -> None:
    reasons = [refused(whole[:size]) for size in range(4, len(whole))]
    parts = [('header' if 'header' in r else 'data') for r in reasons]
    assert all('header can not be read' in r or 'is cut short: ' in r for r in reasons)
    assert parts == sorted(parts, reverse=True), 'first the header is short, then the data'
    assert parts.count('data') > 1088
    assert f'is cut short: {len(whole) - 1} bytes, {len(whole)} expected' in reasons[-1]


ABSURD = {
    'counts': header(HUGE, HUGE),
    'key': header(1, 1) + text(b'name', HUGE),
    'key that memory could hold': header(1, 1) + text(b'name', 1 << 32),
    'text': header(1, 1) + text(b'name') + struct.pack('<I', STRING) + text(b'', 1 << 33),
    'texts': header(1, 1) + text(b'k') + struct.pack('<IIQ', ARRAY, STRING, HUGE),
    'numbers': header(1, 1) + text(b'k') + struct.pack('<IIQ', ARRAY, FLOAT64, HUGE),
    'numbers past any file': header(1, 1) + text(b'k') + struct.pack('<IIQ', ARRAY, 0, 1 << 63),
    'arrays': header(1, 1)
    + text(b'k')
    + struct.pack('<I', ARRAY)
    + struct.pack('<IQ', 9, 1) * 9999,
    'kind of value': header(1, 1) + text(b'k') + struct.pack('<I', 99),
    'dimensions': header(1, 0) + text(b't') + struct.pack('<I', (1 << 32) - 1) + bytes(99),
    'alignment': header(0, 1) + text(b'general.alignment') + struct.pack('<II', UINT32, 0),
}


@pytest.mark.parametrize('data', ABSURD.values(), ids=ABSURD.keys())
def test_absurd_numbers(refused: Callable[[bytes], str], data: bytes) -> None:
    room = 256 << 20
    size = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + room, before[1]))
    try:
        assert 'header can not be read' in refused(data)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize('shape', [(1 << 40, 1), (1 << 63, 1 << 63), (7, 1 << 33)])
def test_absurd_tensors(refused: Callable[[bytes], str], shape: tuple[int, int]) -> None:
    tensor = text(b't') + struct.pack('<IQQIQ', 2, *shape, 0, 0)
    assert 'is cut short' in refused(header(1, 0) + tensor + bytes(999))


cuts = st.integers(0, 900)
changes = st.dictionaries(st.integers(0, 900), st.integers(0, 255), max_size=12)


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cut=cuts, changes=changes, tail=st.binary(max_size=40))
@example(cut=24, changes={}, tail=b'\xff' * 40)
def test_damage_never_crashes_it(
    tmp_path: Path, whole: bytes, cut: int, changes: dict[int, int], tail: bytes
) -> None:
    data = bytearray(whole[:cut] + tail)
    for at, value in changes.items():
        if 4 <= at < len(data):
            data[at] = value
    path = tmp_path / 'model.gguf'
    path.write_bytes(data)
    with suppress(ModelFileError):
        check(path)
