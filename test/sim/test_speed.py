"""Faster than real time: everything in one time, steered by velocities no faster than is safe."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nemotron_msgs.action import ExecuteCommand
from std_srvs.srv import Trigger

from nemotron_ros.bringup import config_path, headless_robot, nemotron
from nemotron_ros.demo.cases import Case, drove, is_at, turned
from nemotron_ros.demo.trial import Run, Trial, started
from nemotron_ros.sim import pace
from nemotron_ros.sim.pace import AT_ONCE_S, LATE_S, STEERED_SPEED, Pace
from nemotron_ros.spinning import spinning
from nemotron_ros.tools.tool_file import load

STEP_S = 0.005
SCRIPT = """
- when: drive a metre
  calls: [{name: drive, arguments: {direction: forward, distance_m: 1.0}}]
- when: turn left
  calls: [{name: turn, arguments: {direction: left, angle_deg: 90}}]
- when: go to the kitchen
  calls: [{name: go_to, arguments: {place: kitchen}}]
- when: '"status"'
  text: Done.
"""


class Wall:
    """A clock on the wall that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 50.0
        monkeypatch.setattr(pace.time, 'monotonic', lambda: self.now_s)


def simulated_s(speed: float, wall: Wall, seconds: float, steered: bool = False) -> float:
    """Return how much simulated time passes while a look is taken each hundredth of a second."""
    it = Pace(speed)
    steps = 0
    for _ in range(round(seconds / 0.01)):
        wall.now_s += 0.01
        steps += sum(1 for _ in it.steps(STEP_S, steered))
    return steps * STEP_S


@pytest.mark.parametrize('speed', [0.1, 1.0, 7.0, 50.0])
def test_so_much_time_passes(monkeypatch, speed):
    wall = Wall(monkeypatch)
    assert simulated_s(speed, wall, 10.0) == pytest.approx(10.0 * speed, rel=0.02)


@pytest.mark.parametrize(('speed', 'expected'), [(50.0, STEERED_SPEED), (2.0, 2.0)])
def test_who_is_steered_goes_no_faster_than_is_safe(monkeypatch, speed, expected):
    wall = Wall(monkeypatch)
    assert simulated_s(speed, wall, 10.0, steered=True) == pytest.approx(10.0 * expected, rel=0.02)


def test_what_was_slept_through_is_not_made_up_for(monkeypatch):
    wall = Wall(monkeypatch)
    it = Pace(1.0)
    wall.now_s += LATE_S + 5.0
    assert sum(1 for _ in it.steps(STEP_S, steered=False)) <= 2


def test_it_looks_up_after_a_while_however_much_is_owed(monkeypatch):
    wall = Wall(monkeypatch)
    it = Pace(50.0)
    wall.now_s += 0.2
    steps = 0
    for _ in it.steps(STEP_S, steered=False):
        wall.now_s += 0.001  # a slow machine
        steps += 1
    assert steps == pytest.approx(AT_ONCE_S / 0.001, abs=1)


@pytest.fixture(scope='module')
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Start the robot as fast as it goes, and the node that commands it by its clock."""
    folder = tmp_path_factory.mktemp('fast')
    script = folder / 'script.yaml'
    script.write_text(SCRIPT)
    tools: Path = config_path('tools', 'headless_robot.yaml')
    processes = (
        headless_robot(use_sim_time=True, speed=50.0),
        nemotron(tools, engine='scripted', script=str(script), use_sim_time=True),
    )
    with started(processes, folder) as alive, spinning('trial') as node:
        trial = Trial(node, alive, load(tools).tables['places'])
        trial.wait_ready()
        yield trial


def obey(trial: Trial, case: Case) -> tuple[Run, float]:
    """Give a command; return how it went, and how much time went by for the robot."""
    before = json.loads(trial._ask(trial._truth).message)['time_s']
    run = trial.run(case)
    return run, json.loads(trial._ask(trial._truth).message)['time_s'] - before


def test_commands_are_obeyed_in_fast_time(fast):
    place = Case('go to the kitchen', is_at('kitchen'))
    run, spent_s = obey(fast, place)
    assert (run.obeyed, run.lies) == (True, ())
    # Twenty seconds of driving, at least, and not on the wall.
    assert spent_s > 15.0
    assert run.total_s < 15.0


@pytest.mark.parametrize(
    'case',
    [Case('turn left', turned(90)), Case('drive a metre', drove(1.0))],
    ids=['turn', 'drive'],
)
def test_what_is_steered_is_as_exact_as_in_real_time(fast, case):
    truth = fast.truth()
    if case.command == 'drive a metre' and truth.y > 1.0:
        fast.run(Case('turn left', turned(90)))  # from the counter
    run, _ = obey(fast, case)
    assert run.result.status == ExecuteCommand.Result.STATUS_SUCCEEDED
    assert (run.obeyed, run.lies) == (True, ())
    # Four seconds of driving on the wall would be real time.
    assert run.total_s < 4.0


def test_reached_factor_is_told(fast, capsys):
    client = fast._truth
    assert client.srv_type is Trigger
    readings = []
    for _ in range(5):
        readings.append((time.monotonic(), json.loads(fast._ask(client).message)['time_s']))
        time.sleep(0.3)
    factors = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(readings)]
    with capsys.disabled():
        print(f'\n{max(factors):.0f} times as fast as real time, with all its topics')
    assert max(factors) > 3
    assert not any(math.isnan(factor) for factor in factors)
