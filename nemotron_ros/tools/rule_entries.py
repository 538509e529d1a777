"""What a tool file says of safety: a tool's ``guard``, ``conditions``, ``limits``, ``estop``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from nemotron_ros.tools.conditions import Condition, TopicCondition, TransformCondition
from nemotron_ros.tools.entries import (
    TOOL_NAME,
    Fault,
    mapping,
    number,
    ros_name,
    ros_type,
    sequence,
    text,
)
from nemotron_ros.tools.estop import EStop, Heartbeat
from nemotron_ros.tools.limits import Corner, Fence, MotionLimits, fault_of_polygon
from nemotron_ros.tools.model import Rules
from nemotron_ros.tools.parts import At
from nemotron_ros.tools.templates import Value

KEYS = ('conditions', 'limits', 'estop')
"""What is read here of a file's top level."""

CONFIRM_WITHIN_S = 30.0
SILENCE_S = 1.0
FARTHEST_M = 1e6
POSE_TYPES = (
    'nav_msgs/msg/Odometry',
    'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped',
)
"""Types of topics that can tell where the robot is."""

Compile = Callable[[Any, At, Iterable[str] | None], Value]


def rules(data: Any, at: At, known: Mapping[str, Condition] | None) -> Rules:
    """Read a tool's ``guard``.

    :param known: the file's conditions; None if they could not be read.
    """
    keys = (
        *('max_per_minute', 'max_per_command', 'max_in_flight', 'exclusive'),
        *('requires', 'confirm', 'confirm_within_s'),
    )
    data = mapping(data, at, keys)
    group = data.get('exclusive')
    if group is not None and not (isinstance(group, str) and TOOL_NAME.match(group)):
        raise Fault((*at, 'exclusive'), f'expected the name of a group, got {group!r}')
    return Rules(
        _count(data, 'max_per_minute', at, 6000),
        group,
        _count(data, 'max_per_command', at, 1000),
        _count(data, 'max_in_flight', at, 1000),
        _requires(data.get('requires', []), (*at, 'requires'), known),
        _confirm(data, at),
    )


def conditions(data: Any, at: At, compile_value: Compile) -> dict[str, Condition]:
    """Read ``conditions``: what a tool may require, by name."""
    found: dict[str, Condition] = {}
    for name, entry in mapping(data, at).items():
        here = (*at, name)
        if not TOOL_NAME.match(name):
            raise Fault(here, 'expected a name of a-z, 0-9 and _, beginning with a letter')
        entry = mapping(entry, here)
        reader = _transform if 'transform' in entry else _topic
        found[name] = reader(name, entry, here, compile_value)
    return found


def limits(data: Any, at: At) -> MotionLimits:
    """Read ``limits``: what holds for everything that moves, whatever the arguments."""
    data = mapping(data, at, ('max_linear_mps', 'max_angular_radps', 'fence'))
    return MotionLimits(
        number(data, 'max_linear_mps', at, 0.001, 1000.0),
        number(data, 'max_angular_radps', at, 0.001, 1000.0),
        _fence(data['fence'], (*at, 'fence')) if 'fence' in data else None,
    )


def estop(data: Any, at: At) -> EStop:
    """Read ``estop``: what stops the robot beside people's commands."""
    data = mapping(data, at, ('topic', 'heartbeat'))
    heartbeat = None
    if 'heartbeat' in data:
        here = (*at, 'heartbeat')
        beat = mapping(data['heartbeat'], here, ('topic', 'type', 'max_silence_s'))
        heartbeat = Heartbeat(
            ros_name(beat, 'topic', here),
            ros_type(beat, 'msg', here),
            _needed(beat, 'max_silence_s', here, 0.05, 3600.0),
        )
    topic = ros_name(data, 'topic', at) if 'topic' in data else None
    return EStop(topic, heartbeat)


# Guard


def _count(data: Mapping[str, Any], key: str, at: At, most: int) -> int | None:
    value = number(data, key, at, 1, most)
    if value is not None and value != int(value):
        raise Fault((*at, key), f'expected a whole number, got {value:g}')
    return None if value is None else int(value)


def _requires(data: Any, at: At, known: Mapping[str, Condition] | None) -> tuple[str, ...]:
    names = sequence(data, at)
    for index, name in enumerate(names):
        if known is None:  # their own faults are told; which names there are is not known
            continue
        if not isinstance(name, str) or name not in known:
            near = get_close_matches(str(name), known, 1)
            hint = f'; did you mean {near[0]!r}?' if near else '; add it to conditions'
            raise Fault((*at, index), f'there is no condition {name!r}{hint}')
    return tuple(names)


def _confirm(data: Mapping[str, Any], at: At) -> float | None:
    wanted = data.get('confirm', False)
    if not isinstance(wanted, bool):
        raise Fault((*at, 'confirm'), f'expected true or false, got {wanted!r}')
    within_s = number(data, 'confirm_within_s', at, 1.0, 3600.0)
    if within_s is not None and not wanted:
        raise Fault((*at, 'confirm_within_s'), 'needs confirm: true')
    return (within_s or CONFIRM_WITHIN_S) if wanted else None


# Conditions


def _topic(name: str, data: Any, at: At, compile_value: Compile) -> TopicCondition:
    keys = ('topic', 'type', 'max_age_s', 'value', 'minimum', 'maximum', 'equals')
    data = mapping(data, at, keys)
    if 'value' not in data and 'max_age_s' not in data:
        raise Fault(at, 'expected max_age_s, value or both: what must be so')
    for key in ('minimum', 'maximum', 'equals'):
        if key in data and 'value' not in data:
            raise Fault((*at, key), 'needs value: what is held against it')
    low = number(data, 'minimum', at, -math.inf, math.inf)
    high = number(data, 'maximum', at, -math.inf, math.inf)
    if 'equals' in data and (low is not None or high is not None):
        raise Fault((*at, 'equals'), 'expected equals, or minimum and maximum, not both')
    if low is not None and high is not None and low > high:
        raise Fault((*at, 'minimum'), f'{low:g} is above maximum, {high:g}; nothing is between')
    return TopicCondition(
        name,
        ros_name(data, 'topic', at),
        ros_type(data, 'msg', at),
        number(data, 'max_age_s', at, 0.001, 86400.0),
        compile_value(data['value'], (*at, 'value'), None) if 'value' in data else None,
        low,
        high,
        data.get('equals', True),
    )


def _transform(name: str, data: Any, at: At, _: Compile) -> TransformCondition:
    data = mapping(data, at, ('transform', 'max_age_s'))
    frames = mapping(data['transform'], (*at, 'transform'), ('target', 'source'))
    return TransformCondition(
        name,
        text(frames, 'target', (*at, 'transform')),
        text(frames, 'source', (*at, 'transform')),
        _needed(data, 'max_age_s', at, 0.001, 86400.0),
    )


def _needed(data: Mapping[str, Any], key: str, at: At, low: float, high: float) -> float:
    value = number(data, key, at, low, high)
    if value is None:
        raise Fault(at, f'{key} is missing')
    return value


# Limits


def _fence(data: Any, at: At) -> Fence:
    data = mapping(data, at, ('frame', 'polygon', 'rectangle', 'height', 'pose'))
    if ('polygon' in data) == ('rectangle' in data):
        raise Fault(at, 'expected polygon or rectangle: where the robot may be')
    if 'polygon' in data:
        key, corners = 'polygon', _polygon(data['polygon'], (*at, 'polygon'))
    else:
        key, corners = 'rectangle', _rectangle(data['rectangle'], (*at, 'rectangle'))
    wrong = fault_of_polygon(corners)
    if wrong:
        raise Fault((*at, key), wrong)
    low_m, high_m = -math.inf, math.inf
    if 'height' in data:
        low_m, high_m = _pair(data['height'], (*at, 'height'), rising=True)
    here = (*at, 'pose')
    if 'pose' not in data:
        raise Fault(at, 'pose is missing: the topic that tells where the robot is')
    pose = mapping(data['pose'], here, ('topic', 'type', 'max_silence_s'))
    kind = ros_type(pose, 'msg', here)
    if kind not in POSE_TYPES:
        raise Fault((*here, 'type'), f'expected {" or ".join(POSE_TYPES)}, got {kind!r}')
    return Fence(
        text(data, 'frame', at),
        corners,
        ros_name(pose, 'topic', here),
        kind,
        number(pose, 'max_silence_s', here, 0.05, 60.0) or SILENCE_S,
        low_m,
        high_m,
    )


def _polygon(data: Any, at: At) -> tuple[Corner, ...]:
    return tuple(_pair(item, (*at, index)) for index, item in enumerate(sequence(data, at)))


def _rectangle(data: Any, at: At) -> tuple[Corner, ...]:
    data = mapping(data, at, ('x', 'y'))
    for key in ('x', 'y'):
        if key not in data:
            raise Fault(at, f'{key} is missing: from where to where, metres')
    left, right = _pair(data['x'], (*at, 'x'), rising=True)
    low, high = _pair(data['y'], (*at, 'y'), rising=True)
    return (left, low), (right, low), (right, high), (left, high)


def _pair(data: Any, at: At, rising: bool = False) -> tuple[float, float]:
    items = sequence(data, at)
    if len(items) != 2:
        raise Fault(at, f'expected 2 numbers, got {len(items)}')
    first, second = (
        _needed({i: item}, i, at, -FARTHEST_M, FARTHEST_M)  # type: ignore[dict-item,arg-type]
        for i, item in enumerate(items)
    )
    if rising and not first < second:
        raise Fault(at, f'expected the lower number first, got {first:g} and {second:g}')
    return first, second
