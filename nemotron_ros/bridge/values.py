"""What a tool returns: from ROS messages and numpy values to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.convert import to_json


def fields_of(message: Any) -> dict[str, Any]:
    """Return a message's fields by name, as templates see them."""
    return {name: getattr(message, name) for name in message.get_fields_and_field_types()}


def plain(value: Any) -> object:
    """Return ``value`` as JSON: messages, numpy scalars and arrays turned, the rest kept."""
    if hasattr(value, 'get_fields_and_field_types'):
        return to_json(value)
    if hasattr(value, 'tolist'):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
