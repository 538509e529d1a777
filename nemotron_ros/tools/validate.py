"""Arguments held against their schema.

``jsonschema-rs`` says yes where its wheel is installed; ``jsonschema`` says yes elsewhere, and
says what is wrong everywhere. Where the two read a schema differently, ``jsonschema`` alone
decides, so that a call is taken or refused alike on every machine.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from nemotron_ros.chat.messages import ToolSpec
from nemotron_ros.tools.parts import dotted

MAX_DEPTH = 64
"""Objects and arrays in one another; ROS types have a fraction of it."""
LOW, HIGH = -(2**63), 2**64 - 1
"""The range of all ROS integers. A larger one is an error in itself, whatever its schema says."""

_NOUNS = {
    'array': 'an array',
    'boolean': 'true or false',
    'integer': 'an integer',
    'null': 'null',
    'number': 'a number',
    'object': 'an object',
    'string': 'a string',
}
_LIMITS = {
    'minimum': 'at least {}',
    'maximum': 'at most {}',
    'exclusiveMinimum': 'more than {}',
    'exclusiveMaximum': 'less than {}',
    'multipleOf': 'a multiple of {}',
}
_SIZES = {
    'minLength': 'at least {} characters',
    'maxLength': 'at most {} characters',
    'minItems': 'at least {} items',
    'maxItems': 'at most {} items',
}

# What every dialect of regular expressions reads alike: plain characters, escaped punctuation,
# \d and \w, classes of them without set operations, groups, one quantifier at most.
_ESCAPE = r'\\[dw\\./\[\](){}*+?^$|-]'
_ALIKE = re.compile(
    rf'(?:(?:[^\\.\[\](){{}}*+?]|{_ESCAPE}|\[\^?(?:\w-\w|[^\\\[\]&~^-]|{_ESCAPE})+\]|\((?:\?:)?|\))'
    r'(?:[*+?]|\{\d+(?:,\d*)?\})?)*'
)
_END = re.compile(r'\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(\$)', re.DOTALL)


class Validator:
    """Checks the arguments of one tool. Compiled once; safe from any thread."""

    def __init__(self, spec: ToolSpec) -> None:
        schema: dict[str, Any] = dict(spec.parameters)
        self._properties: Mapping[str, Any] = schema.get('properties', {})
        self._defaults = {
            name: part['default'] for name, part in self._properties.items() if 'default' in part
        }
        self._exact = _Exact(schema)
        self._fast = _fast(schema) or self._exact.is_valid

    def check(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return a line for each argument at fault; it begins with the argument's path."""
        data = dict(arguments)
        unfit = _unfit(data, MAX_DEPTH)
        if unfit is not None:
            steps, reason = unfit
            return [f'{_path(reversed(steps))}: {reason}']
        if self._fast(data):
            return []
        told: dict[str, str] = {}
        for error in sorted(self._exact.iter_errors(data), key=_rank):
            for path, reason in _told(error):
                told.setdefault(path, reason)
        if not told:
            return ['arguments: do not fit their schema']
        return [f'{path}: {reason}' for path, reason in sorted(told.items())]

    def complete(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return valid arguments with the defaults filled in and whole floats made integers."""
        return {
            name: _as_integer(value, self._properties.get(name, {}))
            for name, value in {**self._defaults, **arguments}.items()
        }


def _as_integer(value: Any, schema: Any) -> Any:
    if isinstance(value, float) and schema.get('type') == 'integer':
        return int(value)
    return value


def _unfit(value: Any, levels: int) -> tuple[list[object], str] | None:
    """Return what no schema may decide: where it stands, from the inside out, and the reason.

    NaN is neither below a minimum nor above a maximum, so no bound refuses it. What is not
    JSON, the libraries refuse, take or trip over, each in its own way.
    """
    kind = type(value)
    if kind is float:
        if math.isfinite(value):
            return None
        return [], f'expected a finite number, got {value}'
    if kind is str:
        return None if value.isascii() or _encodes(value) else ([], 'expected valid Unicode')
    if kind is bool or value is None:
        return None
    if kind is int:
        if LOW <= value <= HIGH:
            return None
        return [], f'expected a number of at most 64 bits, got one of {value.bit_length()}'
    if kind not in (dict, list):
        return [], f'expected a JSON value, got {kind.__name__}'
    if not levels:
        return [], f'expected at most {MAX_DEPTH} objects and arrays in one another'
    for key, item in value.items() if kind is dict else enumerate(value):
        if kind is dict and (type(key) is not str or not (key.isascii() or _encodes(key))):
            return [], f'expected names that are text, got {reprlib.repr(key)}'
        found = _unfit(item, levels - 1)
        if found is not None:
            found[0].append(key)
            return found
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _fast(schema: Mapping[str, Any]) -> Callable[[Any], bool] | None:
    """Return jsonschema-rs' verdict; None where it isn't there or might be another one."""
    if not _read_alike(schema):
        return None
    try:
        from jsonschema_rs import Draft202012Validator as Compiled

        verdict: Callable[[Any], bool] = Compiled(dict(schema)).is_valid
    except (ImportError, ValueError):  # a ValueError: a schema that only jsonschema takes
        return None
    return verdict


def _read_alike(schema: object) -> bool:
    """Tell whether every library gives this schema the same meaning."""
    if isinstance(schema, list):
        return all(map(_read_alike, schema))
    if not isinstance(schema, Mapping):
        return True
    pattern, step = schema.get('pattern'), schema.get('multipleOf')
    if isinstance(pattern, str) and not _ALIKE.fullmatch(pattern):
        return False
    # Releases of jsonschema-rs differ in whether 0.3 is a multiple of 0.1.
    return not isinstance(step, float) and all(map(_read_alike, schema.values()))


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    r"""Hold a string to a pattern as JSON Schema means it: ``$`` is the end, ``\d`` is 0 to 9."""
    if isinstance(value, str):
        ends = _END.sub(lambda found: r'\Z' if found[1] else found[0], pattern)
        if not re.search(ends, value, re.ASCII):
            yield ValidationError('pattern')


def _multiple_of(_: Any, step: float, value: Any, __: Any) -> Iterator[ValidationError]:
    """Hold a number to whole steps as it is, to others as it is written: 0.3 fits 0.1."""
    if type(value) in (int, float):
        exact = Fraction(value) if isinstance(step, int) else Fraction(repr(value))
        if exact % Fraction(repr(step)):
            yield ValidationError('multipleOf')


_Exact: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {'pattern': _pattern, 'multipleOf': _multiple_of}
)


def _rank(error: ValidationError) -> int:
    """Return what to tell first of an argument: its choices, then its type, then the rest."""
    return {'enum': 0, 'const': 0, 'type': 1}.get(str(error.validator), 2)


def _told(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield the path of each fault, and what was expected and came there."""
    keyword, path = str(error.validator), list(error.absolute_path)
    expected: Any = error.validator_value
    value: Any = error.instance
    schema: Any = error.schema
    if keyword == 'required':
        for name in (name for name in expected if name not in value):
            yield _path([*path, name]), 'is missing'
    elif keyword == 'additionalProperties' and expected is False:
        known = list(schema.get('properties', ()))
        for name in (name for name in value if name not in known):
            yield _path([*path, name]), _no_such(name, known)
    else:
        yield _path(path), _reason(keyword, expected, value, schema)


def _reason(keyword: str, expected: Any, value: Any, schema: Any) -> str:
    got = f'got {reprlib.repr(value)}'
    if keyword == 'type':
        kinds = [expected] if isinstance(expected, str) else expected
        return f'expected {" or ".join(_NOUNS[kind] for kind in kinds)}, {got}'
    if keyword in ('enum', 'const'):
        choices = expected if keyword == 'enum' else [expected]
        return f'expected {" or ".join(map(repr, choices))}, {got}'
    if keyword in _LIMITS:
        return f'expected {_LIMITS[keyword].format(expected)}, {got}'
    if keyword in _SIZES:
        return f'expected {_SIZES[keyword].format(expected)}, got {len(value)}'
    if keyword == 'uniqueItems':
        return f'expected items that differ, {got}'
    if keyword == 'pattern':
        wanted = schema.get('contentEncoding', f'text that matches {expected}')
        return f'expected {wanted}, {got}'
    return f'breaks {keyword} of its schema, {got}'


def _no_such(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    if near:
        return f'no such argument; did you mean {near[0]}?'
    return f'no such argument; there is {", ".join(known) or "none"}'


def _path(steps: Iterable[object]) -> str:
    return dotted(steps, 'arguments')
