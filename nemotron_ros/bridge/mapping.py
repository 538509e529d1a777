"""Checks what a tool file maps to a message, before there are any arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.convert import (
    ConvertError,
    shown,
    to_value,
    unknown_field,
    wrong_size,
)
from nemotron_ros.bridge.fields import Kind, Many, Nested, kinds_of, type_name


def check_mapping(message_class: type[Any], data: object, path: str) -> list[str]:
    """Return a line for each fault of a mapping to a message; each begins with its path.

    Whatever is not a JSON value, such as a template, stands for a value that
    isn't known yet: only whether it has a place is checked.

    :raise TypeError: for a class that is no ROS message.
    """
    return _check(Nested(message_class), data, path)


def _check(kind: Kind, value: object, path: str) -> list[str]:
    if not _known(value):
        return []
    if isinstance(kind, Nested):
        return _check_fields(kind.message_class, value, path)
    if isinstance(kind, Many) and isinstance(value, (list, tuple)):
        return _check_items(kind, value, path)
    return _convert(kind, value, path)


def _check_fields(message_class: type[Any], value: object, path: str) -> list[str]:
    if not isinstance(value, Mapping):
        expected = f'the fields of {type_name(message_class)} by name'
        return [f'{path}: expected {expected}, got {shown(value)}']
    kinds = kinds_of(message_class)
    faults = []
    for name, item in value.items():
        where = f'{path}.{name}' if path else str(name)
        if name in kinds:
            faults += _check(kinds[name], item, where)
        else:
            faults.append(f'{where}: {unknown_field(message_class, name)}')
    return faults


def _check_items(kind: Many, value: list[object] | tuple[object, ...], path: str) -> list[str]:
    size = wrong_size(kind, len(value), 'items')
    faults = [f'{path}: {size}'] if size else []
    for index, item in enumerate(value):
        faults += _check(kind.of, item, f'{path}[{index}]')
    return faults


def _known(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, list, tuple, Mapping))


def _convert(kind: Kind, value: object, path: str) -> list[str]:
    try:
        to_value(kind, value, path)
    except ConvertError as error:
        return [str(error)]
    return []
