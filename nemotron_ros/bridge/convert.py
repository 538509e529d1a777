"""JSON ⇄ ROS message. Nothing is coerced: what does not fit the type is refused by its path.

====================  =========================================================
ROS                   JSON
====================  =========================================================
bool                  true, false
integers, byte, char  a number without a fraction, within the type's range
float32, float64      a number; ``'NaN'``, ``'Infinity'``, ``'-Infinity'``
string, wstring       a string without NUL and without lone surrogates
uint8[], byte[]       base64 (on the way in an array of numbers or bytes as well)
other arrays          an array (on the way in a numpy array or ``array.array`` as well)
message               an object; fields left out keep the type's default
====================  =========================================================
"""

from __future__ import annotations

import array
import base64
import difflib
import functools
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from nemotron_ros.bridge.fields import (
    Boolean,
    Byte,
    Float,
    Integer,
    Kind,
    Many,
    Nested,
    Text,
    kinds_of,
    type_name,
)

_NONFINITE = {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}
_TYPECODES = {
    'int8': 'b',
    'uint8': 'B',
    'int16': 'h',
    'uint16': 'H',
    'int32': 'i',
    'uint32': 'I',
    'int64': 'q',
    'uint64': 'Q',
    'float32': 'f',
    'float64': 'd',
}
_OCTET = Integer('uint8', 0, 255)
_ROS_FLOAT32_BOUND = 3.402823466e38
_SHORT = 32
_BLOCK_BYTES = 2**20

_Read = Callable[[Any, bool], Any]
"""Turns a JSON value into what ROS keeps; the flag says whether non-finite numbers may pass."""
_Fill = Callable[[Any, Any, bool], None]
"""Puts a JSON value into one field of a message."""
_Write = Callable[[Any], object]


class ConvertError(ValueError):
    """A value does not fit the ROS type. The message begins with the path of the field."""


def to_message(
    message_class: type[Any],
    data: Mapping[str, Any],
    path: str = '',
    *,
    allow_nonfinite: bool = False,
) -> Any:
    """Return a message with the fields that ``data`` names; the rest keep their defaults.

    :param path: what to begin the path of a field with in errors.
    :param allow_nonfinite: take NaN and infinities, as floats or spelled as in :func:`to_json`.

    :raise ConvertError: for the first value that does not fit.
    """
    message: Any = to_value(Nested(message_class), data, path, allow_nonfinite=allow_nonfinite)
    return message


def to_value(kind: Kind, value: Any, path: str = '', *, allow_nonfinite: bool = False) -> Any:
    """Return one field's value as ROS keeps it, converted from JSON.

    :raise ConvertError: if it does not fit.
    """
    try:
        return _reader(kind)(value, allow_nonfinite)
    except _Refused as refused:
        raise ConvertError(refused.message(path)) from None


def to_json(message: Any) -> dict[str, Any]:
    """Return a message as plain JSON values, every field of it.

    :raise TypeError: for what is not a ROS message.
    """
    message_class: Any = type(message)
    return {name: write(getattr(message, name)) for name, write in _writers(message_class).items()}


def number_to_json(value: Any) -> float | str:
    """Return a number as JSON: as it is, or spelled where JSON has none for it."""
    number = float(value)
    return number if math.isfinite(number) else _spelled(number)


def unknown_field(message_class: type[Any], name: object) -> str:
    """Return what to say about a field that the type does not have."""
    names = list(kinds_of(message_class))
    near = difflib.get_close_matches(str(name), names)
    if near:
        hint = f'did you mean {" or ".join(near)}?'
    elif names:
        hint = f'it has {", ".join(names)}'
    else:
        hint = 'it has no fields'
    return f'no such field in {type_name(message_class)}; {hint}'


def wrong_size(kind: Many, size: int, unit: str) -> str:
    """Return what to say about an array of that many items; empty if there may be so many."""
    if kind.fixed and size != kind.minimum:
        return f'expected {kind.minimum} {unit}, got {size}'
    if kind.maximum is not None and size > kind.maximum:
        return f'expected at most {kind.maximum} {unit}, got {size}'
    return ''


def shown(value: object) -> str:
    """Return a value as errors show it: short, whatever its size."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return f'a huge {type(value).__name__}'


class _Refused(Exception):
    """A value was refused. The steps of its path are gathered from the inside out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[object] = []

    def message(self, path: str) -> str:
        for step in reversed(self.steps):
            if isinstance(step, int):
                path += f'[{step}]'
            else:
                path += f'.{step}' if path else f'{step}'
        return f'{path}: {self.reason}' if path else self.reason


@functools.cache
def _reader(kind: Kind) -> _Read:
    if isinstance(kind, Nested):
        return functools.partial(_read_message, kind.message_class)
    if isinstance(kind, Integer):
        return functools.partial(_read_integer, kind)
    if isinstance(kind, Byte):
        return _read_byte
    if isinstance(kind, Float):
        return functools.partial(_read_float, kind)
    if isinstance(kind, Boolean):
        return _read_boolean
    if isinstance(kind, Text):
        return functools.partial(_read_text, kind)
    if kind.octets:
        return functools.partial(_read_octets, kind)
    if isinstance(kind.of, (Integer, Float)):
        return functools.partial(_read_numbers, kind, kind.of)
    return functools.partial(_read_items, kind)


def _read_message(message_class: Any, data: Any, nonfinite: bool) -> Any:
    message = message_class()
    _fill(message_class, message, data, nonfinite)
    return message


def _fill(message_class: Any, message: Any, data: Any, nonfinite: bool) -> None:
    if not isinstance(data, Mapping):
        raise _Refused(
            f'expected the fields of {type_name(message_class)} by name, got {shown(data)}'
        )
    fillers = _fillers(message_class)
    for name, value in data.items():
        try:
            fill = fillers.get(name)
            if fill is None:
                raise _Refused(unknown_field(message_class, name))
            fill(message, value, nonfinite)
        except _Refused as refused:
            refused.steps.append(str(name))
            raise


@functools.cache
def _fillers(message_class: Any) -> Mapping[str, _Fill]:
    return {
        name: _filler(message_class, name, kind) for name, kind in kinds_of(message_class).items()
    }


def _filler(message_class: Any, name: str, kind: Kind) -> _Fill:
    if isinstance(kind, Nested):
        # A message comes with its parts made: to fill them in costs half of making new ones.
        part_class = kind.message_class

        def fill_part(message: Any, value: Any, nonfinite: bool) -> None:
            _fill(part_class, getattr(message, name), value, nonfinite)

        return fill_part
    read = _reader(kind)
    if isinstance(kind, Many) and f'_{name}' in message_class.__slots__:
        # What is read is an array of the message's own; its property would copy it once more.
        slot = f'_{name}'

        def fill_slot(message: Any, value: Any, nonfinite: bool) -> None:
            setattr(message, slot, read(value, nonfinite))

        return fill_slot

    def fill_field(message: Any, value: Any, nonfinite: bool) -> None:
        _assign(message, name, read(value, nonfinite))

    return fill_field


def _assign(message: Any, name: str, value: Any) -> None:
    try:
        setattr(message, name, value)
    except AssertionError:
        if not isinstance(value, float):
            raise
        # Where ROS checks fields, its bound lies just below the largest float32;
        # as a float32 the two are the same number.
        setattr(message, name, math.copysign(_ROS_FLOAT32_BOUND, value))


def _read_boolean(value: Any, nonfinite: bool) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise _Refused(f'expected true or false, got {shown(value)}')


def _read_integer(kind: Integer, value: Any, nonfinite: bool) -> int:
    number = value if type(value) is int else _whole(value)
    if number is None or not kind.low <= number <= kind.high:
        raise _Refused(f'expected an integer from {kind.low} to {kind.high}, got {shown(value)}')
    return number


def _whole(value: Any) -> int | None:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return int(value)
    return None


def _read_byte(value: Any, nonfinite: bool) -> bytes:
    return bytes((_read_integer(_OCTET, value, nonfinite),))


def _read_float(kind: Float, value: Any, nonfinite: bool) -> float:
    number = value if type(value) is float else _number(value, nonfinite)
    if -kind.limit <= number <= kind.limit:
        return number
    if nonfinite and _nonfinite(value):
        return number
    expected = 'a number' if nonfinite else 'a finite number'
    if kind.dtype == 'float32':
        expected += f' from {-kind.limit:.8g} to {kind.limit:.8g}'
    if nonfinite:
        expected += ", 'NaN', 'Infinity' or '-Infinity'"
    raise _Refused(f'expected {expected}, got {shown(value)}')


def _number(value: Any, nonfinite: bool) -> float:
    """Return the value as a float; NaN for what is no number, or too large an integer."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.nan
    if nonfinite and isinstance(value, str):
        return _NONFINITE.get(value, math.nan)
    return math.nan


def _nonfinite(value: Any) -> bool:
    """Tell whether the value itself says NaN or infinity."""
    if isinstance(value, str):
        return value in _NONFINITE
    return isinstance(value, (float, np.floating)) and not math.isfinite(value)


def _read_text(kind: Text, value: Any, nonfinite: bool) -> str:
    if not isinstance(value, str):
        raise _Refused(f'expected a string, got {shown(value)}')
    if kind.maximum is not None and len(value) > kind.maximum:
        raise _Refused(f'expected at most {kind.maximum} characters, got {len(value)}')
    if '\0' in value:
        where = value.index('\0')
        raise _Refused(f'expected a string without NUL, got one at character {where}')
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _Refused(
                f'expected valid Unicode, got a lone surrogate at character {error.start}'
            ) from None
    return value


def _read_octets(kind: Many, value: Any, nonfinite: bool) -> Any:
    if isinstance(value, str):
        try:
            octets = base64.b64decode(value, validate=True)
        except ValueError:
            raise _Refused(f'expected base64, got {shown(value)}') from None
    elif isinstance(value, (bytes, bytearray, memoryview)):
        octets = bytes(value)
    elif isinstance(value, (list, tuple, array.array, np.ndarray)):
        octets = _read_numbers(kind, _OCTET, value, nonfinite)
        if isinstance(kind.of, Integer):
            return octets
    else:
        raise _Refused(f'expected base64 or an array of integers, got {shown(value)}')
    _check_size(kind, len(octets), 'bytes')
    if isinstance(kind.of, Byte):
        return [bytes((octet,)) for octet in octets]
    if kind.fixed:
        return np.frombuffer(octets, np.uint8).copy()
    return array.array('B', octets)


def _read_numbers(kind: Many, of: Integer | Float, value: Any, nonfinite: bool) -> Any:
    """Return the numbers as ROS keeps them, in an array that nobody else holds."""
    _check_array(kind, value)
    if isinstance(value, (list, tuple)):
        numbers = _of_list(of, value)
    else:
        numbers = _of_array(of, value, nonfinite)
    if numbers is None:
        # Something is wrong, or needs a closer look: one item at a time tells which.
        numbers = array.array(_TYPECODES[of.dtype], _each(_reader(of), value, nonfinite))
    return np.array(numbers) if kind.fixed else numbers


def _read_items(kind: Many, value: Any, nonfinite: bool) -> list[Any]:
    _check_array(kind, value)
    return _each(_reader(kind.of), value, nonfinite)


def _of_list(of: Integer | Float, values: Any) -> Any:
    """Return the numbers; None unless all are plain, finite and within the type's range."""
    kinds = set(map(type, values))
    if not kinds <= ({int} if isinstance(of, Integer) else {int, float}):
        return None
    try:
        numbers = array.array(_TYPECODES[of.dtype], values)
    except OverflowError:
        return None
    if isinstance(of, Float):
        # A sum is finite only if every summand is.
        if not math.isfinite(sum(numbers)):
            return None
        if of.dtype == 'float32' and values and not _within(of, min(values), max(values)):
            return None
    return numbers


def _of_array(of: Integer | Float, values: Any, nonfinite: bool) -> Any:
    """Return a copy of a numpy array or ``array.array``; None unless all numbers fit."""
    try:
        given = np.asarray(values)
    except ValueError:  # an array.array of characters
        return None
    if given.dtype.kind not in 'iuf':
        return None
    if given.size <= _SHORT:
        return _of_list(of, given.tolist())
    if given.dtype == of.dtype:
        numbers = _copied(of, given)
        if numbers is not None:
            return numbers
    if not _fits(of, given, nonfinite):
        return None
    return array.array(_TYPECODES[of.dtype], given.astype(of.dtype).tobytes())


def _copied(of: Integer | Float, given: Any) -> Any:
    """Return a copy of numbers of the right type; None if some are large or not finite.

    Block by block: what was just looked at is still in the cache when it is copied.
    """
    numbers = array.array(_TYPECODES[of.dtype])
    step = _BLOCK_BYTES // given.itemsize if isinstance(of, Float) else len(given)
    for start in range(0, len(given), step):
        block = np.ascontiguousarray(given[start : start + step])
        # einsum adds in one thread, without a warning of sums that are too large.
        if isinstance(of, Float) and not math.isfinite(np.einsum('i->', block)):
            return None
        numbers.frombytes(block.view(np.uint8).data)
    return numbers


def _fits(of: Integer | Float, given: Any, nonfinite: bool) -> bool:
    if given.dtype.kind == 'f':
        if isinstance(of, Integer) and not np.array_equal(given, np.trunc(given)):
            return False
        if nonfinite and isinstance(of, Float):
            given = given[np.isfinite(given)]
    return given.size == 0 or _within(of, given.min().item(), given.max().item())


def _within(of: Integer | Float, least: float, most: float) -> bool:
    """Compare exactly, as Python does even integers with floats; NaN is not within."""
    low, high = (of.low, of.high) if isinstance(of, Integer) else (-of.limit, of.limit)
    return low <= least and most <= high


def _each(read: _Read, values: Any, nonfinite: bool) -> list[Any]:
    items: Iterable[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    out = []
    for index, item in enumerate(items):
        try:
            out.append(read(item, nonfinite))
        except _Refused as refused:
            refused.steps.append(index)
            raise
    return out


def _check_array(kind: Many, value: Any) -> None:
    if not isinstance(value, (list, tuple, array.array, np.ndarray)):
        raise _Refused(f'expected an array, got {shown(value)}')
    if isinstance(value, np.ndarray) and value.ndim != 1:
        raise _Refused(f'expected an array of one dimension, got one of {value.ndim}')
    _check_size(kind, len(value), 'items')


def _check_size(kind: Many, size: int, unit: str) -> None:
    wrong = wrong_size(kind, size, unit)
    if wrong:
        raise _Refused(wrong)


@functools.cache
def _writers(message_class: Any) -> Mapping[str, _Write]:
    return {name: _writer(kind) for name, kind in kinds_of(message_class).items()}


def _writer(kind: Kind) -> _Write:
    if isinstance(kind, Nested):
        return to_json
    if isinstance(kind, Integer):
        return int
    if isinstance(kind, Byte):
        return ord
    if isinstance(kind, Float):
        return number_to_json
    if isinstance(kind, Boolean):
        return bool
    if isinstance(kind, Text):
        return str
    if kind.octets:
        return _write_bytes if isinstance(kind.of, Byte) else _write_octets
    if isinstance(kind.of, (Integer, Float)):
        return functools.partial(_write_numbers, kind.of)
    write = _writer(kind.of)
    return lambda values: [write(value) for value in values]


def _spelled(number: float) -> str:
    if math.isnan(number):
        return 'NaN'
    return 'Infinity' if number > 0 else '-Infinity'


def _write_bytes(values: Any) -> str:
    return _write_octets(b''.join(values))


def _write_octets(values: Any) -> str:
    return base64.b64encode(values).decode()


def _write_numbers(of: Integer | Float, values: Any) -> list[float | str]:
    held = (
        values if isinstance(values, (array.array, np.ndarray)) else np.asarray(values, of.dtype)
    )
    numbers: list[float | str] = held.tolist()
    # A sum is finite only if every summand is.
    if isinstance(of, Float) and not math.isfinite(sum(numbers)):  # type: ignore[arg-type]
        return [number_to_json(number) for number in numbers]
    return numbers
