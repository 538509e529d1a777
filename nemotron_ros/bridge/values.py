"""What a tool returns: from ROS messages and numpy values to JSON."""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.convert import number_to_json, to_json


def fields_of(message: Any) -> dict[str, Any]:
    """Return a message's fields by name, as templates see them."""
    message_class: Any = type(message)
    return {name: getattr(message, name) for name in _names(message_class)}


@functools.cache
def _names(message_class: Any) -> tuple[str, ...]:
    return tuple(message_class.get_fields_and_field_types())


def plain(value: Any) -> object:
    """Return ``value`` as JSON, its parts written as :func:`convert.to_json` writes fields.

    Lists of numbers from numpy or ``array.array`` stay lists. What has no form in JSON is kept,
    a NaN of Python's own as well: a sensor may say so, a computation has gone wrong.
    """
    if hasattr(value, 'get_fields_and_field_types'):
        return to_json(value)
    if hasattr(value, 'tolist'):
        return _spelled(value.tolist())
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _spelled(items: Any) -> object:
    """Return numpy's items as JSON; one by one only where a sum says that some need it."""
    if isinstance(items, float):
        return number_to_json(items)
    if not isinstance(items, list):
        return items
    try:
        if math.isfinite(sum(items)):
            return items
    except TypeError:  # of several dimensions, or no numbers
        pass
    return [_spelled(item) for item in items]
