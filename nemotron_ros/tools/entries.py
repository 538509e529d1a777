"""Entries of a tool file: each is read as what it must be, or is a fault at its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from nemotron_ros.tools.parts import At

TOOL_NAME = re.compile(r'[a-z][a-z0-9_]{0,63}\Z')
ROS_NAME = re.compile(r'(~/|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*\Z')
ROS_TYPE = r'[a-z][a-z0-9_]*/{kind}/[A-Z][A-Za-z0-9]*\Z'


class Fault(Exception):
    """One problem at one place; the rest of the file is still read."""

    def __init__(self, at: At, message: str) -> None:
        super().__init__(message)
        self.at = at


def mapping(data: Any, at: At, known: Sequence[str] | None = None) -> dict[str, Any]:
    """Return a mapping, empty for nothing, whose keys are among ``known``."""
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise Fault(at, f'expected a mapping, got {data!r:.60}')
    for key in data:
        if known is not None and key not in known:
            near = get_close_matches(key, known, 1)
            hint = f'; did you mean {near[0]!r}?' if near else f'; known are {", ".join(known)}'
            raise Fault((*at, key), f'is not known here{hint}')
    return data


def sequence(data: Any, at: At) -> list[Any]:
    """Return a list."""
    if not isinstance(data, list):
        raise Fault(at, f'expected a list, got {data!r:.60}')
    return data


def text(data: Mapping[str, Any], key: str, at: At) -> str:
    """Return a text that is not blank."""
    value = data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Fault((*at, key) if key in data else at, f'{key}: expected text, got {value!r}')
    return value


def number(data: Mapping[str, Any], key: str, at: At, low: float, high: float) -> float | None:
    """Return a number from ``low`` to ``high``; None if it is left out."""
    value = data.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise Fault((*at, key), f'expected a number from {low:g} to {high:g}, got {value!r}')
    return float(value)


def ros_name(data: Mapping[str, Any], key: str, at: At) -> str:
    """Return the name of a topic, service or action."""
    name = text(data, key, at)
    if not ROS_NAME.match(name):
        raise Fault((*at, key), f'{name!r} is no ROS name')
    return name


def ros_type(data: Mapping[str, Any], kind: str, at: At) -> str:
    """Return the name of an interface; ``kind`` is msg, srv or action."""
    name = text(data, 'type', at)
    if not re.match(ROS_TYPE.format(kind=kind), name):
        raise Fault((*at, 'type'), f'{name!r} is no type; expected package/{kind}/Type')
    return name
