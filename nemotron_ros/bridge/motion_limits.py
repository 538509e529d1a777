"""Messages that go out, held against the limits of motion: refused, never bent."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from nemotron_ros.bridge.fields import Kind, Many, Nested, kinds_of, type_name
from nemotron_ros.tools.guard import Denied
from nemotron_ros.tools.limits import MotionLimits, outside, too_fast

LINEAR, ANGULAR = 'm/s', 'rad/s'

SPEEDS: Mapping[str, Mapping[str, str]] = {
    'geometry_msgs/msg/Twist': {'linear': LINEAR, 'angular': ANGULAR},
    'ackermann_msgs/msg/AckermannDrive': {'speed': LINEAR},
    'mavros_msgs/msg/PositionTarget': {'velocity': LINEAR, 'yaw_rate': ANGULAR},
    'nav2_msgs/action/DriveOnHeading_Goal': {'speed': LINEAR},
    'nav2_msgs/action/BackUp_Goal': {'speed': LINEAR},
}
"""The fields that hold a speed, by type; whatever holds one of these types is covered too."""

POINTS: Mapping[str, str] = {
    'geometry_msgs/msg/Pose': 'position',
    'geometry_msgs/msg/PointStamped': 'point',
}
"""The field that holds a point to go to, by type. Its frame is that of the nearest header."""


def check_motion(message: Any, limits: MotionLimits, name: str) -> None:
    """Check a message before it goes to ``name``.

    :raise Denied: with the field, its value and the limit.
    """
    faults = list(motion_faults(message, limits, name))
    if faults:
        raise Denied('limits', '; '.join(faults))


def motion_faults(message: Any, limits: MotionLimits, path: str) -> Iterator[str]:
    """Yield what of a message is over a speed cap or outside the fence, each with its path."""
    if limits != MotionLimits():
        yield from _faults(message, limits, path, '')


def speed_faults(message: Any, limits: MotionLimits, path: str) -> Iterator[str]:
    """Yield what of a message is over a speed cap."""
    without_fence = MotionLimits(limits.max_linear_mps, limits.max_angular_radps)
    yield from motion_faults(message, without_fence, path)


def carries_motion(message_class: Any) -> bool:
    """Whether messages of a class hold a speed or a point, however deep."""
    name = type_name(message_class)
    return name in SPEEDS or name in POINTS or bool(_ways(message_class))


def _faults(message: Any, limits: MotionLimits, path: str, frame: str) -> Iterator[str]:
    message_class: Any = type(message)
    kind = type_name(message_class)
    header = getattr(message, 'header', None)
    frame = getattr(header, 'frame_id', frame)
    for field, unit in SPEEDS.get(kind, {}).items():
        most = limits.max_linear_mps if unit == LINEAR else limits.max_angular_radps
        fault = too_fast(_parts(getattr(message, field)), most, unit)
        if fault:
            yield f'{path}.{field}: {fault}'
    if kind in POINTS and limits.fence is not None:
        point = getattr(message, POINTS[kind])
        fault = outside(limits.fence, frame, point.x, point.y, point.z)
        if fault:
            yield f'{path}.{POINTS[kind]}: {fault}'
    for field, is_many in _ways(message_class):
        value = getattr(message, field)
        if is_many:
            for index, item in enumerate(value):
                yield from _faults(item, limits, f'{path}.{field}[{index}]', frame)
        else:
            yield from _faults(value, limits, f'{path}.{field}', frame)


def _parts(value: Any) -> tuple[float, ...]:
    return (value.x, value.y, value.z) if hasattr(value, 'x') else (value,)


@functools.cache
def _ways(message_class: Any) -> tuple[tuple[str, bool], ...]:
    """Return the fields that lead to a speed or a point, and whether each is an array."""
    return tuple(
        (name, isinstance(kind, Many))
        for name, kind in kinds_of(message_class).items()
        if (inner := _message_class(kind)) is not None and carries_motion(inner)
    )


def _message_class(kind: Kind) -> Any:
    """Return the class of the messages in a field; None if there are none."""
    single = kind.of if isinstance(kind, Many) else kind
    return single.message_class if isinstance(single, Nested) else None
