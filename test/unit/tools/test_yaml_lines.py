"""YAML with lines: what is read, on which line, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_ros.tools.yaml_lines import MAX_BYTES, MAX_DEPTH, YamlError, parse

quick = settings(max_examples=80, deadline=None)

TEXT = """\
a: 1
b:
  c: [x, y,
      z]
  'd e': {f: true}
"""

words = st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | words
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    scalars | numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


def test_values_and_their_lines() -> None:
    value, lines = parse(TEXT)
    assert value == {'a': 1, 'b': {'c': ['x', 'y', 'z'], 'd e': {'f': True}}}
    assert lines == {
        (): 1,
        ('a',): 1,
        ('b',): 2,
        ('b', 'c'): 3,
        ('b', 'c', 0): 3,
        ('b', 'c', 1): 3,
        ('b', 'c', 2): 4,
        ('b', 'd e'): 5,
        ('b', 'd e', 'f'): 5,
    }


@pytest.mark.parametrize('word', ['on', 'off', 'yes', 'no', 'y', 'true'])
def test_a_key_that_yaml_reads_as_a_boolean_stays_a_word(word: str) -> None:
    assert parse(f'{word}: 1')[0] == {word: 1}


def test_an_alias_is_a_copy() -> None:
    value, _ = parse('a: &x {b: [1]}\nc: *x')
    assert value == {'a': {'b': [1]}, 'c': {'b': [1]}}
    assert value['a'] is not value['c']


@pytest.mark.parametrize(
    ('text', 'line', 'message'),
    [
        ('', 1, 'empty'),
        ('# nothing\n', 1, 'empty'),
        ('a: 1\nb: [', 2, 'expected the node content'),
        ('a: 1\nb: 2\na: 3', 3, "'a' stands here a second time"),
        ('a:\n  b: 1\n  "b": 2', 3, "'b' stands here a second time"),
        ('on: 1\non: 2', 2, "'on' stands here a second time"),
        ('a: 1\n2: x', 2, "got '2'; put it in quotes"),
        ('1.5: x', 1, 'put it in quotes'),
        ('~: x', 1, 'put it in quotes'),
        ('? [a]\n: x', 1, 'expected a plain word as key'),
        ('a: &x {b: 1}\nc:\n  <<: *x', 3, 'expected a plain word as key'),
        ('a: 1\nb: .nan', 2, 'expected a finite number, got nan'),
        ('a:\n- -.inf', 2, 'expected a finite number, got -inf'),
        ('a: 2026-01-02', 1, 'got tag:yaml.org,2002:timestamp; put it in quotes'),
        ('a: !!binary aGk=', 1, 'got tag:yaml.org,2002:binary'),
        ('a: !!set {b}', 1, 'got tag:yaml.org,2002:set'),
        ('a: =', 1, 'got tag:yaml.org,2002:value'),
        ('a: 1\nb: !!bool maybe', 2, "'maybe' is no tag:yaml.org,2002:bool"),
        ("a: !!int ''", 1, "'' is no tag"),
        ('a: 1\nb: ' + '9' * 5000, 2, 'is no tag:yaml.org,2002:int'),
        ('a: 1\nb: !!python/name:os.system ""', 2, 'got tag:yaml.org,2002:python'),
        ('a: 1\nb: !!python/object/apply:os.system [ls]', 2, 'got tag:yaml.org,2002:python'),
        ('a: !robot {}', 1, 'got !robot'),
        ('a: *nowhere', 1, 'undefined alias'),
        ('a: 1\n---\nb: 2', 2, 'another document'),
        ('a: 1\nb: \x07', 2, 'the character 0x7 may not stand here'),
    ],
)
def test_what_is_refused(text: str, line: int, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse(text)
    assert (caught.value.line, message in str(caught.value)) == (line, True), caught.value
    assert '\n' not in str(caught.value)


LAUGHS = 'a0: &a0 [x, x]\n' + '\n'.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 30)
)


@pytest.mark.parametrize(
    'text',
    [
        LAUGHS,
        'a: &a [*a]',
        'a: &a {b: *a}',
        '[' * 100_000,
        '- ' * 5_000,
        '{a: ' * (MAX_DEPTH + 1) + '1' + '}' * (MAX_DEPTH + 1),
        '[' + 'x,' * 30_000 + ']',
        '#' * (MAX_BYTES + 1),
    ],
    ids=['laughs', 'self', 'self mapping', 'open', 'dashes', 'deep', 'long', 'big'],
)
def test_a_bomb_is_refused_soon(text: str) -> None:
    before = time.process_time()
    with pytest.raises(YamlError):
        parse(text)
    assert time.process_time() - before < 8


@quick
@given(st.dictionaries(words, json_values, min_size=1, max_size=4))
def test_every_json_value_comes_back(value: dict[str, Any]) -> None:
    assert parse(yaml.safe_dump(value))[0] == value
    assert parse(yaml.safe_dump(value, default_flow_style=True))[0] == value


fragments = st.sampled_from(
    [
        *('a', ': ', '\n', '  ', '- ', '[', ']', '{', '}', ', ', '&x ', '*x', '!!int ', '!!set '),
        *('!!timestamp ', '!!bool ', '!!float ', '<<', '|', '"', "'", '.nan', '1', '#', '~', '? '),
    ]
)


@quick
@given(st.lists(fragments | st.text(max_size=2), max_size=20).map(''.join))
def test_any_text_gives_a_json_value_or_a_line(text: str) -> None:
    try:
        value, lines = parse(text)
    except YamlError as error:
        value, lines = None, {(): error.line}
    assert is_json(value)
    assert all(1 <= line <= len(text.splitlines()) + 1 for line in lines.values())


def is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_json, value))
    return value is None or type(value) in (bool, int, float, str)
