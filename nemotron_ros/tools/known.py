"""What is known of a tool's calls before there is one: arguments that are a choice of few."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from nemotron_ros.tools.templates import Template, Value, names_in

MAX_CALLS = 256


def known_calls(parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each combination of the arguments that are a choice of few; the others are left out.

    Beyond ``MAX_CALLS`` combinations, none is known but the one of no arguments.

    :param parameters: JSON Schema of a tool's arguments.
    """
    choices = {
        name: _choices(schema)
        for name, schema in parameters.get('properties', {}).items()
        if _choices(schema)
    }
    count = 1
    for values in choices.values():
        count *= len(values)
    if count > MAX_CALLS:
        choices = {}
    for chosen in itertools.product(*choices.values()):
        yield dict(zip(choices, chosen, strict=True))


def known_part(value: Value, names: set[str]) -> tuple[Value, bool]:
    """Return what of a mapping needs no other variables than ``names``, and whether it is all."""
    if isinstance(value, Template):
        return value, value.names <= names
    if isinstance(value, Mapping):
        parts = {key: known_part(item, names) for key, item in value.items()}
        whole = all(is_whole for _, is_whole in parts.values())
        return {k: p for k, (p, ok) in parts.items() if ok or isinstance(p, Mapping)}, whole
    return value, names_in(value) <= names


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    if 'const' in schema:
        return [schema['const']]
    if schema.get('type') == 'boolean':
        return [False, True]
    return list(schema.get('enum', []))
