"""Arguments held against their schema."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

from nemotron_ros.chat.messages import ToolSpec


class Validator:
    """Checks the arguments of one tool. Compiled once; safe from any thread."""

    def __init__(self, spec: ToolSpec) -> None:
        self._schema: dict[str, Any] = dict(spec.parameters)
        self._validator = Draft202012Validator(self._schema)

    def check(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return every fault, each beginning with the path of the argument at fault."""
        faults = list(_not_finite(arguments, ''))
        if faults:
            return faults
        errors = sorted(
            self._validator.iter_errors(dict(arguments)), key=lambda e: [str(p) for p in e.path]
        )
        return [_line(error) for error in errors]

    def complete(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return valid arguments with the defaults filled in and whole floats made integers."""
        properties: Mapping[str, Any] = self._schema.get('properties', {})
        defaults = {name: s['default'] for name, s in properties.items() if 'default' in s}
        return {
            name: _as_integer(value, properties.get(name, {}))
            for name, value in {**defaults, **arguments}.items()
        }


def _as_integer(value: Any, schema: Any) -> Any:
    if isinstance(value, float) and schema.get('type') == 'integer':
        return int(value)
    return value


def _not_finite(value: Any, path: str) -> Iterator[str]:
    # NaN is neither below a minimum nor above a maximum, so no bound refuses it.
    if isinstance(value, float) and not math.isfinite(value):
        yield f'{path or "arguments"}: expected a finite number, got {value}'
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _not_finite(item, f'{path}[{index}]')


def _line(error: Any) -> str:
    path = ''
    for part in error.path:
        path += f'[{part}]' if isinstance(part, int) else f'.{part}' if path else str(part)
    return f'{path or "arguments"}: {error.message}'
