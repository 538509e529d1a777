"""Units in the names of arguments: a model and a person must mean the same by a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

UNITS = frozenset(
    {
        # length, area, volume
        *('m', 'cm', 'mm', 'km', 'in', 'ft', 'm2', 'm3', 'l', 'ml'),
        # angle and time
        *('deg', 'rad', 'rev', 's', 'ms', 'us', 'ns', 'min', 'h', 'hz'),
        # motion
        *('mps', 'mmps', 'kmh', 'mph', 'knots', 'mps2', 'radps', 'degps', 'rpm'),
        # force, mass, electricity, temperature, pressure, light
        *('n', 'nm', 'kg', 'g', 'v', 'a', 'ah', 'w', 'wh', 'c', 'k', 'f', 'pa', 'hpa', 'kpa'),
        *('bar', 'lux', 'lm', 'db', 'px'),
        # of a whole, or without a dimension
        *('percent', 'pct', 'ratio', 'fraction', 'factor', 'scale', 'count', 'times'),
        # whole words
        *('metres', 'meters', 'degrees', 'radians', 'seconds', 'minutes', 'hours'),
    }
)
"""What the last word of a number's name may be."""

USUAL = {
    'm': {
        *('distance', 'height', 'altitude', 'length', 'width', 'depth', 'radius', 'range'),
        *('x', 'y', 'z', 'opening', 'gap', 'position'),
    },
    'deg': {'angle', 'heading', 'yaw', 'pitch', 'roll', 'bearing', 'rotation', 'tilt', 'pan'},
    'mps': {'speed', 'velocity'},
    's': {'duration', 'time', 'timeout', 'delay', 'wait'},
    'n': {'force', 'effort'},
    'percent': {'level', 'volume', 'brightness', 'power'},
}
"""Units by the quantities that usually have them; for the hint."""


def doubts(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to say of an argument whose name leaves open what its numbers count.

    Whole numbers are taken as counts, and enumerations speak for themselves.
    """
    items = schema.get('items')
    numbers = items if schema.get('type') == 'array' and isinstance(items, Mapping) else schema
    if numbers.get('type') != 'number' or 'enum' in numbers or 'const' in numbers:
        return
    words = name.split('_')
    if words[-1] in UNITS:
        return
    unit = next((unit for unit, quantities in USUAL.items() if quantities & set(words)), 'm')
    yield f'names no unit; a model guesses one: end it with its unit, such as {name}_{unit}'
