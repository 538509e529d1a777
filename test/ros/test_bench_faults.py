"""Some faults of ``bench/faults.py``, once: survived, told truthfully, and nothing moved."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('test_msgs', reason='test_msgs is not installed')
pytest.importorskip('mujoco', reason='mujoco, the simulated robot, is not installed')

from programs import ROOT, program
from whole_robot import Told

BENCH = program('bench/faults.py')
NAMES = (
    'model server killed after a call',
    'robot killed, and back',
    'node told to end (SIGTERM)',
)


@pytest.mark.slow
def test_a_fault_is_survived_and_told_and_nothing_moves() -> None:
    command = [sys.executable, str(ROOT / 'bench/faults.py'), '--times', '1']
    done = subprocess.run(
        [*command, *(f'--only={name}' for name in NAMES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout
    for name in NAMES:
        assert f'| {name} | 1/1 | 1/1 | 0/1 |' in done.stdout


DROVE = ('drive', {'seconds': 1.5}, 'succeeded')


@pytest.mark.parametrize(
    ('told', 'moved_m', 'is_true'),
    [
        (Told('succeeded', (DROVE,)), 0.3, True),
        (Told('succeeded', (DROVE,)), 0.1, False),
        (Told('succeeded', (DROVE,)), 0.5, False),
        (Told('stopped', (('drive', {'seconds': 10}, 'canceled'),)), 0.4, True),
        (Told('not_done', (('drive', {'seconds': 10}, 'denied'),)), 0.4, False),
        (Told('timed_out'), 0.3, False),
        (Told('not known'), 0.3, True),
    ],
)
def test_what_is_told_is_held_against_the_place(told: Told, moved_m: float, is_true: bool) -> None:
    assert (BENCH._misplaced(told, moved_m) == []) is is_true


def seen(survived: bool = True, truthful: bool = True, moved: bool = False) -> Any:
    return BENCH.Seen(survived, truthful, moved, Told('timed_out'))


def test_one_of_many_that_is_wrong_is_a_failure() -> None:
    assert BENCH.Row('a', [seen(), seen()]).good
    for wrong in (seen(survived=False), seen(truthful=False), seen(moved=True)):
        assert not BENCH.Row('a', [seen(), wrong]).good
    line = BENCH.Row('a fault', [seen(), seen(moved=True)]).line()
    assert line == '| a fault | 2/2 | 2/2 | 1/2 | timed_out |'
