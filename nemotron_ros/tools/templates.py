"""Templates of the tool file: sandboxed expressions with native values.

A string that is one ``{{ expression }}`` gives the expression's own value; with
text round it, it gives text; any other string is itself. Arguments enter as
values of variables and are never read as templates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from jinja2 import StrictUndefined, Undefined, meta
from jinja2 import TemplateError as JinjaError
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateError(ValueError):
    """A template can't be read or evaluated. The message begins with its path."""


@dataclass(frozen=True)
class Template:
    """One compiled template; ``path`` says where it stands."""

    source: str
    path: str
    names: frozenset[str]
    compute: Callable[[Mapping[str, Any]], Any]


Value = Any
"""JSON values in which strings may be a :class:`Template` instead."""

_ONE_EXPRESSION = re.compile(r'\A\s*\{\{(?P<expression>(?:(?!\{\{|\}\}).)*)\}\}\s*\Z', re.DOTALL)


def yaw(orientation: Any) -> float:
    """Return the heading of a quaternion, radians anticlockwise (REP-103)."""
    x, y, z, w = (_part(orientation, name) for name in 'xyzw')
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def quaternion(heading: float) -> dict[str, float]:
    """Return the quaternion of a heading, radians anticlockwise."""
    return {'x': 0.0, 'y': 0.0, 'z': math.sin(heading / 2), 'w': math.cos(heading / 2)}


def angle_difference(a: float, b: float) -> float:
    """Return a - b wrapped to [-pi, pi]."""
    return math.remainder(a - b, math.tau)


def _part(value: Any, name: str) -> float:
    return float(value[name] if isinstance(value, Mapping) else getattr(value, name))


FUNCTIONS: Mapping[str, Any] = {
    'abs': abs,
    'min': min,
    'max': max,
    'round': round,
    'hypot': math.hypot,
    'sin': math.sin,
    'cos': math.cos,
    'tan': math.tan,
    'atan2': math.atan2,
    'radians': math.radians,
    'degrees': math.degrees,
    'sqrt': math.sqrt,
    'pi': math.pi,
    'yaw': yaw,
    'quaternion': quaternion,
    'angle_difference': angle_difference,
}


def compile_value(raw: Any, path: str, names: Iterable[str] | None) -> Value:
    """Compile every template in ``raw``.

    :param names: the variables that templates may use beside the functions;
        None where they can't be known yet.
    :raise TemplateError: on bad syntax or an unknown name.
    """
    if isinstance(raw, Mapping):
        return {key: compile_value(item, f'{path}.{key}', names) for key, item in raw.items()}
    if isinstance(raw, list):
        return [compile_value(item, f'{path}[{i}]', names) for i, item in enumerate(raw)]
    if isinstance(raw, str) and ('{{' in raw or '{%' in raw):
        return _compile(raw, path, names)
    return raw


def evaluate(value: Value, variables: Mapping[str, Any]) -> Any:
    """Return ``value`` with every template computed.

    :raise TemplateError: if one can't be, or gives a number that is not finite.
    """
    if isinstance(value, Template):
        return _compute(value, variables)
    if isinstance(value, Mapping):
        return {key: evaluate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, variables) for item in value]
    return value


def names_in(value: Value) -> frozenset[str]:
    """Return the names of every variable that the templates in ``value`` use."""
    if isinstance(value, Template):
        return value.names
    if isinstance(value, (Mapping, list)):
        items = value.values() if isinstance(value, Mapping) else value
        return frozenset().union(*map(names_in, items))
    return frozenset()


_ALWAYS_FINE = (str, bool, int, type(None))


class _Sandbox(ImmutableSandboxedEnvironment):
    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item, never an attribute: a call's argument must not name a method."""
        try:
            return obj[argument]
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)


def _environment() -> _Sandbox:
    environment = _Sandbox(undefined=StrictUndefined, autoescape=False)
    # The functions come with the variables: Jinja is slow to look through its globals.
    environment.globals.clear()
    return environment


def _compile(source: str, path: str, names: Iterable[str] | None) -> Template:
    environment = _environment()
    compute: Callable[[Mapping[str, Any]], Any]
    try:
        used = meta.find_undeclared_variables(environment.parse(source)) - set(FUNCTIONS)
        one = _ONE_EXPRESSION.match(source)
        expression = '' if one is None else one['expression'].strip()
        if expression in used:
            compute = partial(_variable, expression)
        elif one is not None:
            whole = environment.compile_expression(expression, undefined_to_none=False)
            compute = partial(_with_functions, whole)
        else:
            compute = partial(_with_functions, environment.from_string(source).render)
    except JinjaError as error:
        raise TemplateError(f'{path}: {source!r} is no template: {error}') from error
    if names is not None:
        known = set(names)
        for name in sorted(used - known):
            near = get_close_matches(name, known | set(FUNCTIONS), 1)
            hint = f'; did you mean {near[0]!r}?' if near else ''
            raise TemplateError(
                f'{path}: nothing is named {name!r} here; there is '
                f'{", ".join(sorted(known)) or "nothing"} and the functions{hint}'
            )
    return Template(source, path, frozenset(used), compute)


def _variable(name: str, variables: Mapping[str, Any]) -> Any:
    """Return one variable as it is: what most templates are."""
    try:
        return variables[name]
    except KeyError:
        raise LookupError(f'{name!r} is undefined') from None


def _with_functions(compute: Callable[..., Any], variables: Mapping[str, Any]) -> Any:
    return compute({**FUNCTIONS, **variables})


def _compute(template: Template, variables: Mapping[str, Any]) -> Any:
    try:
        result = template.compute(variables)
        _check(result)
    except Exception as error:
        raise TemplateError(f'{template.path}: {template.source!r}: {error}') from error
    return result


def _check(result: Any) -> None:
    """Raise for what is undefined or not finite, however deep it stands."""
    if type(result) in _ALWAYS_FINE:
        return
    if isinstance(result, Undefined):
        str(result)  # raises what is undefined
    elif isinstance(result, float):
        if not math.isfinite(result):
            raise ValueError(f'gives {result}')
    elif isinstance(result, (list, tuple, Mapping)):
        for item in result.values() if isinstance(result, Mapping) else result:
            _check(item)
