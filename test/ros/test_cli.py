"""The ``nemotron`` command as people run it: a process of its own, against a running node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nemotron_msgs.msg import Event
from rclpy.lifecycle import TransitionCallbackReturn
from scripted_node import active_node
from servers import SwitchServer, VelocityLog

from nemotron_ros.bringup import config_path
from nemotron_ros.cli import main

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / 'test/fixtures'
SUCCESS = TransitionCallbackReturn.SUCCESS
ANSWERED = 3
SCRIPT = r"""
- when: remember
  text: I will.
- when: reset the terminal
  text: "\x1b[2J\x1b]0;mine\x07ha[/red]ha"
- when: chatter
  text: "word word word word word word word word word word word word word word word word word"
  delay_s: 3
"""


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, '-m', 'nemotron_ros.cli', *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding='utf-8',
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def finish(child: subprocess.Popen[str], timeout_s: float = 40.0) -> SimpleNamespace:
    """Wait for its end; return exit code, output and errors."""
    try:
        out, err = child.communicate(timeout=timeout_s)
    finally:
        child.kill()
    assert 'Traceback' not in err
    return SimpleNamespace(code=child.returncode, out=out, err=err)


def nemotron(*arguments: str, **environment: str) -> SimpleNamespace:
    """Run the command to its end."""
    return finish(start(*arguments, **environment))


@pytest.fixture
def robot(ros, tmp_path) -> Iterator[SimpleNamespace]:
    """Give an active node with a base and a switch, and the events that it tells."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT + (FIXTURES / 'script_bench.yaml').read_text())
    node = active_node(ros, script=str(script))
    outside = ros.node('outside')
    events: list[Event] = []
    outside.create_subscription(Event, 'nemotron/events', events.append, 100)
    yield SimpleNamespace(
        node=node,
        base=VelocityLog(outside),
        switch=SwitchServer(ros.node('switch_node')),
        events=events,
    )
    node.trigger_shutdown()


def test_ask_shows_calls_results_words_and_the_outcome(robot):
    done = nemotron('ask', 'please', 'drive', 'a', 'little')
    assert (done.code, done.err) == (0, '')
    call, result, words, outcome = done.out.splitlines()
    assert call == '→ drive {"seconds": 0.3}'
    assert result.startswith('✓ drive succeeded in 0.')
    assert words == 'Done.'
    assert outcome.startswith('succeeded (')
    assert 0.2 in robot.base.speeds


def test_ask_tells_what_was_not_done(robot):
    done = nemotron('ask', 'switch off')
    assert done.code == 1
    assert '✗ switch failed' in done.out
    assert 'not_done: switch: the switch is stuck' in done.out
    assert robot.base.speeds == []


def test_ask_json_is_a_document_a_line(robot):
    done = nemotron('ask', '--json', 'please drive a little')
    assert (done.code, done.err) == (0, '')
    *events, result = map(json.loads, done.out.splitlines())
    assert [event['sequence'] for event in events] == list(range(len(events)))
    assert events[-1]['phase'] == Event.PHASE_DONE
    assert (result['status'], result['text']) == (1, 'Done.')
    assert json.loads(result['calls'][0]['arguments']) == {'seconds': 0.3}


@pytest.mark.parametrize(('flag', 'thinks'), [('--think', True), ('--no-think', False)])
def test_ask_says_whether_the_model_reasons(robot, monkeypatch, flag, thinks):
    engine = robot.node._engine
    asked = []
    stream = engine.stream
    monkeypatch.setattr(
        engine,
        'stream',
        lambda request, cancel: (asked.append(request.thinking), stream(request, cancel))[1],
    )
    assert nemotron('ask', flag, 'hello').code == ANSWERED
    assert nemotron('ask', 'hello').code == ANSWERED
    assert asked == [thinks, False]


def test_ask_as_an_operator_ends_what_runs(robot, eventually):
    child = start('ask', 'please drive far')
    eventually(lambda: 0.2 in robot.base.speeds, 20.0)
    assert nemotron('ask', '--operator', 'hello').code == ANSWERED
    done = finish(child)
    assert done.code == 1
    assert 'preempted' in done.out
    assert robot.base.speeds[-1] == 0.0


@pytest.mark.parametrize('tools', ['switch', ''])
def test_ask_tools_bounds_what_it_may_use(robot, tools):
    done = nemotron('ask', '--tools', tools, 'please drive a little')
    assert done.code == 1
    assert '✗ drive denied' in done.out
    assert robot.base.speeds == []


def test_ask_with_a_tool_that_is_not_there_is_rejected(robot):
    done = nemotron('ask', '--tools', 'switch,warp', 'hello')
    assert done.code == 1
    assert "rejected: allowed_tools: no tool named 'warp'" in done.out


def test_ask_dry_run_sends_nothing(robot):
    done = nemotron('ask', '--dry-run', 'switch on')
    assert done.code == 0
    assert 'not_run' in done.out
    assert robot.switch.asked == 0


def test_ask_goes_on_with_a_session(robot):
    done = nemotron('ask', '--session', 'of mine', 'remember')
    assert done.code == ANSWERED
    assert 'session of mine)' in done.out
    assert {event.session_id for event in robot.events} == {'of mine'}


def test_ask_timeout_reaches_the_node(robot, eventually):
    done = nemotron('ask', '--timeout', '0.7', 'please drive far')
    assert done.code == 1
    assert 'timed_out:' in done.out
    eventually(lambda: robot.base.speeds[-1:] == [0.0])


def test_what_the_model_writes_gives_no_orders_to_the_terminal(robot):
    done = nemotron('ask', 'reset the terminal', FORCE_COLOR='', TERM='dumb')
    assert done.out.splitlines()[0] == '[2J]0;mineha[/red]ha'


def test_words_that_the_terminal_has_no_letters_for(robot):
    done = nemotron('ask', 'please drive a little', PYTHONIOENCODING='ascii')
    assert (done.code, done.err) == (0, '')
    assert done.out.splitlines()[0] == '? drive {"seconds": 0.3}'


@pytest.mark.parametrize('times', [1, 30])
def test_interrupt_cancels_and_the_robot_stops(robot, times, eventually):
    child = start('ask', 'please drive far')
    eventually(lambda: 0.2 in robot.base.speeds, 20.0)
    for _ in range(times):
        child.send_signal(signal.SIGINT)
        time.sleep(0.01)
    done = finish(child)
    assert (done.code, done.err) == (130, '')
    assert '✗ drive canceled' in done.out
    assert 'canceled: canceled by the client' in done.out
    eventually(lambda: robot.base.speeds[-1:] == [0.0])
    assert nemotron('ask', 'hello').code == ANSWERED


def test_interrupt_while_the_model_speaks(robot, eventually):
    child = start('ask', '--json', 'think')
    eventually(lambda: bool(robot.events), 20.0)
    child.send_signal(signal.SIGINT)
    done = finish(child)
    assert (done.code, done.err) == (130, '')
    assert json.loads(done.out.splitlines()[-1])['status'] == 4


def test_interrupt_while_nobody_is_there():
    child = start('ask', 'hello')
    time.sleep(2.0)  # by then it looks for the node
    child.send_signal(signal.SIGINT)
    began_s = time.monotonic()
    done = finish(child)
    assert (done.code, done.out, done.err) == (130, '', '')
    assert time.monotonic() - began_s < 5.0


@pytest.mark.parametrize('form', ['words', '--json'])
def test_reader_that_goes_away_ends_the_command(robot, form, eventually):
    child = start('ask', *(['--json'] if form == '--json' else []), 'chatter')
    eventually(lambda: bool(robot.events), 20.0)
    assert child.stdout is not None
    child.stdout.close()
    child.stdout = None
    done = finish(child)
    assert (done.code, done.err) == (1, '')
    eventually(lambda: robot.events[-1].phase == Event.PHASE_DONE)
    assert 'CANCELED' in robot.events[-1].detail


def test_nobody_is_there_or_not_active(robot):
    assert robot.node.trigger_deactivate() == SUCCESS
    began_s = time.monotonic()
    nobody = ('--node', 'robot_2/nemotron')
    children = (start('ask', 'hello'), start('ask', 'hello', *nobody))
    inactive, ask, tools = map(finish, (*children, start('tools', 'list', *nobody)))
    assert 'nemotron is inactive and not active' in inactive.err
    assert ask.err.startswith('nemotron ask: nobody serves robot_2/nemotron/execute_command')
    assert tools.err.startswith('nemotron tools: nobody serves robot_2/nemotron/list_tools')
    for done in (inactive, ask, tools):
        assert (done.code, done.out, len(done.err.splitlines())) == (1, '', 1)
    assert time.monotonic() - began_s < 20.0


def test_tools_list(robot):
    done = nemotron('tools', 'list', COLUMNS='200')
    assert (done.code, done.err) == (0, '')
    for words in ('tools_bench.yaml', 'seconds', 'Drive for a time.', 'switch (std_srvs/srv/'):
        assert words in done.out


def test_tools_list_json(robot):
    done = nemotron('tools', 'list', '--json', '--node', '/nemotron')
    assert (done.code, done.err) == (0, '')
    drive, switch = json.loads(done.out)
    assert (drive['name'], drive['kind']) == ('drive', 'topic')
    assert drive['rules'] == {'exclusive': 'motion'}
    assert switch['parameters']['properties'] == {'on': {'type': 'boolean'}}


def test_tools_check_of_a_good_file():
    path = config_path('tools', 'headless_robot.yaml')
    done = nemotron('tools', 'check', str(path))
    assert (done.code, done.err) == (0, '')
    assert done.out == f'{path}: 9 tools, no problem found\n'


def test_tools_check_tells_every_problem_with_its_line(tmp_path):
    path = tmp_path / 'tools.yaml'
    text = (FIXTURES / 'tools_bench.yaml').read_text()
    path.write_text(text.replace('x: 0.2', 'fast: 0.2').replace('srv/SetBool', 'srv/Nothing'))
    done = nemotron('tools', 'check', str(path))
    assert (done.code, done.out) == (1, '')
    first, second = done.err.splitlines()
    assert first.startswith(f'{path}:8: tools.drive.topic.message')
    assert second.startswith(f'{path}:13: tools.switch.service.type')


@pytest.mark.parametrize('name', ['none.yaml', '.'])
def test_tools_check_of_what_is_no_file(tmp_path, name):
    done = nemotron('tools', 'check', str(tmp_path / name))
    assert (done.code, done.out) == (1, '')
    assert done.err.startswith(str(tmp_path))


def test_model_list():
    done = nemotron('model', 'list', COLUMNS='200')
    assert (done.code, done.err) == (0, '')
    for words in ('nemotron', 'NVIDIA-Nemotron3-Nano-4B-Q4_K_M.gguf', '2837', 'Apache-2.0'):
        assert words in done.out


def test_model_fetch_of_a_name_that_is_not_known():
    done = nemotron('model', 'fetch', 'gpt')
    assert (done.code, done.out) == (1, '')
    assert done.err.startswith("nemotron model: 'gpt' is neither a file nor a known model")
    assert 'nemotron, qwen2.5-coder-0.5b, smollm2-135m' in done.err


def test_model_fetch_of_a_file_that_is_no_model(tmp_path):
    path = tmp_path / 'model.gguf'
    path.write_text('not a model')
    done = nemotron('model', 'fetch', str(path))
    assert (done.code, done.out) == (1, '')
    assert str(path) in done.err


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((), 'required: VERB'),
        (('fly',), "invalid choice: 'fly'"),
        (('ask',), 'required: command'),
        (('ask', 'hello', '--loudly'), '--loudly'),
        (('ask', 'hello', '--timeout', 'nan'), "--timeout: expected seconds > 0, got 'nan'"),
        (('ask', 'hello', '--timeout', 'inf'), "--timeout: expected seconds > 0, got 'inf'"),
        (('ask', 'hello', '--timeout', '0'), "--timeout: expected seconds > 0, got '0'"),
        (('ask', 'hello', '--timeout', 'soon'), "--timeout: expected seconds > 0, got 'soon'"),
        (('ask', 'hello', '--node', 'my robot'), '--node: expected a name'),
        (('ask', 'hello', '--node', ''), '--node: expected a name'),
        (('ask', '\udcff'), 'command: expected UTF-8'),
        (('tools', 'list', '--node', 'a//b'), '--node: expected a name'),
        (('tools',), 'required: ACTION'),
        (('model', 'fetch'), 'required: name'),
    ],
    ids=lambda value: ' '.join(map(ascii, value)) if isinstance(value, tuple) else '',
)
def test_wrong_usage(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, '')
    assert words in err


def test_wrong_usage_as_a_process():
    done = nemotron('ask', 'hello', '--timeout', 'nan')
    assert (done.code, done.out) == (2, '')
    assert done.err.startswith('usage: nemotron ask')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('--model', 'gpt'), "nemotron demo: 'gpt' is neither a file nor a known model"),
        (('--model', 'tiny.gguf'), 'nemotron demo: tiny.gguf'),
    ],
    ids=['name', 'path'],
)
def test_demo_without_a_model(arguments, words, tmp_path):
    done = nemotron('demo', '--output', str(tmp_path), *arguments)
    assert (done.code, done.out) == (1, '')
    assert words in done.err
