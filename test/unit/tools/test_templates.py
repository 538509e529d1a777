"""Templates: native values for the file's author, nothing at all for a call's arguments."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_ros.tools.templates import (
    TemplateError,
    angle_difference,
    compile_value,
    evaluate,
    quaternion,
    yaw,
)

quick = settings(max_examples=80, deadline=None)

PLACES = {'hall': {'x': 1.5}, 'kitchen': {'x': 2.0}}


def compute(source: Any, **variables: Any) -> Any:
    """Compile with exactly these names, and evaluate."""
    return evaluate(compile_value(source, 'here', variables), variables)


@pytest.mark.parametrize(
    ('source', 'variables', 'expected'),
    [
        ('{{ a }}', {'a': 1}, 1),
        ('  {{ a }}\n', {'a': None}, None),
        ('{{ a }}', {'a': [1, {'b': True}]}, [1, {'b': True}]),
        ("{{ 0.2 if a == 'forward' else -0.2 }}", {'a': 'forward'}, 0.2),
        ('{{ a / 4 }}', {'a': 1}, 0.25),
        ('{{ places[a].x }}', {'a': 'hall', 'places': PLACES}, 1.5),
        ('{{ a.b["c"] }}', {'a': {'b': {'c': 3}}}, 3),
        ('{{ {"x": a} }}', {'a': 1}, {'x': 1}),
        ('{{ a[1:] }}', {'a': [1, 2, 3]}, [2, 3]),
        ('{{ (a | length) // 2 }}', {'a': [1, 2, 3]}, 1),
        ('{{ round(max(a, 2) + pi) }}', {'a': 1}, 5),
        ('is {{ a }} m', {'a': 1}, 'is 1 m'),
        ('{{ a }}{{ b }}', {'a': 1, 'b': 2}, '12'),
        ('{% if a %}yes{% else %}no{% endif %}', {'a': True}, 'yes'),
        ('a', {}, 'a'),
        ('a }} b', {}, 'a }} b'),
        (1.5, {}, 1.5),
        (None, {}, None),
        ({'x': ['{{ a }}', 'b', {'y': '{{ a }}'}]}, {'a': 1}, {'x': [1, 'b', {'y': 1}]}),
    ],
)
def test_a_value(source: Any, variables: dict[str, Any], expected: Any) -> None:
    value = compute(source, **variables)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    'source',
    [
        '{{ a', '{{ a + }}', '{{ }}', '{% if a %}', '{% nothing %}', '{{ a | nofilter }}',
        '{{ 1 }} {% endif %}', '{{ a b }}',
    ],
)  # fmt: skip
def test_bad_syntax_is_told_with_its_path(source: str) -> None:
    with pytest.raises(TemplateError, match=r'^here\.x\[0\]: '):
        compile_value({'x': [source]}, 'here', ['a'])


@pytest.mark.parametrize('name', ['range', 'lipsum', 'dict', 'cycler', 'joiner', 'namespace', 'b'])
def test_a_name_that_nobody_gave_is_unknown(name: str) -> None:
    with pytest.raises(TemplateError, match=f'nothing is named {name!r} here'):
        compile_value(f'{{{{ {name} }}}}', 'here', ['a'])


def test_a_near_name_is_hinted() -> None:
    with pytest.raises(TemplateError, match="did you mean 'distance_m'"):
        compile_value('{{ distance }}', 'here', ['distance_m'])


def test_names_that_can_not_be_known_are_left_for_later() -> None:
    value = compile_value('{{ percentage * 100 }}', 'here', None)
    assert value.names == {'percentage'}
    assert evaluate(value, {'percentage': 0.5}) == 50.0
    with pytest.raises(TemplateError, match="'percentage' is undefined"):
        evaluate(value, {})


@pytest.mark.parametrize(
    ('source', 'variables'),
    [
        ('{{ a / 0 }}', {'a': 1}),
        ('{{ a.b }}', {'a': {}}),
        ('{{ [a.b] }}', {'a': {}}),
        ('{{ {"x": a.b} }}', {'a': {}}),
        ('x {{ a.b }}', {'a': {}}),
        ('{{ a * 1e308 }}', {'a': 10}),
        ('{{ [[a * -1e308]] }}', {'a': 10}),
        ('{{ {"x": a} }}', {'a': math.nan}),
        ('{{ sqrt(a) }}', {'a': -1}),
        ('{{ a + 1 }}', {'a': 'x'}),
        ('{{ a() }}', {'a': 1}),
        ("{% include 'x' %}", {}),
    ],
)
def test_what_can_not_be_computed_is_told_with_its_path(
    source: str, variables: dict[str, Any]
) -> None:
    with pytest.raises(TemplateError, match=r'^here: '):
        compute(source, **variables)


@pytest.mark.parametrize(
    'source',
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ ''.__class__ }} x",
        '{{ a.__init__.__globals__ }}',
        '{{ a.keys.__self__ }}',
        '{{ a.copy.__func__ }}',
        "{{ [a]|map(attribute='__class__')|list }}",
        "{{ '{0.__class__}'.format(a) }}",
        "{{ '{x.__class__}'.format_map({'x': a}) }}",
        '{{ yaw.__globals__ }}',
        '{{ quaternion.__code__ }}',
        '{{ abs.__self__ }}',
        '{{ a.clear() }}',
        "{{ a.update({'b': 1}) }}",
        "{{ a.pop('hall') }}",
        "{{ a.setdefault('b', 1) }}",
    ],
)  # fmt: skip
def test_the_sandbox_is_not_left(source: str) -> None:
    places = dict(PLACES)
    with pytest.raises(TemplateError):
        compute(source.replace('"', "'"), a=places)
    assert places == PLACES


HOSTILE = [
    '{{ 1 + 1 }}', "{{ ''.__class__.__mro__ }}", '{% for i in x %}', '{{ a }}', '{{', '}}', '{#',
    "{{ 'a' * 10**9 }}", '{{ range(10**9) }}', '{{ 2**10**9 }}', '{0.__class__}', '%(a)s', '${a}',
    '<script>&amp;', '__import__("os")',
]  # fmt: skip


@pytest.mark.parametrize('argument', HOSTILE)
def test_an_argument_is_no_template(argument: str) -> None:
    before = time.process_time()
    assert compute('{{ a }}', a=argument) == argument
    assert compute('say {{ a }}!', a=argument) == f'say {argument}!'
    assert compute('{{ a }}{{ a }}', a=argument) == argument * 2
    assert compute("{{ a ~ '' }}", a=argument) == argument
    assert compute({'x': ['{{ [a] }}']}, a=argument) == {'x': [[argument]]}
    assert time.process_time() - before < 2


hostile = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=4), max_size=4).map(''.join)


@quick
@given(st.dictionaries(hostile, hostile | st.integers(), max_size=3) | hostile)
def test_no_argument_is_a_template(argument: Any) -> None:
    assert compute('{{ a }}', a=argument) == argument
    assert compute(['{{ [a, a] }}'], a=argument) == [[argument, argument]]


@pytest.mark.parametrize(
    'argument',
    ['keys', 'items', 'pop', 'clear', '__class__', '__init__', 'copy', 'nowhere', '', 3],
)
def test_an_argument_names_an_item_and_never_an_attribute(argument: object) -> None:
    with pytest.raises(TemplateError):
        compute('{{ places[a] }}', places=PLACES, a=argument)
    with pytest.raises(TemplateError):
        compute('to {{ places[a] }}', places=PLACES, a=argument)


@pytest.mark.parametrize('argument', [[], {}, None, 10**400, [1], -1, 'x', True])
def test_an_odd_argument_is_an_error_and_no_crash(argument: object) -> None:
    for source in ('{{ places[a] }}', '{{ a.x.y }}', '{{ radians(a).x }}', '{{ yaw(a) }}'):
        with pytest.raises(TemplateError):
            compute(source, places=PLACES, a=argument)


@quick
@given(st.floats(-math.pi, math.pi))
def test_a_heading_comes_back_from_its_quaternion(heading: float) -> None:
    assert angle_difference(yaw(quaternion(heading)), heading) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ('a', 'b', 'expected'),
    [
        (0.1, -0.1, 0.2),
        (3.0, -3.0, 6.0 - math.tau),
        (-3.0, 3.0, math.tau - 6.0),
        (5 * math.tau, 0.0, 0.0),
    ],
)
def test_the_difference_of_angles_goes_the_short_way(a: float, b: float, expected: float) -> None:
    assert angle_difference(a, b) == pytest.approx(expected, abs=1e-9)


def test_a_quaternion_may_be_a_message() -> None:
    class Quaternion:
        x, y, z, w = 0.0, 0.0, math.sin(0.25), math.cos(0.25)

    assert compute('{{ yaw(q) }}', q=Quaternion()) == pytest.approx(0.5)
