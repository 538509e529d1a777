"""Bounds: what a tool that acts may take must be limited on every side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

At = tuple[object, ...]

MOTION_TYPES = frozenset(
    {
        'geometry_msgs/msg/Twist',
        'geometry_msgs/msg/TwistStamped',
        'trajectory_msgs/msg/JointTrajectory',
        'ackermann_msgs/msg/AckermannDrive',
        'ackermann_msgs/msg/AckermannDriveStamped',
        'control_msgs/msg/JointJog',
        'mavros_msgs/msg/AttitudeTarget',
        'mavros_msgs/msg/PositionTarget',
    }
)
"""Topic types that set a robot in motion until another message ends it."""

KEYWORDS = frozenset(
    {
        *('type', 'enum', 'const', 'default', 'description', 'title', 'examples'),
        *('minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'),
        *('minLength', 'maxLength', 'pattern'),
        *('items', 'minItems', 'maxItems', 'uniqueItems'),
        *('properties', 'required', 'additionalProperties'),
    }
)
"""The JSON Schema keywords that a tool file may use; a typo must not drop a bound."""


def missing(schema: Any, at: At) -> Iterator[tuple[At, str]]:
    """Yield where a schema leaves a value without bounds, and what to add."""
    if not isinstance(schema, Mapping):  # true, which takes anything
        yield at, 'takes any type; add type'
        return
    if 'enum' in schema or 'const' in schema:
        return
    kind = schema.get('type')
    if kind in ('number', 'integer'):
        if 'minimum' not in schema and 'exclusiveMinimum' not in schema:
            yield at, 'has no lower bound; add minimum'
        if 'maximum' not in schema and 'exclusiveMaximum' not in schema:
            yield at, 'has no upper bound; add maximum'
    elif kind == 'string':
        if 'maxLength' not in schema:
            yield at, 'has no bound; add maxLength or enum'
    elif kind == 'array':
        if 'maxItems' not in schema:
            yield at, 'has no bound; add maxItems'
        yield from missing(schema.get('items', {}), (*at, 'items'))
    elif kind == 'object':
        if schema.get('additionalProperties') is not False:
            yield at, 'takes anything; add additionalProperties: false'
        for name, item in schema.get('properties', {}).items():
            yield from missing(item, (*at, 'properties', name))
    elif kind not in ('boolean', 'null'):
        yield at, 'takes any type; add type'


def unknown_keywords(schema: Any, at: At) -> Iterator[tuple[At, str]]:
    """Yield every keyword that is not among :data:`KEYWORDS`."""
    if not isinstance(schema, Mapping):
        return
    for key in schema:
        if key not in KEYWORDS:
            near = get_close_matches(str(key), KEYWORDS, 1)
            hint = f'; did you mean {near[0]!r}?' if near else ''
            yield (*at, key), f'is no JSON Schema keyword known here{hint}'
    yield from unknown_keywords(schema.get('items'), (*at, 'items'))
    properties = schema.get('properties')
    for name, item in properties.items() if isinstance(properties, Mapping) else ():
        yield from unknown_keywords(item, (*at, 'properties', name))
