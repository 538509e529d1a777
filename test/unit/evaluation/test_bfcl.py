"""The leaderboard's entries as requests, and its own checker on what comes of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nemotron_ros.agent import Sampling
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.cli import main
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    ModelInfo,
    OutputError,
    Progress,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.evaluation import bfcl
from nemotron_ros.evaluation.bfcl import CATEGORIES, BfclError, Entry, load, run_entries
from nemotron_ros.evaluation.record import Row

needs_bfcl = pytest.mark.skipif(
    bfcl.importlib.util.find_spec('bfcl_eval') is None, reason='bfcl-eval is not installed'
)

FUNCTION = {
    'name': 'robot.drive',
    'description': 'Drive.',
    'parameters': {
        'type': 'dict',
        'properties': {
            'speed': {'type': 'float', 'description': 'In m/s.'},
            'way': {'type': 'tuple', 'items': {'type': 'float'}, 'description': 'Points.'},
            'mode': {'type': 'any', 'enum': ['a', 'b'], 'default': 'a', 'description': 'How.'},
            'more': {
                'type': 'dict',
                'properties': {'loud': {'type': 'boolean'}},
                'required': ['loud', 'gone'],
                'description': 'More.',
            },
        },
        'required': ['speed'],
    },
}


def line(name: str, **more: Any) -> dict[str, Any]:
    said = [[{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Go.'}]]
    return {'id': name, 'question': said, 'function': [FUNCTION], **more}


def write(folder: Path, category: str, lines: list[Any], answers: list[Any] | None) -> str:
    (folder / 'possible_answer').mkdir(exist_ok=True)
    path = folder / f'BFCL_v4_{category}.json'
    path.write_text('\n'.join(map(json.dumps, lines)))
    if answers is not None:
        told = '\n'.join(map(json.dumps, answers))
        (folder / 'possible_answer' / path.name).write_text(told)
    return str(path)


ANSWER = {'id': 'a', 'ground_truth': [{'robot.drive': {'speed': [1.0], 'mode': ['', 'a']}}]}


def test_an_entry_is_a_request(tmp_path: Path) -> None:
    (entry,) = load(write(tmp_path, 'simple_python', [line('a')], [ANSWER]))
    assert [message.role for message in entry.messages] == ['system', 'user']
    assert entry.messages[0].content.endswith('Be brief.')
    (tool,) = entry.tools
    assert tool.name == 'robot_drive'
    assert tool.parameters == {
        'type': 'object',
        'properties': {
            'speed': {'type': 'number', 'description': 'In m/s.'},
            'way': {'type': 'array', 'items': {'type': 'number'}, 'description': 'Points.'},
            'mode': {'type': 'string', 'enum': ['a', 'b'], 'description': 'How.'},
            'more': {
                'type': 'object',
                'properties': {'loud': {'type': 'boolean'}},
                'required': ['loud'],
                'additionalProperties': False,
                'description': 'More.',
            },
        },
        'required': ['speed'],
        'additionalProperties': False,
    }


@pytest.mark.parametrize(
    ('make', 'told'),
    [
        (lambda _: 'simple_java.json', 'simple_java.json: expected simple_python, multiple'),
        (lambda f: str(f / 'BFCL_v4_multiple.json'), 'can not be read'),
        (lambda f: write(f, 'multiple', [line('a')], None), 'possible_answer.*can not be read'),
        (lambda f: write(f, 'multiple', [line('a')], []), 'a: has no answer in possible_answer'),
        (lambda f: write(f, 'irrelevance', [{'id': 'a'}], None), 'is no file of BFCL v4: KeyErr'),
        (lambda f: write(f, 'irrelevance', [3], None), 'is no file of BFCL v4: TypeError'),
    ],
)
def test_what_is_no_entry(tmp_path: Path, make: Callable[[Path], str], told: str) -> None:
    with pytest.raises(BfclError, match=told):
        load(make(tmp_path))


class Said:
    """An engine that says the same to all."""

    def __init__(self, deltas: list[Delta], error: Exception | None = None) -> None:
        self.deltas, self.error, self.requests = deltas, error, list[ChatRequest]()

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        return ModelInfo('said', 'said', 0)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        self.requests.append(request)
        yield from self.deltas
        if self.error is not None:
            raise self.error
        yield UsageDelta(10, 4, 3)

    def close(self) -> None:
        """Nothing is open."""


def call(**arguments: Any) -> Delta:
    return CallDelta(ToolCall('call_1', 'robot_drive', arguments))


def rows_of(entries: tuple[Entry, ...], engine: Said) -> list[Row]:
    rows: list[Row] = []
    run_entries(entries, lambda: engine, Sampling(), 10.0, lambda _, __: None, rows.append)
    return rows


@needs_bfcl
@pytest.mark.parametrize(
    ('category', 'said', 'right', 'verdict'),
    [
        ('simple_python', [call(speed=1.0)], True, 'right'),
        ('simple_python', [call(speed=1, mode='A')], True, 'right'),
        ('simple_python', [call(speed=2.0)], False, 'wrong arguments'),
        ('simple_python', [call(speed=1.0, loud=True)], False, 'wrong arguments'),
        ('simple_python', [call(speed=1.0), call(speed=1.0)], False, 'wrong tools'),
        ('simple_python', [TextDelta('No.')], False, 'nothing called'),
        ('parallel', [call(speed=1.0)], True, 'right'),
        ('irrelevance', [TextDelta('No.')], True, 'right'),
        ('irrelevance', [call(speed=1.0)], False, 'false action'),
        ('live_relevance', [call(speed=7.0)], True, 'right'),
        ('live_relevance', [TextDelta('No.')], False, 'nothing called'),
    ],
)
def test_the_checker_s_verdict(
    tmp_path: Path, category: str, said: list[Delta], right: bool, verdict: str
) -> None:
    entries = load(write(tmp_path, category, [line('a')], [ANSWER]))
    (row,) = rows_of(entries, Said(said))
    assert (row.right, row.verdict) == (right, verdict), row.error
    assert row.tags == (category,)
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (10, 4, 3)


@needs_bfcl
def test_of_a_turn_that_did_not_come_whole_nothing_counts(tmp_path: Path) -> None:
    entries = load(write(tmp_path, 'simple_python', [line('a')], [ANSWER]))
    (row,) = rows_of(entries, Said([call(speed=1.0)], OutputError('cut')))
    assert (row.right, row.called, row.unreadable, row.error) == (False, False, 1, 'cut')


@needs_bfcl
def test_the_leaderboard_s_own_clients_are_left_alone(tmp_path: Path) -> None:
    rows_of(load(write(tmp_path, 'irrelevance', [line('a')], None)), Said([]))
    assert 'bfcl_eval.constants.model_config' not in sys.modules


@needs_bfcl
@pytest.mark.parametrize('category', CATEGORIES)
def test_every_entry_can_be_asked_in_every_format(category: str) -> None:
    for entry in load(category)[:60]:
        for tool in entry.tools:
            Draft202012Validator.check_schema(tool.parameters)
        for form in (JsonCall(), NemotronXml()):
            assert form.grammar(entry.tools, False)


@needs_bfcl
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / 'script.yaml'
    script.write_text('- {when: Go., calls: [{name: robot_drive, arguments: {speed: 1.0}}]}\n')
    lines = [line('a'), line('b')]
    answers = [ANSWER, {'id': 'b', 'ground_truth': [{'robot.drive': {'speed': [2.0]}}]}]
    files = [
        write(tmp_path, 'simple_python', lines, answers),
        write(tmp_path, 'irrelevance', [line('c')], None),
    ]
    arguments = ['eval', '--engine', 'scripted', '--script', str(script)]
    arguments += ['--context-tokens', '100000', '--out', str(tmp_path / 'out')]
    assert main([*arguments, '--bfcl', *files]) == 0
    told = capsys.readouterr().out
    assert '| exact arguments  | 50.0 % ' in told
    assert '| false actions    | 33.3 % ' in told
    data = json.loads((tmp_path / 'out' / 'eval.json').read_text())
    assert data['settings']['part'] == 'BFCL v4 irrelevance, simple_python'
    assert main([*arguments, '--bfcl', 'simple_java.json']) == 1
    assert 'nemotron eval: simple_java.json: expected' in capsys.readouterr().err


def test_what_to_install_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith('bfcl_eval.')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'bfcl_eval', None)
    monkeypatch.setattr(bfcl.importlib.util, 'find_spec', lambda _name: None)
    with pytest.raises(BfclError, match='pip install --no-deps bfcl-eval'):
        load('simple_python')
    with pytest.raises(BfclError, match='pip install --no-deps bfcl-eval'):
        run_entries((), lambda: Said([]), Sampling(), 1.0, lambda _, __: None, print)
