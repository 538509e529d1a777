"""Our scenarios by llama-server's own ``tools`` API, and by this package, side by side.

All have the same model file, the same tool descriptions and schemas, the same system turn, one
thread each, and greedy sampling.

* *tools API* is a plain client: it sends ``tools``, runs the ``tool_calls`` that come back, and
  sends their results, until there are none.
* *tools API, JSON read* does so too, and takes JSON in an answer's words for the call that it was
  meant to be. Small models write most of their calls in this way, unseen by the server.
* *nemotron_ros* is the agent with its embedded engine.

Each item is asked of one after the other, so that whatever else the machine does slows all. All
calls pass the validator and the guard, and count as actions only if these let them through: what
is compared is how well the model is asked. A plain client that has neither would have acted on
every call that is counted as out of range or against its schema. ::

    . scripts/env.bash
    python bench/tools_api.py                      # the tuning part
    python bench/tools_api.py --part heldout
    python bench/tools_api.py --limit 60 --model qwen2.5-coder-0.5b

Exit code 1 unless there are, against the second of them, at least twice as many exact calls, at
most half as many false actions, no call against its schema, and no more seconds to the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from nemotron_ros.agent import Command, Limits
from nemotron_ros.agent.story import Story
from nemotron_ros.bringup import config_path
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.chat.prompt import SYSTEM, result_content
from nemotron_ros.cli.scenario_files import scenario_files
from nemotron_ros.engine.factory import EngineSettings, make_engine
from nemotron_ros.engine.loopback import HOST, free_port
from nemotron_ros.engine.model_files import find, load_catalogue
from nemotron_ros.evaluation.record import Record, Row, row_of, write
from nemotron_ros.evaluation.run import (
    SESSION,
    Conduct,
    Item,
    Result,
    is_asked,
    items_of,
    run_items,
)
from nemotron_ros.evaluation.scenario import load
from nemotron_ros.evaluation.score import Judge
from nemotron_ros.evaluation.split import PARTS
from nemotron_ros.evaluation.summary import by_tag, costs, rates
from nemotron_ros.evaluation.world import dispatcher
from nemotron_ros.events import CallRecord, CommandStatus, Outcome
from nemotron_ros.tools import tool_file
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.result import Status, ToolResult

SERVER = Path(__file__).parents[1] / 'test' / 'engine' / 'llama_server.py'
CONTEXT_TOKENS = 4096
START_S = 120.0
COMMAND_S = 120.0
API, API_JSON, OURS = 'tools API', 'tools API, JSON read', 'nemotron_ros'
SIDES = (API, API_JSON, OURS)
FILES = ('tools_api.json', 'tools_api_json_read.json', 'nemotron_ros.json')
TIMES_AS_EXACT = 2.0
SHARE_OF_FALSE = 0.5


@contextmanager
def server(model: Path, folder: Path) -> Iterator[str]:
    """Run llama.cpp's server; yield where it is."""
    port = free_port()
    command = [sys.executable, str(SERVER), '--port', str(port), '--model', str(model)]
    with (
        (folder / 'server.log').open('w') as log,
        subprocess.Popen([*command, '--ctx-size', str(CONTEXT_TOKENS)], stderr=log) as process,
    ):
        try:
            url = f'http://{HOST}:{port}'
            wait_ready(url, process)
            yield url
        finally:
            process.kill()


def wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server has loaded its model."""
    until_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until_s:
        try:
            if httpx.get(f'{url}/health').status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f'the server has not come up within {START_S:g} s; see its server.log')


@dataclass(frozen=True)
class Turn:
    """What the server has answered: a message, what it has cost, or why there is none."""

    message: dict[str, Any]
    usage: dict[str, Any]
    error: str = ''


class PlainClient:
    """A loop round the ``tools`` API, as the server's documents show it.

    :param reads_json: takes JSON in an answer's words for calls.
    """

    def __init__(self, url: str, file: ToolFile, limits: Limits, reads_json: bool) -> None:
        self._client = httpx.Client(base_url=url, timeout=COMMAND_S)
        self._file = file
        self._limits = limits
        self._reads_json = reads_json
        self._judge = Judge(file)
        self._tools = [
            {
                'type': 'function',
                'function': {
                    'name': tool.spec.name,
                    'description': tool.spec.description,
                    'parameters': dict(tool.spec.parameters),
                },
            }
            for tool in file.tools.values()
        ]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def warm(self) -> None:
        """Have the server read what every command begins with, as our engine has when it opens."""
        self._ask([{'role': 'system', 'content': SYSTEM}, {'role': 'user', 'content': '.'}], 1)

    def run(self, item: Item) -> Result:
        """Say what an item says, and judge what comes of its last turn."""
        messages: list[dict[str, Any]] = [{'role': 'system', 'content': SYSTEM}]
        for words in item.say:
            outcome, turns, unreadable = self._command(item, words, messages)
        score = self._judge.score(item.scenario.expected, outcome)
        return Result(item, 0, outcome, score, turns, unreadable)

    def _command(
        self, item: Item, words: str, messages: list[dict[str, Any]]
    ) -> tuple[Outcome, int, int]:
        """Carry out one command; return its outcome, its turns, and those that had none."""
        gate = dispatcher(self._file, item.scenario.world)
        allowed = frozenset(self._file.tools)
        cancel = CancelToken(COMMAND_S)
        story = Story(Command(item.key, words), SESSION, lambda _event: None)
        messages.append({'role': 'user', 'content': words})
        for turn in range(1, self._limits.max_turns + 1):
            answer = self._ask(messages, self._limits.max_tokens)
            story.usage = _added(story, answer)
            if answer.error:
                failed = Outcome(CommandStatus.ENGINE_FAILED, error=answer.error)
                return story.end(failed), turn, 1
            message = _with_calls(answer.message) if self._reads_json else answer.message
            messages.append(message)
            story.text = message.get('content') or ''
            calls = message.get('tool_calls') or []
            if not calls:
                return story.end(story.judge()), turn, 0
            if len(story.records) + len(calls) > self._limits.max_calls:
                return story.end(story.judge('too many calls')), turn, 0
            if not story.records:
                first_s = story.elapsed_s()
                story.usage = replace(story.usage, time_to_first_call_s=first_s)
            for told in calls:
                call, fault = _call(told)
                if fault:
                    result = ToolResult(Status.INVALID, None, fault)
                else:
                    result = gate.run(call, allowed, cancel, tally=story.tally)
                story.records.append(CallRecord(call, result))
                status = result.status.name.lower()
                content = result_content(call.name, status, result.value, result.error)
                messages.append({'role': 'tool', 'tool_call_id': call.id, 'content': content})
        return story.end(story.judge('no answer')), self._limits.max_turns, 0

    def _ask(self, messages: list[dict[str, Any]], max_tokens: int) -> Turn:
        try:
            answer = self._client.post(
                '/v1/chat/completions',
                json={
                    'messages': messages,
                    'tools': self._tools,
                    'tool_choice': 'auto',
                    'temperature': 0.0,
                    'seed': 0,
                    'max_tokens': max_tokens,
                },
            )
        except httpx.TransportError as error:
            return Turn({}, {}, f'the server does not answer: {error!r}')
        if answer.status_code != httpx.codes.OK:
            return Turn({}, {}, f'the server says {answer.status_code}: {answer.text:.200}')
        data = answer.json()
        return Turn(data['choices'][0]['message'], data.get('usage', {}))


def _with_calls(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message whose words are calls, one in each line, with the calls in their place."""
    lines = [line for line in (message.get('content') or '').splitlines() if line.strip(' `')]
    calls = []
    for line in lines[1:] if lines[:1] == ['```json'] else lines:
        try:
            told = json.loads(line)
        except ValueError:
            return message
        if not isinstance(told, dict) or not isinstance(told.get('name'), str):
            return message
        function = {'name': told['name'], 'arguments': json.dumps(told.get('arguments', {}))}
        calls.append({'id': f'call_{len(calls)}', 'type': 'function', 'function': function})
    return {**message, 'content': '', 'tool_calls': calls} if calls else message


def _call(told: dict[str, Any]) -> tuple[ToolCall, str]:
    """Return a call, and why it can't be one; its arguments are whatever was written."""
    function = told['function']
    try:
        arguments = json.loads(function['arguments'] or '{}')
        if isinstance(arguments, dict):
            return ToolCall(told['id'], function['name'], arguments), ''
    except ValueError:
        pass
    call = ToolCall(told['id'], function['name'], {'unreadable': function['arguments']})
    return call, 'the arguments are no JSON object'


def _added(story: Story, turn: Turn) -> Any:
    details = turn.usage.get('prompt_tokens_details') or {}
    return replace(
        story.usage,
        prompt_tokens=story.usage.prompt_tokens + turn.usage.get('prompt_tokens', 0),
        cached_tokens=story.usage.cached_tokens + details.get('cached_tokens', 0),
        completion_tokens=story.usage.completion_tokens + turn.usage.get('completion_tokens', 0),
    )


@cache
def tools_of(robot: str) -> ToolFile:
    """Return a shipped robot's tool file."""
    return tool_file.load(config_path('tools', f'{robot}.yaml'))


def chosen(part: str, tags: Sequence[str], limit: int) -> list[Item]:
    """Return the items to ask: the same ones each time, of all files alike."""
    every = items_of(load(scenario_files(), tools_of))
    items = [item for item in every if is_asked(item, part, tags)]
    lots = sorted(items, key=lambda item: hashlib.sha256(item.key.encode()).digest())
    return lots[: limit or None]


def side_by_side(rows: Mapping[str, Sequence[Row]]) -> str:
    """Return what the runs have come to, as a Markdown table."""
    lines = [f'| | {" | ".join(rows)} | n |', f'|---|{"---|" * len(rows)}---|']
    found = [rates(those) for those in rows.values()]
    for name, first in found[0].items():
        if first.n:
            lines.append(
                f'| {name} | {" | ".join(str(each[name]) for each in found)} | {first.n} |'
            )
    spent = [costs(those) for those in rows.values()]
    for name in dict.fromkeys(name for each in spent for name in each):
        lines.append(f'| {name} | {" | ".join(_told(each.get(name)) for each in spent)} | |')
    return '\n'.join(lines)


def tags_side_by_side(rows: Mapping[str, Sequence[Row]]) -> str:
    """Return how much of each kind of command was all right, and how much acted falsely."""
    kinds = ('all right', 'false actions')
    names = [f'{kind}, {side}' for kind in kinds for side in rows]
    lines = [f'| | n | {" | ".join(names)} |', f'|---|---|{"---|" * len(names)}']
    tagged = [by_tag(those) for those in rows.values()]
    for tag in tagged[0]:
        found = [rates(each[tag]) for each in tagged]
        shares = [f'{100 * each[kind].share:.0f} %' for kind in kinds for each in found]
        lines.append(f'| {tag} | {found[0]["all right"].n} | {" | ".join(shares)} |')
    return '\n'.join(lines)


def _told(value: object) -> str:
    return '-' if value is None else f'{value:.2f}' if isinstance(value, float) else str(value)


def shortfalls(before: Sequence[Row], after: Sequence[Row]) -> list[str]:
    """Return which of the four aims are not met."""
    theirs, ours = rates(before), rates(after)
    seconds = [statistics.median(row.total_s for row in rows) for rows in (before, after)]
    aims = {
        f'{TIMES_AS_EXACT:g} times as many exact calls': ours['exact arguments'].share
        >= TIMES_AS_EXACT * theirs['exact arguments'].share,
        f'{SHARE_OF_FALSE:g} times as many false actions': ours['false actions'].share
        <= SHARE_OF_FALSE * theirs['false actions'].share,
        'no call against its schema': not sum(row.violations for row in after),
        'no more seconds to the end': seconds[1] <= seconds[0],
    }
    return [aim for aim, is_met in aims.items() if not is_met]


def keep(rows: Mapping[str, Sequence[Row]], arguments: argparse.Namespace) -> None:
    """Write each side's rows, so that ``nemotron eval compare`` can take them."""
    asked = {'model': arguments.model, 'part': arguments.part, 'tags': list(arguments.tags)}
    for side, name in zip(SIDES, FILES, strict=True):
        record = Record({'engine': side, **asked}, {}, tuple(rows[side]))
        write(record, arguments.out / name)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--model', default='qwen2.5-coder-0.5b', help='a name or a GGUF file')
    parser.add_argument('--part', choices=(*PARTS, 'all'), default='tuning')
    parser.add_argument('--tags', nargs='+', default=(), metavar='TAG')
    parser.add_argument('--limit', type=int, default=0, help='ask so many of the items')
    parser.add_argument('--out', type=Path, default=Path('out/tools_api'))
    arguments = parser.parse_args()
    catalogue = load_catalogue(config_path('models.yaml'))
    model = find(arguments.model, catalogue)
    items = chosen(arguments.part, arguments.tags, arguments.limit)
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = EngineSettings('llama_cpp', str(model), context_tokens=CONTEXT_TOKENS, threads=1)
    conduct = Conduct(timeout_s=COMMAND_S)
    rows: dict[str, list[Row]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        url = stack.enter_context(server(model, arguments.out))
        clients: dict[tuple[str, str], PlainClient] = {}

        def client(robot: str, side: str) -> PlainClient:
            if (robot, side) not in clients:
                made = PlainClient(url, tools_of(robot), conduct.limits, side == API_JSON)
                stack.callback(made.close)
                made.warm()
                clients[robot, side] = made
            return clients[robot, side]

        def told(ours: Result) -> None:
            for side in (API, API_JSON):
                theirs = client(ours.item.scenario.robot, side).run(ours.item)
                rows[side].append(row_of(theirs))
            rows[OURS].append(row_of(ours))
            print(f'\r{len(rows[OURS])} of {len(items)}', end='', file=sys.stderr, flush=True)

        files = {item.scenario.robot: tools_of(item.scenario.robot) for item in items}
        # Whatever ends it, what was measured by then is kept.
        stack.callback(keep, rows, arguments)
        run_items(
            items,
            files,
            lambda: make_engine(settings, catalogue, lambda _state, _text: None),
            conduct,
            lambda _share, _what: None,
            told,
        )
    print(f'\n{side_by_side(rows)}\n\n{tags_side_by_side(rows)}')
    missed = shortfalls(rows[API_JSON], rows[OURS])
    for aim in missed:
        print(f'not met: {aim}')
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
