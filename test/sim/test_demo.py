"""The demo: each case tells obeyed from not, the report is true, a lying robot is caught."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import ToolCall, ToolResult
from PIL import Image
from rich.console import Console

from nemotron_ros.bringup import config_path, headless_robot, nemotron
from nemotron_ros.cli.demo import ENOUGH, verdict
from nemotron_ros.demo import cases, report
from nemotron_ros.demo.cases import CASES, Case
from nemotron_ros.demo.trial import Run, Trial, TrialError, started
from nemotron_ros.engine.model_files import fetch, load_catalogue
from nemotron_ros.engine.protocol import EngineError
from nemotron_ros.sim.referee import Truth
from nemotron_ros.sim.world import flat
from nemotron_ros.spinning import spinning
from nemotron_ros.tools.tool_file import load

ROOT = Path(__file__).resolve().parents[2]
MODEL = 'qwen2.5-coder-0.5b'
R = ExecuteCommand.Result
START = Truth(1.0, -0.5, math.radians(170), 0.0, '', False, 0, ('hello',), 0.87)
KITCHEN = flat().places['kitchen']
AHEAD = START.yaw


def moved(way_m: float, turn_deg: float = 0.0, **changes: object) -> Truth:
    """Return the truth after a way along the old heading and a turn on the spot."""
    return replace(
        START,
        x=START.x + way_m * math.cos(AHEAD),
        y=START.y + way_m * math.sin(AHEAD),
        yaw=math.remainder(AHEAD + math.radians(turn_deg), math.tau),
        **changes,
    )


def turned_then(turn_deg: float, way_m: float) -> Truth:
    """Return the truth after a turn on the spot and a way along the new heading."""
    yaw = AHEAD + math.radians(turn_deg)
    return replace(
        START,
        x=START.x + way_m * math.cos(yaw),
        y=START.y + way_m * math.sin(yaw),
        yaw=math.remainder(yaw, math.tau),
    )


def result(status: int = R.STATUS_SUCCEEDED, text: str = '', calls: tuple = ()) -> R:
    """Return a command's result."""
    return R(status=status, text=text, calls=calls)


IN_KITCHEN = replace(START, x=KITCHEN.x + 0.1, y=KITCHEN.y - 0.1)
SPOKEN = replace(START, heard=('hello', 'Good morning everyone!'))
NOT_DONE, STOPPED = result(R.STATUS_NOT_DONE), result(R.STATUS_STOPPED)


@pytest.mark.parametrize(
    ('obeyed', 'good', 'bad'),
    [
        (
            cases.drove(1.2),
            [(moved(1.2), result()), (moved(1.1), result()), (moved(-1.2), result())],
            [(START, result()), (moved(1.0), result()), (moved(1.4), result())],
        ),
        (
            cases.turned(90),
            [(moved(0, 90), result()), (moved(0.05, 84), result())],
            [
                (START, result()),
                (moved(0, -90), result()),
                (moved(0, 75), result()),
                (moved(0.3, 90), result()),
            ],
        ),
        (
            cases.turned(180),
            [(moved(0, 179), result()), (moved(0, -179), result())],
            [(moved(0, 150), result())],
        ),
        (
            cases.turned_then_drove(-60, -0.4),
            [(turned_then(-60, -0.4), result()), (turned_then(-57, -0.45), result())],
            [
                (START, result()),
                (moved(0, -60), result()),
                (turned_then(-60, 0.4), result()),
                (turned_then(60, -0.4), result()),
                (moved(-0.4, -60), result()),
            ],
        ),
        (
            cases.is_at('kitchen'),
            [(IN_KITCHEN, result())],
            [(START, result()), (replace(IN_KITCHEN, x=KITCHEN.x + 0.5), result())],
        ),
        (
            cases.holds('cup'),
            [(replace(START, holding='cup'), result())],
            [(START, result()), (replace(START, holding='ball'), result())],
        ),
        (
            cases.said('good morning'),
            [(SPOKEN, result())],
            [
                (START, result(text='Good morning everyone!')),
                (replace(START, heard=('hello', 'good night')), result()),
            ],
        ),
        (
            cases.answered(lambda after: f'{round(after.battery * 100)} per'),
            [(START, result(text='It is at 87 percent.'))],
            [
                (START, result(text='It is at 78 percent.')),
                (START, result(text='')),
                (moved(0.5), result(text='It is at 87 percent.')),
            ],
        ),
        (
            cases.refused,
            [(START, NOT_DONE)],
            [
                (START, result()),
                (START, STOPPED),
                (moved(3.0), NOT_DONE),
                (moved(0, 20), NOT_DONE),
            ],
        ),
        (
            cases.stopped_within(1.5),
            [(moved(0.4), STOPPED)],
            [(START, STOPPED), (moved(2.5), STOPPED), (moved(0.4), result())],
        ),
    ],
    ids=[
        'drove',
        'turned',
        'turned_round',
        'turned_then_drove',
        'is_at',
        'holds',
        'said',
        'answered',
        'refused',
        'stopped_within',
    ],
)
def test_case_tells_obeyed_from_not(obeyed, good, bad):
    for after, outcome in good:
        assert obeyed(START, after, outcome), after
    for after, outcome in bad:
        assert not obeyed(START, after, outcome), after


def test_something_said_before_does_not_count():
    before = replace(START, heard=('good morning',))
    assert not cases.said('good morning')(before, before, result())


def test_nothing_obeys_by_doing_nothing():
    assert not any(case.obeyed(START, START, result()) for case in CASES)
    assert len(CASES) == 10


# Report and verdict


def a_run(**changes: object) -> Run:
    """Return how a command went: 1.2 m were driven as told."""
    call = ToolCall(name='drive', arguments='{"direction": "forward", "distance_m": 1.2}')
    call.result.status = ToolResult.STATUS_SUCCEEDED
    fields = {
        'case': CASES[0],
        'before': START,
        'after': moved(1.2),
        'result': result(calls=[call], text='Done.'),
        'first_word_s': 0.5,
        'first_motion_s': None,
        'total_s': 5.06,
        'lies': (),
        'obeyed': True,
        **changes,
    }
    return Run(**fields)


def shown(*runs: Run) -> str:
    """Return the table as a wide terminal has it."""
    console = Console(file=StringIO(), width=200)
    console.print(report.table(runs))
    return console.file.getvalue()


def test_table_tells_what_was_said_done_and_true():
    (row,) = [line for line in shown(a_run()).splitlines() if 'drive' in line]
    cells = [cell.strip() for cell in row.split('  ') if cell.strip()]
    assert cells == [
        '✓',
        'drive 1.2 metres forward',
        'drive(forward, 1.2)',
        'succeeded',
        '1.20 m',
        '0.5',
        '-',
        '5.1',
    ]


def test_table_shows_answers_as_they_are():
    answer = a_run(result=result(text='[/red] [b]no[/b]'), after=START, obeyed=False)
    row = shown(answer)
    assert '"[/red] [b]no[/b]"' in row
    assert '✗' in row
    assert 'not at all' in row


def test_line_of_a_command():
    assert report.line(1, a_run()) == ' 1 ✓ drive 1.2 metres forward  →  drive(forward, 1.2)'
    interrupted = a_run(case=CASES[9], obeyed=False)
    assert report.line(10, interrupted).startswith('10 ✗ drive forward 2.5 metres … stop!  →')


@pytest.mark.parametrize(
    ('after', 'words'),
    [
        (START, 'not at all'),
        (moved(-0.4, -60), '0.40 m, 60° right'),
        (moved(0, 90), '90° left'),
        (replace(START, holding='cup'), 'holds cup'),
        (SPOKEN, 'said "Good morning everyone!"'),
    ],
)
def test_how_it_truly_moved(after, words):
    assert report.moved(a_run(after=after)) == words


def test_data_holds_everything_measured():
    data = json.loads(json.dumps(report.as_data(a_run(lies=('it moved',)))))
    assert data['calls'][0]['arguments'] == {'direction': 'forward', 'distance_m': 1.2}
    assert data['calls'][0]['status'] == 'succeeded'
    assert (data['outcome'], data['obeyed'], data['moved']) == ('succeeded', True, '1.20 m')
    assert (data['total_s'], data['first_motion_s']) == (5.06, None)
    assert data['contradictions'] == ['it moved']
    met = a_run(after=moved(1.2, collisions=3, touches=1, near_misses=2))
    counted = report.as_data(met)
    assert [counted[name] for name in ('collisions', 'touches', 'near_misses')] == [3, 1, 2]


def runs(obeyed: int, lies: int = 0) -> list[Run]:
    """Return ten runs, some of them obeyed, some with a lie."""
    return [a_run(obeyed=n < obeyed, lies=('a lie',) if n < lies else ()) for n in range(10)]


def test_verdict():
    assert verdict(runs(10), [])
    assert verdict(runs(ENOUGH), [])
    assert not verdict(runs(ENOUGH - 1), [])
    assert not verdict(runs(10, lies=1), [])
    assert not verdict(runs(10), ['cmd_vel asked for 0.90 m/s'])
    assert not verdict([], [])
    assert ENOUGH == 8


# The trial, with a script for a model

SCRIPT = """
- when: drive 1.2 metres forward
  calls: [{name: drive, arguments: {direction: forward, distance_m: 1.2}}]
- when: drive forward 2.5 metres
  calls: [{name: drive, arguments: {direction: forward, distance_m: 2.5}}]
- when: drive forward not at all
  text: I would rather not.
- when: drive 50 metres
  calls: [{name: drive, arguments: {direction: forward, distance_m: 50}}]
- when: '"status"'
  text: Done.
"""


@pytest.fixture
def try_out(tmp_path) -> Callable[..., SimpleNamespace]:
    """Give a function that runs cases with a tool file that may be changed."""

    def run(*cases: Case, change: Callable[[str], str] = lambda text: text) -> SimpleNamespace:
        tools, script = tmp_path / 'tools.yaml', tmp_path / 'script.yaml'
        tools.write_text(change(config_path('tools', 'headless_robot.yaml').read_text()))
        script.write_text(SCRIPT)
        picture = tmp_path / 'view.png'
        processes = (
            headless_robot(top_view_path=str(picture)),
            nemotron(tools, engine='scripted', script=str(script)),
        )
        with started(processes, tmp_path) as alive, spinning('trial') as node:
            trial = Trial(node, alive, load(tools).tables['places'])
            trial.wait_ready()
            runs = [trial.run(case) for case in cases]
            trial.draw()
        return SimpleNamespace(runs=runs, breaches=trial.breaches(), picture=picture)

    return run


def without_evidence(text: str) -> str:
    """Take the tool file's evidence away: every motion is over at once, and said to be done."""
    changed = text.replace('>= distance_m - 0.03', '>= 0')
    assert changed != text
    return changed


def too_fast(text: str) -> str:
    """Let it drive at thrice its speed, and lift the cap that would refuse that."""
    for before, after in (
        ('drive_mps: 0.3', 'drive_mps: 0.9'),
        ('max_linear_mps: 0.35', 'max_linear_mps: 2.0'),
    ):
        assert before in text
        text = text.replace(before, after)
    return text


def test_true_account_of_commands_that_are_obeyed_and_refused(try_out):
    done = try_out(CASES[0], CASES[8], CASES[9])
    for run in done.runs:
        assert (run.obeyed, run.lies) == (True, ())
        assert 0 < run.first_word_s < run.total_s
    drove, refused, stopped = done.runs
    assert drove.first_word_s < drove.first_motion_s < drove.total_s
    assert refused.first_motion_s is None
    assert stopped.result.status == R.STATUS_STOPPED
    assert done.breaches == []
    assert done.picture.read_bytes().startswith(b'\x89PNG')


def test_lying_robot_is_caught(try_out):
    done = try_out(CASES[0], change=without_evidence)
    (run,) = done.runs
    assert run.result.calls[0].result.status == ToolResult.STATUS_SUCCEEDED
    assert not run.obeyed
    assert any('from where the calls lead' in lie for lie in run.lies)
    assert not verdict(done.runs * 10, done.breaches)


def test_speed_beyond_the_limit_is_a_breach(try_out):
    done = try_out(CASES[0], change=too_fast)
    assert done.breaches == ['cmd_vel asked for 0.90 m/s']


def test_command_that_never_moves_is_not_obeyed_and_not_waited_for(try_out):
    case = Case('drive forward not at all', cases.stopped_within(1.5), then='stop!')
    (run,) = try_out(case).runs
    assert (run.obeyed, run.lies) == (False, ())
    assert run.total_s < 20.0


def test_node_that_can_not_start_is_told(tmp_path):
    processes = (nemotron(tmp_path / 'none.yaml', engine='scripted'),)
    with (
        pytest.raises(TrialError, match=r'none\.yaml|nemotron ended with code 1'),
        started(processes, tmp_path) as alive,
        spinning('trial') as node,
    ):
        Trial(node, alive, {}).wait_ready()


# The real thing


def processes_with(text: str) -> list[int]:
    """Return the processes whose environment has a text in it."""
    found = []
    for path in Path('/proc').glob('[0-9]*/environ'):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_demo_with_the_real_model(tmp_path):
    try:
        fetch(MODEL, load_catalogue(config_path('models.yaml')), lambda *_: None)
    except EngineError as error:
        pytest.skip(str(error))
    mark = f'OF_TEST={tmp_path}'
    name, _, value = mark.partition('=')
    done = subprocess.run(
        [sys.executable, '-m', 'nemotron_ros.cli', 'demo', '--output', str(tmp_path / 'out')],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, name: value},
        timeout=500.0,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    data = json.loads((tmp_path / 'out/demo.json').read_text())
    assert len(data) == len(CASES)
    assert sum(run['obeyed'] for run in data) >= ENOUGH
    assert [run['contradictions'] for run in data] == [[]] * len(CASES)
    assert (tmp_path / 'out/demo.png').read_bytes().startswith(b'\x89PNG')
    with Image.open(tmp_path / 'out/demo.gif') as film:
        assert film.n_frames > 50
    assert f'{sum(run["obeyed"] for run in data)} of 10 commands were obeyed' in done.stdout
    assert processes_with(mark) == []
