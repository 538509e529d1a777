"""Rates, their intervals, and what two runs differ in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nemotron_ros.evaluation import record
from nemotron_ros.evaluation.compare import compare, sign_test
from nemotron_ros.evaluation.record import Record, RecordError, Row
from nemotron_ros.evaluation.report import compare_markdown, run_markdown
from nemotron_ros.evaluation.summary import MEASURES, Rate, by_tag, costs, rate, wilson

ROW = Row(
    item='a/1', scenario='a', part='tuning', robot='r', tags=('x',), run=0, say=('go',),
    acts=True, still=False, asks=False, refuses=False,
    calls=({'name': 'dock', 'arguments': {}, 'status': 'succeeded', 'error': ''},),
    text='Done.', outcome='succeeded', error='', called=True, tool=True, exact=True, answer=None,
    false_actions=(), out_of_range=0, violations=0, unreadable=0, right=True, turns=2,
    prompt_tokens=100, cached_tokens=90, completion_tokens=12, first_token_s=0.1,
    first_call_s=0.2, total_s=0.3,
)  # fmt: skip


def row(item: str, right: bool = True, **more: Any) -> Row:
    return replace(ROW, item=item, right=right, exact=right, **more)


@pytest.mark.parametrize(
    ('share', 'n', 'low', 'high'),
    [
        # Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
        (1, 20, 0.8389, 1.0),
    ],
)
def test_wilson(share: float, n: int, low: float, high: float) -> None:
    assert wilson(share, n) == pytest.approx((low, high), abs=5e-5)


def test_an_item_counts_once_however_often_it_is_run() -> None:
    rows = [row('a/1', run=0), row('a/1', False, run=1), row('b/1', run=0), row('b/1', run=1)]
    found = rate(rows, MEASURES['all right'])
    assert (found.share, found.n) == (0.75, 2)


def test_a_measure_counts_where_it_applies() -> None:
    rows = [
        row('a/1'),
        row('b/1', called=False, right=False),
        row('c/1', acts=False, still=True, called=False, refuses=True, answer=True),
        row('d/1', False, acts=False, still=True, tool=False, false_actions=('dock',)),
    ]
    told = {name: (r.share, r.n) for name, m in MEASURES.items() if (r := rate(rows, m)).n}
    assert told == {
        'all right': (0.5, 4),
        'called something': (0.5, 2),
        'right tools': (1.0, 2),
        'exact arguments': (0.5, 2),
        'nothing acted': (0.5, 2),
        'right words': (1.0, 1),
        'refused': (1.0, 1),
        'false actions': (0.25, 4),
    }


@pytest.mark.parametrize(
    ('more', 'verdict'),
    [
        ({}, 'right'),
        ({'right': False}, 'wrong answer'),
        ({'right': False, 'exact': False}, 'wrong arguments'),
        ({'right': False, 'exact': False, 'tool': False}, 'wrong tools'),
        (
            {'right': False, 'exact': False, 'tool': False, 'called': False},
            'nothing called',
        ),
        ({'right': False, 'false_actions': ('dock',)}, 'false action'),
    ],
)
def test_the_verdict_is_what_is_worst(more: dict[str, Any], verdict: str) -> None:
    assert replace(ROW, **more).verdict == verdict


def test_tags_and_costs() -> None:
    rows = [row('a/1', tags=('x', 'y'), violations=2), row('b/1', total_s=3.0, first_call_s=0.0)]
    assert {tag: len(those) for tag, those in by_tag(rows).items()} == {'x': 2, 'y': 1}
    told = costs(rows)
    assert told['calls that break their schema'] == 2
    assert told['tokens read anew'] == 10
    assert str(told['seconds to the end']) == '1.65, 95 % 3.00'
    assert str(told['seconds to the first call']) == '0.20, 95 % 0.20'
    assert costs([])['turns that can not be read'] == 0


def test_two_runs_item_by_item() -> None:
    first = Record({'model': 'one', 'seed': 0}, {}, (row('a/1'), row('b/1', False), row('c/1')))
    rows = (row('a/1', False, false_actions=('dock',)), row('b/1'), row('d/1'))
    found = compare(first, Record({'model': 'two', 'seed': 0}, {}, rows))
    change = found.changes['all right']
    assert (change.better, change.worse) == (('b/1',), ('a/1',))
    assert (change.first.n, change.first.share, change.p) == (2, 0.5, 1.0)
    assert found.changes['false actions'].worse == ('a/1',)
    assert found.settings == {'model': ('one', 'two')}
    assert found.missing == ('c/1', 'd/1')
    assert 'nothing acted' not in found.changes
    told = compare_markdown(found, ('one', 'two'))
    assert '**false actions, worse**: a/1' in told


@pytest.mark.parametrize(
    ('better', 'worse', 'p'), [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 0.03125), (1, 9, 0.021484375)]
)
def test_sign_test(better: int, worse: int, p: float) -> None:
    assert sign_test(better, worse) == p


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = Record({'model': 'm'}, {'began': 'now'}, (ROW, row('b/1', False, answer=False)))
    record.write(written, tmp_path / 'eval.json')
    assert record.read(tmp_path / 'eval.json') == written
    assert [path.name for path in tmp_path.iterdir()] == ['eval.json']


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('{}', "is no record of an evaluation \\('format'\\)"),
        ('[', 'is no record of an evaluation'),
        ('{"format": 0}', 'format: expected 1, got 0; run the evaluation again'),
        (
            '{"format": 1, "settings": {}, "circumstances": {}, "rows": [{"item": "a"}]}',
            'fields that differ: acts, ',
        ),
    ],
)
def test_what_is_no_record(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / 'x.json'
    path.write_text(text)
    with pytest.raises(RecordError, match=f'x.json: .*{told}'):
        record.read(path)


def test_what_a_model_writes_stays_in_its_cell() -> None:
    rows = (row('a/1', False, text='a | b\n| c', outcome='timed_out', error='too late'),)
    told = run_markdown(Record({'model': 'm'}, {}, rows))
    (line,) = (line for line in told.splitlines() if 'a/1' in line)
    assert line.endswith('| dock(), "a \\| b \\| c", timed_out: too late |')


def test_nothing_went_wrong() -> None:
    assert run_markdown(Record({}, {}, (ROW,))).endswith('Nothing.\n')
    assert str(Rate(0.0, 0.0, 1.0, 0)) == '-'
