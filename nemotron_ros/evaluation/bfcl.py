"""The Berkeley Function-Calling Leaderboard: its entries, held by its own checker.

Its functions are no robot's tools: a model is asked for one turn with them, in its own format and
held by the same grammar, and nothing is called. ``bfcl-eval`` brings the entries, their answers
and the checker.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from nemotron_ros.agent import Limits, Sampling
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Engine,
    EngineError,
    ModelInfo,
    OutputError,
    Progress,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.evaluation.record import Row, call_data

PREFIX = 'BFCL_v4_'
CATEGORIES = (
    'simple_python', 'multiple', 'parallel', 'parallel_multiple', 'irrelevance', 'live_simple',
    'live_multiple', 'live_parallel', 'live_parallel_multiple', 'live_irrelevance',
    'live_relevance',
)  # fmt: skip
"""Those of one turn, in Python's types."""
SYSTEM = (
    'Use the tools to do what the person asks: call each one that the request needs, with the '
    'values that it gives. If no tool fits, or a value that is required is missing, say so in one '
    'short sentence and call nothing.'
)
TYPES = {'dict': 'object', 'float': 'number', 'tuple': 'array', 'any': 'string'}
"""What the leaderboard calls by another name than JSON Schema."""
KEPT = ('description', 'enum')
MODEL = 'nemotron'
INSTALL = 'pip install --no-deps bfcl-eval'


class BfclError(ValueError):
    """The leaderboard's files or its checker can't be used. The message says what to do."""


@dataclass(frozen=True)
class Entry:
    """One question, the functions that there are, and the calls that answer it.

    ``answers`` are as the checker takes them; None where any call, or none, is the answer.
    """

    id: str
    category: str
    messages: tuple[Message, ...]
    functions: tuple[Mapping[str, Any], ...]
    answers: tuple[Mapping[str, Any], ...] | None

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """Return the functions as tools."""
        return tuple(
            ToolSpec(_name(function), function['description'], _schema(function['parameters']))
            for function in self.functions
        )


def load(what: str) -> tuple[Entry, ...]:
    """Read entries.

    :param what: a category, of ``bfcl-eval``; or the path of one of its files, with the answers
        in a folder ``possible_answer`` beside it.
    :raise BfclError: if that can't be done.
    """
    path = Path(what) if what.endswith('.json') else _data() / f'{PREFIX}{what}.json'
    category = path.stem.removeprefix(PREFIX)
    if category not in CATEGORIES:
        raise BfclError(f'{what}: expected {", ".join(CATEGORIES)}, or the path of its file')
    answers: dict[str, Any] = {}
    if not category.endswith('relevance'):
        found = _lines(path.parent / 'possible_answer' / path.name)
        answers = {line['id']: tuple(line['ground_truth']) for line in found}
    try:
        return tuple(_entry(line, category, answers) for line in _lines(path))
    except (KeyError, TypeError, IndexError) as error:
        raise BfclError(f'{path}: is no file of BFCL v4: {error!r}') from error


def run_entries(
    entries: Sequence[Entry],
    make_engine: Callable[[], Engine],
    sampling: Sampling,
    timeout_s: float,
    loading: Progress,
    told: Callable[[Row], None],
) -> ModelInfo:
    """Ask a model all entries, one turn each; ``told`` gets what came of each.

    :param entries: at least one.
    :raise BfclError: if the checker can't be had.
    :raise EngineError: if the engine can't be opened. One that fails later fails its entries.
    """
    check = _checker()
    engine = make_engine()
    try:
        model = engine.open(_request(entries[0], sampling), loading)
        for entry in entries:
            turn = _ask(engine, _request(entry, sampling), timeout_s)
            told(_row(entry, turn, _fault(check, entry, turn)))
    finally:
        engine.close()
    return model


@dataclass
class _Turn:
    """What a model said to one entry."""

    calls: list[ToolCall] = field(default_factory=list)
    text: str = ''
    error: str = ''
    unreadable: bool = False
    usage: UsageDelta = field(default_factory=lambda: UsageDelta(0, 0, 0))
    first_s: float = 0.0
    first_call_s: float = 0.0
    total_s: float = 0.0


def _request(entry: Entry, sampling: Sampling) -> ChatRequest:
    limits = Limits()
    return ChatRequest(
        entry.messages,
        entry.tools,
        limits.max_tokens + sampling.thinking * limits.thinking_tokens,
        sampling.temperature,
        sampling.seed,
        sampling.thinking,
        constrained=sampling.constrained,
    )


def _ask(engine: Engine, request: ChatRequest, timeout_s: float) -> _Turn:
    turn = _Turn()
    began_s = time.monotonic()
    cancel = CancelToken(timeout_s)
    try:
        with closing(engine.stream(request, cancel)) as stream:
            for delta in stream:
                turn.first_s = turn.first_s or time.monotonic() - began_s
                if isinstance(delta, CallDelta):
                    turn.first_call_s = turn.first_call_s or time.monotonic() - began_s
                    turn.calls.append(delta.call)
                elif isinstance(delta, TextDelta):
                    turn.text += delta.text
                elif isinstance(delta, UsageDelta):
                    turn.usage = delta
        if cancel.ended:
            turn.error = f'no end within {timeout_s:g} s'
    except EngineError as error:
        turn.error, turn.unreadable = str(error), isinstance(error, OutputError)
    if turn.error:
        turn.calls = []  # as in a robot: nothing is run of a turn that did not come whole
    turn.total_s = time.monotonic() - began_s
    return turn


def _fault(check: Callable[..., Any], entry: Entry, turn: _Turn) -> str:
    """Return what is wrong, as the leaderboard has it; empty if nothing is."""
    if entry.category.endswith('irrelevance'):
        return 'a call where none fits' if turn.calls else ''
    if entry.category.endswith('relevance'):
        return '' if turn.calls else 'no call where one fits'
    if not turn.calls:
        return 'no call'
    language = importlib.import_module('bfcl_eval.constants.enums').Language.PYTHON
    verdict = check(
        [dict(function) for function in entry.functions],
        [{call.name: dict(call.arguments)} for call in turn.calls],
        list(entry.answers or ()),
        language,
        entry.category,
        MODEL,
    )
    return '' if verdict['valid'] else '; '.join(map(str, verdict['error'])) or 'not valid'


def _row(entry: Entry, turn: _Turn, fault: str) -> Row:
    names = sorted(call.name for call in turn.calls)
    wanted = sorted(name.replace('.', '_') for answer in entry.answers or () for name in answer)
    none_fits = entry.category.endswith('irrelevance')
    right = not fault
    return Row(
        item=entry.id,
        scenario=entry.id,
        part='bfcl',
        robot='bfcl',
        tags=(entry.category,),
        run=0,
        say=tuple(message.content for message in entry.messages if message.role == 'user'),
        acts=not none_fits,
        still=none_fits,
        asks=False,
        refuses=False,
        calls=tuple(map(call_data, turn.calls)),
        text=turn.text,
        outcome='engine_failed' if turn.error else 'answered',
        error=turn.error or fault,
        called=bool(turn.calls),
        tool=right or (bool(names) and names == wanted),
        exact=right,
        answer=None,
        false_actions=tuple(names) if none_fits else (),
        out_of_range=0,
        violations=0,
        unreadable=int(turn.unreadable),
        right=right,
        turns=1,
        prompt_tokens=turn.usage.prompt_tokens,
        cached_tokens=turn.usage.cached_tokens,
        completion_tokens=turn.usage.completion_tokens,
        first_token_s=round(turn.first_s, 4),
        first_call_s=round(turn.first_call_s, 4),
        total_s=round(turn.total_s, 4),
    )


def _entry(line: Mapping[str, Any], category: str, answers: Mapping[str, Any]) -> Entry:
    if not category.endswith('relevance') and line['id'] not in answers:
        raise BfclError(f'{line["id"]}: has no answer in possible_answer')
    said = [Message(turn['role'], turn['content']) for turn in line['question'][0]]
    systems = [SYSTEM, *(message.content for message in said if message.role == 'system')]
    rest = (message for message in said if message.role != 'system')
    return Entry(
        line['id'],
        category,
        (Message('system', '\n\n'.join(systems)), *rest),
        tuple(line['function']),
        answers.get(line['id']),
    )


def _name(function: Mapping[str, Any]) -> str:
    """Return a function's name without dots, as the leaderboard gives it to OpenAI's API."""
    return re.sub(r'\.', '_', function['name'])


def _schema(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the leaderboard says of a value, as JSON Schema."""
    kind = TYPES.get(data['type'], data['type'])
    schema: dict[str, Any] = {'type': kind, **{key: data[key] for key in KEPT if key in data}}
    if kind == 'object' and data.get('properties'):
        schema['properties'] = {name: _schema(part) for name, part in data['properties'].items()}
        schema['required'] = [
            name for name in data.get('required', ()) if name in schema['properties']
        ]
        schema['additionalProperties'] = False
    if kind == 'array' and 'items' in data:
        schema['items'] = _schema(data['items'])
    return schema


def _lines(path: Path) -> Iterable[Any]:
    try:
        return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
    except (OSError, ValueError) as error:
        raise BfclError(f'{path}: can not be read: {error}') from error


def _data() -> Path:
    found = importlib.util.find_spec('bfcl_eval')
    if found is None or not found.submodule_search_locations:
        raise BfclError(f'bfcl-eval is not installed, which has the entries: {INSTALL}')
    return Path(found.submodule_search_locations[0], 'data')


def _checker() -> Callable[..., Any]:
    """Return the leaderboard's own checker.

    It looks one thing up in the leaderboard's table of models, whether dots in names were
    replaced. That table imports the clients of all vendors, and pins an old numpy: a table of
    one model stands in for it.
    """
    table = ModuleType('bfcl_eval.constants.model_config')
    table.MODEL_CONFIG_MAPPING = {MODEL: SimpleNamespace(underscore_to_dot=True)}  # type: ignore[attr-defined]
    before = sys.modules.get(table.__name__)
    sys.modules[table.__name__] = table
    try:
        checker = importlib.import_module('bfcl_eval.eval_checker.ast_eval.ast_checker')
    except ImportError as error:
        raise BfclError(f'bfcl-eval can not be used ({error}): {INSTALL}') from error
    finally:
        del sys.modules[table.__name__]
        if before is not None:
            sys.modules[table.__name__] = before
    check: Callable[..., Any] = checker.ast_checker
    return check
