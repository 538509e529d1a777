"""How a number may be written: a range, on the grid of its few decimals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_MAX_NUMBER = 10**6
_HUGE = Fraction(10**15)
_DECIMALS = 3
_MAX_DECIMALS = 9
_EDGES = ('minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum')


@dataclass(frozen=True)
class NumberRange:
    """The numbers from ``low`` to ``high``, both counted in units of the last decimal."""

    low: int
    high: int
    decimals: int

    def json_schema(self) -> dict[str, Any]:
        """Return the range as JSON Schema's keywords."""
        unit = 10**self.decimals
        if unit == 1:
            return {'minimum': self.low, 'maximum': self.high}
        return {
            'minimum': self.low / unit,
            'maximum': self.high / unit,
            'multipleOf': 1 / unit,
        }

    def gbnf(self) -> str:
        """Return the range as an expression of llama.cpp's grammar language."""
        return ' | '.join(_signed(self))


def wide(schema: Mapping[str, Any]) -> NumberRange:
    """Return more than the range of a number.

    A model held to the range itself writes the nearest number that begins alike: asked
    for 400 degrees of at most 180, it turned 40. What is out of range has to be
    seen, so that it can be refused and told.
    """
    edges = [edge for key in _EDGES if (edge := _edge(schema, key)) is not None]
    decimals = _decimals(schema, edges)
    unit = 10**decimals
    return NumberRange(
        math.floor(min([Fraction(-_MAX_NUMBER), *edges])) * unit,
        math.ceil(max([Fraction(_MAX_NUMBER), *edges])) * unit,
        decimals,
    )


def exact(schema: Mapping[str, Any]) -> NumberRange:
    """Return the range of a number; more, if no number of few decimals lies in it."""
    around = wide(schema)
    low, high, unit = around.low, around.high, 10**around.decimals
    if (edge := _edge(schema, 'minimum')) is not None:
        low = max(low, math.ceil(edge * unit))
    if (edge := _edge(schema, 'exclusiveMinimum')) is not None:
        low = max(low, math.floor(edge * unit) + 1)
    if (edge := _edge(schema, 'maximum')) is not None:
        high = min(high, math.floor(edge * unit))
    if (edge := _edge(schema, 'exclusiveMaximum')) is not None:
        high = min(high, math.ceil(edge * unit) - 1)
    return NumberRange(low, high, around.decimals) if low <= high else around


def _decimals(schema: Mapping[str, Any], edges: list[Fraction]) -> int:
    """Return how many decimals a number may have."""
    if schema.get('type') == 'integer':
        return 0
    fine = [_number(schema, 'multipleOf'), *edges]
    if len(edges) > 1:
        fine.append((max(edges) - min(edges)) / 10)
    return max([_DECIMALS, *(_places(number) for number in fine if number)])


def _places(number: Fraction) -> int:
    """Return how many decimals it takes to write a number, or something like it."""
    size = abs(number)
    return next((d for d in range(_MAX_DECIMALS) if size * 10**d >= 1), _MAX_DECIMALS)


def _edge(schema: Mapping[str, Any], key: str) -> Fraction | None:
    """Return an edge of a range, brought to where llguidance still takes it."""
    edge = _number(schema, key)
    return None if edge is None else max(-_HUGE, min(_HUGE, edge))


def _number(schema: Mapping[str, Any], key: str) -> Fraction | None:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return Fraction(str(value))


# The grammar: a number is cut into the digits before its point and those after it. At the
# edge of a range the next digit decides; away from it any digit will do.


def _signed(numbers: NumberRange) -> Iterator[str]:
    low, high, decimals = numbers.low, numbers.high, numbers.decimals
    if low < 0:
        for way in _unsigned(max(1, -high), -low, decimals):
            yield f'"-" {way}'
    if high >= 0:
        yield from _unsigned(max(0, low), high, decimals)


def _unsigned(low: int, high: int, decimals: int) -> Iterator[str]:
    first, after_first = divmod(low, 10**decimals)
    last, after_last = divmod(high, 10**decimals)
    least, greatest = _digits(after_first, decimals), _digits(after_last, decimals)
    nines = '9' * decimals
    if first == last:
        yield f'"{first}"{_fraction(least, greatest)}'
        return
    yield f'"{first}"{_fraction(least, nines)}'
    for way in _whole(first + 1, last - 1):
        yield f'{way}{_fraction("0" * decimals, nines)}'
    yield f'"{last}"{_fraction("0" * decimals, greatest)}'


def _digits(number: int, count: int) -> str:
    return str(number).zfill(count) if count else ''


def _whole(low: int, high: int) -> Iterator[str]:
    """Yield the ways to write a whole number without leading zeros, one for each length."""
    while low <= high:
        last = min(high, 10 ** len(str(low)) - 1)
        yield _between(str(low), str(last), is_open=False)
        low = last + 1


def _fraction(low: str, high: str) -> str:
    """Write the point and what comes after it, from ``low`` to ``high``; or nothing."""
    if not low:
        return ''
    optional = '?' if not low.strip('0') else ''
    return f' ("." {_between(low, high, is_open=True)}){optional}'


def _between(low: str, high: str, is_open: bool) -> str:
    """Write the digits from ``low`` to ``high``, which are as long.

    :param is_open: zeros at the end may be left out, but for the first digit.
    """
    length = len(low)
    if not low.strip('0') and not high.strip('9'):
        return f'[0-9]{{{1 if is_open else length},{length}}}'
    first, last = low[0], high[0]
    rest_of_low, rest_of_high = low[1:], high[1:]
    if first == last:
        return f'"{first}"{_rest(rest_of_low, rest_of_high, is_open)}'
    zeros, nines = '0' * (length - 1), '9' * (length - 1)
    ways = [f'"{first}"{_rest(rest_of_low, nines, is_open)}']
    if int(last) - int(first) > 1:
        ways.append(f'[{int(first) + 1}-{int(last) - 1}]{_rest(zeros, nines, is_open)}')
    ways.append(f'"{last}"{_rest(zeros, rest_of_high, is_open)}')
    return f'({" | ".join(ways)})'


def _rest(low: str, high: str, is_open: bool) -> str:
    if not low:
        return ''
    optional = '?' if is_open and not low.strip('0') else ''
    return f' ({_between(low, high, is_open)}){optional}'
