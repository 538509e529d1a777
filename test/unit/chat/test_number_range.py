"""The range of a number, as JSON Schema and as a grammar: each against the range itself."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nemotron_ros.chat.formats.number_range import NumberRange, exact, wide

EDGES = st.integers(-20_000, 20_000)


def as_pattern(expression: str) -> str:
    """Turn an expression of the grammar language into a regular expression, which it almost is."""
    return re.sub(r'"([^"]*)"', lambda found: re.escape(found[1]), expression).replace(' ', '')


def is_written(numbers: NumberRange, text: str) -> bool:
    return re.fullmatch(as_pattern(numbers.gbnf()), text) is not None


@given(EDGES, EDGES, st.integers(0, 3), st.integers(-21_000, 21_000), st.booleans())
@example(-5, 1805, 1, 0, False)
@example(0, 0, 3, 0, True)
@example(999, 1000, 3, 1000, True)
def test_the_grammar_writes_what_is_in_the_range_and_nothing_else(
    one: int, other: int, decimals: int, number: int, is_short: bool
) -> None:
    numbers = NumberRange(min(one, other), max(one, other), decimals)
    assume(number or numbers.low <= 0 <= numbers.high)
    text = f'{number / 10**decimals:.{decimals}f}'
    if is_short and decimals:
        text = text.rstrip('0').rstrip('.')
    assume(text not in ('-0', '-0.0', '-0.00', '-0.000'))
    assert is_written(numbers, text) == (numbers.low <= number <= numbers.high)


@pytest.mark.parametrize('text', ['', '-', '1.', '.5', '01', '1.2345', '1e3', '+1', '--1', ' 1'])
def test_what_is_no_number_is_not_written(text: str) -> None:
    assert not is_written(NumberRange(-5000, 5000, 3), text)


BOUNDED: Any = st.fixed_dictionaries(
    {'type': st.sampled_from(['number', 'integer'])},
    optional={
        key: st.one_of(st.integers(-300, 300), st.decimals(-300, 300, places=2).map(float))
        for key in ('minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum')
    },
)


@given(BOUNDED, st.integers(-310_000, 310_000))
@example({'type': 'number', 'exclusiveMinimum': 0, 'maximum': 1}, 0)
@example({'type': 'integer', 'minimum': 0.2, 'maximum': 1.8}, 1000)
def test_the_exact_range_is_that_of_the_schema(schema: dict[str, Any], thousandths: int) -> None:
    numbers = exact(schema)
    if numbers == wide(schema):  # no number of three decimals is in it
        return
    number = Fraction(thousandths, 1000)
    if schema['type'] == 'integer' and number.denominator != 1:
        return
    is_in = numbers.low <= number * 10**numbers.decimals <= numbers.high
    fits = jsonschema.Draft202012Validator(schema).is_valid(
        int(number) if number.denominator == 1 else float(number)
    )
    assert is_in == fits


@pytest.mark.parametrize('kind', ['integer', 'number'])
def test_a_number_out_of_range_is_not_bent_into_it(kind: str) -> None:
    written = wide({'type': kind, 'minimum': 5, 'maximum': 180}).json_schema()
    for asked in (400, -90):
        jsonschema.validate(asked, written)


def test_a_fine_range_can_be_written() -> None:
    schema = {'type': 'number', 'minimum': 0.0001, 'maximum': 0.0002}
    assert wide(schema).json_schema()['multipleOf'] <= 1e-5
    assert is_written(exact(schema), '0.00015')
    assert not is_written(exact(schema), '0.00025')


@pytest.mark.parametrize(
    'schema',
    [
        {'type': 'number', 'minimum': 3, 'maximum': 2},
        {'type': 'integer', 'minimum': 0.2, 'maximum': 0.8},
        {'type': 'number', 'minimum': 0.1, 'exclusiveMaximum': 0.1},
    ],
)
def test_an_empty_range_leaves_it_to_the_validator(schema: dict[str, Any]) -> None:
    assert exact(schema) == wide(schema)
