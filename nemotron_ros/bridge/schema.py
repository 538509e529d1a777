"""From a ROS message type to JSON Schema: what :func:`convert.to_message` takes, no more.

The schema does not speak of NUL and lone surrogates in strings, nor of
integers too large for a float64; those only the converter refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.convert import to_json
from nemotron_ros.bridge.fields import (
    Boolean,
    Byte,
    Float,
    Integer,
    Kind,
    Many,
    Nested,
    Text,
    constants_of,
    has_default,
    kinds_of,
    type_name,
)

_CHARACTER = '[A-Za-z0-9+/]'
_FULL = f'{_CHARACTER}{{4}}'
_ONE_OVER = f'{_CHARACTER}{{2}}=='
_TWO_OVER = f'{_CHARACTER}{{3}}='


def schema_of(message_class: type[Any]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a message, written out in full, without references.

    Every field may be left out, since it has a default in ROS.

    :raise TypeError: for a class that is no ROS message.
    """
    kinds = kinds_of(message_class)
    properties = {name: field_schema(kind) for name, kind in kinds.items()}
    defaults = to_json(message_class())
    for name in kinds:
        if has_default(message_class, name):
            properties[name]['default'] = defaults[name]
    rest = dict(constants_of(message_class))
    for name, numbers in _owned(kinds, rest).items():
        _tell(numbers, defaults[name], properties[name])
        rest = {key: value for key, value in rest.items() if key not in numbers}
    schema: dict[str, Any] = {'title': type_name(message_class), 'type': 'object'}
    if rest:
        schema['description'] = f'Constants: {_listed(rest)}.'
    return {**schema, 'properties': properties, 'additionalProperties': False}


def field_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of one field by what it holds."""
    if isinstance(kind, Nested):
        return schema_of(kind.message_class)
    if isinstance(kind, Boolean):
        return {'type': 'boolean'}
    if isinstance(kind, Byte):
        return {'type': 'integer', 'minimum': 0, 'maximum': 255}
    if isinstance(kind, Integer):
        return {'type': 'integer', 'minimum': kind.low, 'maximum': kind.high}
    if isinstance(kind, Float):
        if kind.dtype == 'float64':
            return {'type': 'number'}
        return {'type': 'number', 'minimum': -kind.limit, 'maximum': kind.limit}
    if isinstance(kind, Text):
        bound = {} if kind.maximum is None else {'maxLength': kind.maximum}
        return {'type': 'string', **bound}
    if kind.octets:
        return _base64(kind)
    schema: dict[str, Any] = {'type': 'array', 'items': field_schema(kind.of)}
    if kind.fixed:
        schema['minItems'] = kind.minimum
    if kind.maximum is not None:
        schema['maxItems'] = kind.maximum
    return schema


def _base64(kind: Many) -> dict[str, Any]:
    schema = {'type': 'string', 'contentEncoding': 'base64'}
    if kind.maximum is None:
        return {**schema, 'pattern': f'^(?:{_FULL})*(?:{_ONE_OVER}|{_TWO_OVER})?$'}
    length = 4 * -(-kind.maximum // 3)
    fours, over = divmod(kind.maximum, 3)
    last = ['', _ONE_OVER, _TWO_OVER][over]
    if kind.fixed:
        pattern = f'^(?:{_FULL}){{{fours}}}{last}$'
        return {**schema, 'minLength': length, 'maxLength': length, 'pattern': pattern}
    ends = ['', _ONE_OVER, f'(?:{_ONE_OVER}|{_TWO_OVER})'][over]
    pattern = f'(?:{ends})?' if ends else ''
    if fours:
        pattern = f'(?:{_FULL}){{0,{fours - 1}}}(?:{_ONE_OVER}|{_TWO_OVER}|{_FULL}{pattern})?'
    return {**schema, 'maxLength': length, 'pattern': f'^{pattern}$'}


def _owned(
    kinds: Mapping[str, Kind], constants: Mapping[str, object]
) -> dict[str, dict[str, int]]:
    """Return the constants that plainly belong to a field, by the field's name.

    A constant belongs to the whole-number field that its name begins with. The
    rest belong to the only field of whole numbers, if they number its cases.
    """
    numbers = {key: value for key, value in constants.items() if type(value) is int}
    whole = [name for name, kind in kinds.items() if isinstance(kind, (Integer, Byte))]
    owned = {}
    # The longest name first: TYPE_ID_A belongs to type_id, not to type.
    for name in sorted(whole, key=len, reverse=True):
        own = {key: numbers[key] for key in numbers if key.startswith(f'{name.upper()}_')}
        if own:
            owned[name] = own
            numbers = {key: numbers[key] for key in numbers if key not in own}
    arrays = any(
        isinstance(kind, Many) and isinstance(kind.of, (Integer, Byte)) for kind in kinds.values()
    )
    if len(whole) == 1 and not owned and not arrays and _cases(numbers):
        owned[whole[0]] = numbers
    return owned


def _tell(numbers: Mapping[str, int], default: object, schema: dict[str, Any]) -> None:
    if _cases(numbers) and default in numbers.values():
        schema['enum'] = sorted(numbers.values())
        del schema['minimum'], schema['maximum']
    schema['description'] = f'{_listed(numbers)}.'


def _cases(numbers: Mapping[str, int]) -> bool:
    """Tell whether the numbers count cases: distinct and without gaps, as flags are not."""
    values = set(numbers.values())
    return 1 < len(numbers) == len(values) == max(values) - min(values) + 1


def _listed(constants: Mapping[str, object]) -> str:
    return ', '.join(f'{name} = {json.dumps(value)}' for name, value in constants.items())
