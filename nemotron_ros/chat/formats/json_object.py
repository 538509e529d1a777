"""A tool call as a JSON object: ``{"name": "...", "arguments": {...}}``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from nemotron_ros.chat.formats import strict_json
from nemotron_ros.chat.formats.protocol import FormatError, no_such_tool
from nemotron_ros.chat.messages import ToolCall

_ARGUMENTS = ('arguments', 'parameters')


def read_call(text: str, names: Collection[str], call_id: str) -> ToolCall:
    """Read a call to one of the tools named.

    :raise FormatError: if it isn't one.
    """
    return call_of(strict_json.loads(text), names, call_id)


def call_of(value: Any, names: Collection[str], call_id: str) -> ToolCall:
    """Turn a JSON value into a call; ``parameters`` may stand for ``arguments``.

    :raise FormatError: if it isn't a call to one of the tools named.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get('name'), str):
        raise FormatError('tool call: expected an object with a "name"')
    name = value['name']
    if name not in names:
        raise no_such_tool(name, names)
    given = [key for key in value if key != 'name']
    if len(given) != 1 or given[0] not in _ARGUMENTS:
        raise FormatError(f'{name}: expected "name" and "arguments" alone, got {list(value)}')
    arguments = value[given[0]]
    if isinstance(arguments, str):  # encoded twice
        arguments = strict_json.loads(arguments)
    if not isinstance(arguments, Mapping):
        raise FormatError(f'{name}.{given[0]}: expected an object')
    return ToolCall(call_id, name, arguments)
