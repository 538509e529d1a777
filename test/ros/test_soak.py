"""A short soak: a hundred commands in mixed cancels and faults, and nothing is left over."""

from __future__ import annotations

from typing import Any

import pytest
from programs import program

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('test_msgs', reason='test_msgs is not installed')

BENCH = program('bench/soak.py')


@pytest.mark.slow
def test_a_hundred_commands_leave_nothing_over():
    account = BENCH.run(100, seed=2)
    assert set(account.done) == set(BENCH.KINDS)
    assert (account.wrong, account.left) == ([], [])
    assert account.growth <= BENCH.MOST_GROWTH


def samples(*memory_mb: float) -> list[Any]:
    return [BENCH.Held(mb, 1, 1) for mb in memory_mb]


@pytest.mark.parametrize(
    ('fields', 'good'),
    [
        ({}, True),
        ({'wrong': ['1: drives: succeeded expected, got aborted']}, False),
        ({'left': ['threads: 20 before, 21 now']}, False),
        ({'samples': samples(*[100.0] * 6, 106.0, 106.0, 106.0)}, False),
        ({'samples': samples(*[100.0] * 6, 104.0, 104.0, 104.0)}, True),
        ({'samples': samples(50.0, 50.0, 50.0, *[100.0] * 6)}, True),
    ],
)
def test_what_is_left_over_is_a_failure(fields, good):
    account = BENCH.Account(**{'samples': samples(*[100.0] * 9), 'warm': 60, **fields})
    assert account.good is good
