"""The plain client that this package is compared with: a fair one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from programs import program

from nemotron_ros.agent import Limits
from nemotron_ros.evaluation.record import row_of
from nemotron_ros.evaluation.run import Item, Result
from nemotron_ros.tools.model import ToolFile

BACK = {'name': 'drive', 'arguments': {'direction': 'backward', 'distance_m': 0.5}}
FAR = {'name': 'drive', 'arguments': {'direction': 'backward', 'distance_m': 50}}
SCENARIO = """
robot: headless_robot
scenarios:
  reverse:
    say: [half a metre backward]
    expect: {calls: [drive: {direction: backward, distance_m: 0.5}]}
"""
BENCH = program('bench/tools_api.py')


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    """Return a message with calls, as the API gives it."""
    written = [
        {'id': f'id_{at}', 'type': 'function', 'function': {**call, 'arguments': text(call)}}
        for at, call in enumerate(calls)
    ]
    return {'role': 'assistant', 'content': None, 'tool_calls': written}


def text(call: dict[str, Any]) -> str:
    arguments = call['arguments']
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def saying(words: str) -> dict[str, Any]:
    return {'role': 'assistant', 'content': words}


@contextmanager
def answering(*messages: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve these messages in turn, and then an error; give the address and what was asked."""
    asked: list[dict[str, Any]] = []
    left = list(messages)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
            message = left.pop(0) if left else None
            usage = {'prompt_tokens': 7, 'completion_tokens': 3}
            data = {'choices': [{'message': message}], 'usage': usage}
            self.send_response(200 if message else 500)
            self.end_headers()
            self.wfile.write(json.dumps(data).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_port}', asked
        finally:
            server.shutdown()


@pytest.fixture
def came_of(scenarios, headless: ToolFile):
    """Run one item against a server that says what it is told to."""

    def run(*messages: dict[str, Any], reads_json: bool = False) -> tuple[Result, list[Any]]:
        (scenario,) = scenarios(SCENARIO)
        with answering(*messages) as (url, asked):
            client = BENCH.PlainClient(url, headless, Limits(), reads_json)
            try:
                return client.run(Item(scenario, 1)), asked
            finally:
                client.close()

    return run


def test_a_call_is_run_and_its_result_is_sent_back(came_of) -> None:
    result, asked = came_of(calling(BACK), saying('Done.'))
    row = row_of(result)
    assert (row.right, row.turns, row.prompt_tokens) == (True, 2, 14)
    assert 0 < row.first_call_s <= row.total_s
    assert [tool['function']['name'] for tool in asked[0]['tools']][:2] == ['drive', 'turn']
    assert asked[0]['tool_choice'] == 'auto'
    assert [message['role'] for message in asked[1]['messages']] == [
        'system', 'user', 'assistant', 'tool',
    ]  # fmt: skip
    assert asked[1]['messages'][-1]['tool_call_id'] == 'id_0'
    assert '"succeeded"' in asked[1]['messages'][-1]['content']


@pytest.mark.parametrize(
    'words',
    [
        json.dumps(BACK),
        f'```json\n{json.dumps(BACK)}\n```',
    ],
)
def test_json_in_the_words_is_a_call_for_who_reads_it(came_of, words: str) -> None:
    result, _ = came_of(saying(words))
    assert not result.score.called
    result, _ = came_of(saying(words), saying('Done.'), reads_json=True)
    assert result.score.right


@pytest.mark.parametrize('words', ['{"a": 1}', '[1]', 'I drive {"name": 1}', '{"name": "drive"'])
def test_other_words_stay_words(came_of, words: str) -> None:
    result, _ = came_of(saying(words), reads_json=True)
    assert (result.score.called, result.outcome.text) == (False, words)


@pytest.mark.parametrize(
    ('call', 'out_of_range', 'violations'),
    [
        (FAR, 1, 0),
        ({'name': 'fly', 'arguments': {}}, 0, 1),
        ({'name': 'drive', 'arguments': {'direction': 'backward'}}, 0, 1),
        ({'name': 'put_down', 'arguments': 'now'}, 0, 1),
    ],
)
def test_what_must_not_run_is_counted(came_of, call, out_of_range, violations) -> None:
    result, _ = came_of(calling(call), saying('Done.'))
    score = result.score
    assert (score.out_of_range, score.violations) == (out_of_range, violations)
    assert not score.exact


def test_an_error_of_the_server_is_no_answer(came_of) -> None:
    result, _ = came_of()
    assert (result.unreadable, result.score.right) == (1, False)
    assert '500' in result.outcome.error


def test_who_calls_for_ever_is_ended(came_of) -> None:
    result, asked = came_of(*(calling(BACK) for _ in range(20)))
    assert len(asked) == Limits().max_turns
    assert result.score.false_actions == ('drive',) * 5


def test_the_aims_are_held_against_the_better_of_the_two(came_of) -> None:
    good = row_of(came_of(calling(BACK), saying('Done.'))[0])
    bad = row_of(came_of(calling({**BACK, 'name': 'fly'}), saying('Done.'))[0])
    assert BENCH.shortfalls([bad], [good]) in ([], ['no more seconds to the end'])
    assert BENCH.shortfalls([good], [bad])[:2] == [
        '2 times as many exact calls',
        'no call against its schema',
    ]
    table = BENCH.side_by_side({'one': [bad], 'two': [good]})
    assert '| exact arguments | 0.0 % (0.0 - 79.3) | 100.0 % (20.7 - 100.0) | 1 |' in table
