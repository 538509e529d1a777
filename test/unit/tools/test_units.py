"""A number's name says what it counts, or its author is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from nemotron_ros.tools.tool_file import load
from nemotron_ros.tools.units import UNITS, USUAL, doubts

NUMBER = {'type': 'number'}


@pytest.mark.parametrize(
    'name', ['distance_m', 'angle_deg', 'seconds', 'mps', 'speed_mps', 'level_percent', 'x_m']
)
def test_a_name_that_ends_with_a_unit_is_clear(name: str) -> None:
    assert list(doubts(name, NUMBER)) == []


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('distance', 'distance_m'), ('angle', 'angle_deg'), ('max_speed', 'max_speed_mps'),
        ('time', 'time_s'), ('force', 'force_n'), ('volume', 'volume_percent'),
        ('m_distance', 'm_distance_m'), ('far', 'far_m'),
    ],
)  # fmt: skip
def test_a_name_without_a_unit_is_told_with_the_usual_one(name: str, hint: str) -> None:
    (doubt,) = doubts(name, NUMBER)
    assert doubt.endswith(f'such as {hint}')


@pytest.mark.parametrize(
    'schema',
    [
        {'type': 'integer'},
        {'type': 'string'},
        {'type': 'number', 'enum': [0.5, 1.0]},
        {'type': 'array', 'items': {'type': 'string'}},
        {'type': 'array'},
    ],
)
def test_counts_choices_and_words_need_none(schema: dict[str, object]) -> None:
    assert list(doubts('distance', schema)) == []


def test_a_list_of_numbers_needs_one() -> None:
    assert len(list(doubts('heights', {'type': 'array', 'items': NUMBER}))) == 1


def test_each_usual_unit_is_a_unit() -> None:
    assert set(USUAL) <= UNITS


def test_a_loaded_file_carries_the_doubts_of_what_acts(tmp_path: Path) -> None:
    path = tmp_path / 'tools.yaml'
    path.write_text(
        'robot: bench\n'
        'tools:\n'
        '  look: {description: L., parameters: {far: {type: number}},\n'
        '         read: {topic: a, type: a/msg/A, value: "{{ a }}"}}\n'
        '  go:\n'
        '    description: G.\n'
        '    parameters:\n'
        '      distance: {type: number, minimum: 0, maximum: 1}\n'
        '    service: {name: a, type: a/srv/A}\n'
    )
    (warning,) = load(path).warnings
    assert warning.startswith(f'{path}:8: tools.go.parameters.distance: names no unit; ')
