"""``nemotron trace``: what it prints, and its exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from telling import Told

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.cli import main
from nemotron_ros.tools.result import Status
from nemotron_ros.trace.hashes import sha256_of
from nemotron_ros.trace.json_lines import JsonLines
from nemotron_ros.trace.verdict import Decision, verdict_of

SHORT = ('drive', {'seconds': 0.5})


@pytest.fixture
def trace(told: Told, tmp_path: Path) -> Path:
    """Give a trace of a command that did well, and of one that was refused."""
    told.command('go \x1b[31m on', SHORT, words=['Going ', 'on.'])
    told.command('fly', ('fly', {}), status='NOT_DONE')
    return write(told, tmp_path / 'a.jsonl')


def write(told: Told, path: Path) -> Path:
    origin = replace(told.trace.origin, tool_file_sha256=sha256_of(Path(told.file.path)))
    sink = JsonLines(path, origin)
    sink.write(told.entries)
    sink.close()
    return path


def test_show_tells_the_story_and_gives_the_terminal_no_orders(trace, capsys):
    assert main(['trace', 'show', str(trace)]) == 0
    told = capsys.readouterr().out
    assert '\x1b' not in told
    for piece in ('says: Going on.', 'calls drive {"seconds": 0.5}', 'admitted; succeeded'):
        assert piece in told
    assert 'invalid by unknown' in told
    assert 'not_done' in told


def test_show_as_json_is_the_trace_again(trace, capsys):
    assert main(['trace', 'show', '--json', str(trace)]) == 0
    assert capsys.readouterr().out == trace.read_text()


def test_stats_add_up(trace, capsys):
    assert main(['trace', 'stats', '--json', str(trace), str(trace)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told['commands'] == {'succeeded': 2, 'not_done': 2}
    assert told['refused'] == {'invalid by unknown': 2}
    assert told['tools'] == {'drive': {'succeeded': 2}, 'fly': {'invalid': 2}}
    assert told['seconds']['command: whole'] == [0.06, 0.06, 0.06]
    assert main(['trace', 'stats', str(trace)]) == 0
    assert 'command: first call' in capsys.readouterr().out


def test_replay_says_what_differs_by_its_exit_code(trace, told, write_tools, capsys):
    assert main(['trace', 'replay', str(trace)]) == 0
    assert 'as they were' in capsys.readouterr().out
    write_tools('minimum: 0.1', 'minimum: 0.6')
    assert main(['trace', 'replay', str(trace)]) == 1
    out = capsys.readouterr().out
    assert "differs: drive {'seconds': 0.5} (command command_0)" in out
    assert 'is not the tool file that was recorded' in out
    assert main(['trace', 'replay', '--json', str(trace)]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert report['differences'][0]['then'] == 'admitted'


def test_replay_does_not_pass_what_it_can_not_tell(told, tmp_path, capsys):
    empty = write(told, tmp_path / 'empty.jsonl')
    assert main(['trace', 'replay', str(empty)]) == 1
    assert 'holds no command' in capsys.readouterr().err
    told.command('go', SHORT)
    gone = write(told, tmp_path / 'gone.jsonl')
    Path(told.file.path).unlink()
    assert main(['trace', 'replay', str(gone)]) == 1
    assert '--tools FILE' in capsys.readouterr().err
    assert main(['trace', 'replay', str(tmp_path / 'missing.jsonl')]) == 1
    assert 'can not be read' in capsys.readouterr().err


def test_a_call_that_came_too_late_was_not_decided(told):
    over = CancelToken()
    over.cancel()
    result = told.dispatcher.run(ToolCall('call_1', *SHORT), frozenset(told.file.tools), over)
    assert result.status is Status.CANCELED
    assert verdict_of(result).decision is Decision.UNREACHED
