"""The ``read:`` entries of a tool file: a topic's latest message, and what else can be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nemotron_ros.tools.entries import (
    TOOL_NAME,
    Fault,
    mapping,
    number,
    ros_name,
    ros_type,
    text,
)
from nemotron_ros.tools.model import (
    Read,
    ReadImage,
    Reading,
    ReadParameter,
    ReadScan,
    ReadSeveral,
    ReadTransform,
)
from nemotron_ros.tools.parts import At
from nemotron_ros.tools.templates import Value

Compile = Callable[[Any, At, Iterable[str] | None], Value]

SECTORS = (4, 8)
FRAME = re.compile(r'/?[A-Za-z0-9_][A-Za-z0-9_./-]{0,255}\Z')
LIMITS_S = (0.001, 86400.0)
DEFAULT_AGE_S = 5.0
KINDS = ('topic', 'transform', 'parameter', 'scan', 'image', 'several')

TRANSFORM_NAMES = ('translation', 'rotation')
PARAMETER_NAMES = ('parameter',)
SCAN_NAMES = ('nearest_m', 'bearing_deg', 'direction', 'sectors', 'unseen')
IMAGE_NAMES = ('width', 'height', 'encoding', 'brightness')


def reading(data: Any, at: At, compile_value: Compile, names: Iterable[str]) -> Reading:
    """Read what a ``read:`` entry says.

    :param names: of the arguments and tables, which every value may use.
    :raise Fault: at the place that is wrong.
    """
    data = mapping(data, at)
    kind = _kind(data, at)
    readers: Mapping[str, Callable[[Any, At, Compile, Iterable[str]], Reading]] = {
        'topic': _topic,
        'transform': _transform,
        'parameter': _parameter,
        'scan': _scan,
        'image': _image,
        'several': _several,
    }
    return readers[kind](data, at, compile_value, list(names))


def _kind(data: Mapping[str, Any], at: At) -> str:
    kinds = [kind for kind in KINDS if kind in data]
    if len(kinds) != 1:
        raise Fault(at, f'expected exactly one of {", ".join(KINDS)}, got {len(kinds)}')
    return kinds[0]


def _topic(data: Any, at: At, compile_value: Compile, names: Iterable[str]) -> Read:
    data = mapping(data, at, ('topic', 'type', 'value', 'max_age_s'))
    if 'value' not in data:
        raise Fault(at, 'value is missing: what to tell of the message')
    return Read(
        ros_name(data, 'topic', at),
        ros_type(data, 'msg', at),
        compile_value(data['value'], (*at, 'value'), None),
        _max_age_s(data, at),
    )


def _transform(data: Any, at: At, compile_value: Compile, names: Iterable[str]) -> ReadTransform:
    data = mapping(data, at, ('transform', 'value', 'max_age_s'))
    here = (*at, 'transform')
    frames = mapping(data['transform'], here, ('target', 'source'))
    for key in ('target', 'source'):
        if not FRAME.match(text(frames, key, here)):
            raise Fault((*here, key), f'{frames[key]!r} is no name of a frame')
    return ReadTransform(
        frames['target'],
        frames['source'],
        _value(data, at, compile_value, [*names, *TRANSFORM_NAMES]),
        _max_age_s(data, at),
    )


def _parameter(data: Any, at: At, compile_value: Compile, names: Iterable[str]) -> ReadParameter:
    data = mapping(data, at, ('parameter', 'value', 'timeout_s'))
    here = (*at, 'parameter')
    parameter = mapping(data['parameter'], here, ('node', 'name'))
    return ReadParameter(
        ros_name(parameter, 'node', here),
        text(parameter, 'name', here),
        _value(data, at, compile_value, [*names, *PARAMETER_NAMES]),
        number(data, 'timeout_s', at, *LIMITS_S) or DEFAULT_AGE_S,
    )


def _scan(data: Any, at: At, compile_value: Compile, names: Iterable[str]) -> ReadScan:
    data = mapping(data, at, ('scan', 'value', 'max_age_s'))
    here = (*at, 'scan')
    scan = mapping(data['scan'], here, ('topic', 'sectors', 'mounted_deg'))
    sectors = scan.get('sectors', 4)
    if isinstance(sectors, bool) or sectors not in SECTORS:
        raise Fault((*here, 'sectors'), f'expected {SECTORS[0]} or {SECTORS[1]}, got {sectors!r}')
    return ReadScan(
        ros_name(scan, 'topic', here),
        sectors,
        number(scan, 'mounted_deg', here, -360.0, 360.0) or 0.0,
        _value(data, at, compile_value, [*names, *SCAN_NAMES]),
        _max_age_s(data, at),
    )


def _image(data: Any, at: At, compile_value: Compile, names: Iterable[str]) -> ReadImage:
    data = mapping(data, at, ('image', 'value', 'max_age_s'))
    here = (*at, 'image')
    return ReadImage(
        ros_name(mapping(data['image'], here, ('topic',)), 'topic', here),
        _value(data, at, compile_value, [*names, *IMAGE_NAMES]),
        _max_age_s(data, at),
    )


def _several(data: Any, at: At, compile_value: Compile, names: Iterable[str]) -> ReadSeveral:
    data = mapping(data, at, ('several',))
    parts: dict[str, Any] = {}
    here = (*at, 'several')
    for name, entry in mapping(data['several'], here).items():
        if not TOOL_NAME.match(name):
            raise Fault(
                (*here, name), 'expected a name of a-z, 0-9 and _, beginning with a letter'
            )
        part = reading(entry, (*here, name), compile_value, names)
        if isinstance(part, ReadSeveral):
            raise Fault((*here, name), 'several can not stand within several')
        parts[name] = part
    if not parts:
        raise Fault(here, 'expected at least one value to read, by its name')
    return ReadSeveral(parts)


def _value(
    data: Mapping[str, Any], at: At, compile_value: Compile, names: Iterable[str]
) -> Value | None:
    return compile_value(data['value'], (*at, 'value'), names) if 'value' in data else None


def _max_age_s(data: Mapping[str, Any], at: At) -> float:
    return number(data, 'max_age_s', at, *LIMITS_S) or DEFAULT_AGE_S
