"""What the fields of a ROS message type hold: its generated metadata, read once."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rosidl_parser.definition import (
    AbstractNestedType,
    AbstractString,
    AbstractWString,
    Array,
    BasicType,
    BoundedSequence,
    NamespacedType,
)

_PLACEHOLDER = 'structure_needs_at_least_one_member'
_INTEGER_BITS = {
    'int8': 8,
    'uint8': 8,
    'int16': 16,
    'uint16': 16,
    'int32': 32,
    'uint32': 32,
    'int64': 64,
    'uint64': 64,
}
_NANOSECONDS = frozenset({'builtin_interfaces/msg/Time', 'builtin_interfaces/msg/Duration'})
_CONSTANT = re.compile(r'[A-Z][A-Z0-9_]*')


@dataclass(frozen=True)
class Boolean:
    """True or false."""


@dataclass(frozen=True)
class Integer:
    """A whole number from ``low`` to ``high``; ``dtype`` is numpy's name of its type."""

    dtype: str
    low: int
    high: int


@dataclass(frozen=True)
class Byte:
    """A whole number from 0 to 255 that ROS keeps in Python as ``bytes`` of length one."""


@dataclass(frozen=True)
class Float:
    """A number of at most ``limit`` either side of 0; ``dtype`` is numpy's name of its type."""

    dtype: str
    limit: float


@dataclass(frozen=True)
class Text:
    """A string of at most ``maximum`` characters; None: of any length."""

    maximum: int | None


@dataclass(frozen=True)
class Nested:
    """A message inside a message."""

    message_class: type[Any]


Single = Boolean | Integer | Byte | Float | Text | Nested


@dataclass(frozen=True)
class Many:
    """An array of ``minimum`` to ``maximum`` items; None: any number; equal: a fixed size."""

    of: Single
    minimum: int
    maximum: int | None

    @property
    def fixed(self) -> bool:
        """Whether the type says how many items there are."""
        return self.minimum == self.maximum

    @property
    def octets(self) -> bool:
        """Whether it is binary data, which JSON carries as base64."""
        return isinstance(self.of, Byte) or (
            isinstance(self.of, Integer) and self.of.dtype == 'uint8'
        )


Kind = Single | Many


def type_name(message_class: type[Any]) -> str:
    """Return the ROS name of a message class, such as ``geometry_msgs/msg/Twist``."""
    package, group = message_class.__module__.split('.')[:2]
    return f'{package}/{group}/{message_class.__name__}'


def kinds_of(message_class: type[Any]) -> Mapping[str, Kind]:
    """Return what each field of a message class holds, by name, in the order of the type.

    :raise TypeError: for a class that is no ROS message, or a field type that
        only IDL files can have (``char`` and ``wchar`` of IDL, ``long double``).
    """
    try:
        names = list(message_class.get_fields_and_field_types())
        slots = message_class.SLOT_TYPES
    except AttributeError:
        raise TypeError(f'{message_class!r} is not a ROS message class') from None
    kinds = {
        name: _kind(slot, f'{type_name(message_class)}.{name}')
        for name, slot in zip(names, slots, strict=True)
        if name != _PLACEHOLDER
    }
    if type_name(message_class) in _NANOSECONDS:
        kinds['nanosec'] = Integer('uint32', 0, 999_999_999)
    return kinds


def constants_of(message_class: type[Any]) -> dict[str, object]:
    """Return the constants of a message class by name; bytes as whole numbers."""
    return {
        name: value[0] if isinstance(value, bytes) else value
        for name, value in vars(message_class).items()
        if _CONSTANT.fullmatch(name)
        and not name.endswith('__DEFAULT')
        and isinstance(value, (bool, int, float, str, bytes))
    }


def has_default(message_class: type[Any], field: str) -> bool:
    """Tell whether the type's own file gives the field a default."""
    return f'{field.upper()}__DEFAULT' in vars(message_class)


def _kind(slot: Any, where: str) -> Kind:
    if not isinstance(slot, AbstractNestedType):
        return _single(slot, where)
    single = _single(slot.value_type, where)
    if isinstance(slot, Array):
        return Many(single, slot.size, slot.size)
    if isinstance(slot, BoundedSequence):
        return Many(single, 0, slot.maximum_size)
    return Many(single, 0, None)


def _single(slot: Any, where: str) -> Single:
    if isinstance(slot, NamespacedType):
        # Parts of services and actions are named Type_Part and held as Type.Part.
        module: Any = importlib.import_module('.'.join(slot.namespaces))
        message_class: Any = functools.reduce(getattr, slot.name.split('_'), module)
        return Nested(message_class)
    if isinstance(slot, (AbstractString, AbstractWString)):
        return Text(slot.maximum_size if slot.has_maximum_size() else None)
    name = slot.typename if isinstance(slot, BasicType) else repr(slot)
    if name in _INTEGER_BITS:
        bits = _INTEGER_BITS[name]
        if name.startswith('u'):
            return Integer(name, 0, 2**bits - 1)
        return Integer(name, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if name == 'float':
        return Float('float32', (2 - 2.0**-23) * 2.0**127)
    if name == 'double':
        return Float('float64', (2 - 2.0**-52) * 2.0**1023)
    if name == 'boolean':
        return Boolean()
    if name == 'octet':
        return Byte()
    raise TypeError(f'{where}: fields of type {name!r} are not supported')
