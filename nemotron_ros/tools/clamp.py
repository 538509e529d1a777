"""Numbers out of range, brought to the edge of it where the tool file says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemotron_ros.tools.model import OutOfRange, Tool


def within_range(
    tool: Tool, arguments: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the arguments that the gate validates, and those of them that were clamped."""
    if tool.out_of_range is not OutOfRange.CLAMP:
        return arguments, {}
    return clamp(arguments, tool.spec.parameters['properties'])


def clamp(
    arguments: Mapping[str, Any], properties: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments within their ranges, and those of them that were out of it.

    A number on the other side of zero than the edge stays as it is, for the validator to
    refuse: to drive a little forward is no smaller way of driving back.
    """
    clamped = {
        name: edge
        for name, value in arguments.items()
        if type(value) in (int, float)
        and (edge := _nearest(value, properties.get(name, {}))) != value
        and (edge * value > 0 or edge == 0)
    }
    return {**arguments, **clamped}, clamped


def _nearest(value: float, schema: Mapping[str, Any]) -> float:
    """Return the number of a range that is nearest; the value itself if it is in it, or NaN."""
    if value < schema.get('minimum', value):
        return float(schema['minimum'])
    if value > schema.get('maximum', value):
        return float(schema['maximum'])
    return value


def unclampable(properties: Mapping[str, Any]) -> list[str]:
    """Return the numbers that have no edge to be brought to: it is none of the range itself."""
    edges = ('exclusiveMinimum', 'exclusiveMaximum')
    return [name for name, schema in properties.items() if any(edge in schema for edge in edges)]
