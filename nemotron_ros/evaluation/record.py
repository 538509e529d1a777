"""What is kept of a run: a row for each item, as JSON that later ones are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.evaluation.run import Result
from nemotron_ros.evaluation.split import part_of
from nemotron_ros.evaluation.whole_file import write_whole

FORMAT = 1
"""Of the file; another one is refused."""


class RecordError(ValueError):
    """A file is not the record of a run. The message says what to do."""


@dataclass(frozen=True)
class Row:
    """What came of an item in one run, in plain values.

    The first fields say what was asked; ``acts`` and ``still`` whether some call must be made,
    and whether nothing may act. For those of the score see :class:`Score`; times are in seconds,
    and ``first_call_s`` is 0 where nothing was called.
    """

    item: str
    scenario: str
    part: str
    robot: str
    tags: tuple[str, ...]
    run: int
    say: tuple[str, ...]
    acts: bool
    still: bool
    asks: bool
    refuses: bool
    calls: tuple[Mapping[str, Any], ...]
    text: str
    outcome: str
    error: str
    called: bool
    tool: bool
    exact: bool
    answer: bool | None
    false_actions: tuple[str, ...]
    out_of_range: int
    violations: int
    unreadable: int
    right: bool
    turns: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float
    first_call_s: float
    total_s: float

    @property
    def verdict(self) -> str:
        """Return what is to be said of it first, the worst before all."""
        if self.false_actions:
            return 'false action'
        if self.right:
            return 'right'
        if self.acts and not self.called:
            return 'nothing called'
        if not self.tool:
            return 'wrong tools'
        return 'wrong answer' if self.exact else 'wrong arguments'


@dataclass(frozen=True)
class Record:
    """A whole run.

    :param settings: what decides the result: engine, model, files, how it was asked.
    :param circumstances: when, where, and how long it took.
    """

    settings: Mapping[str, Any]
    circumstances: Mapping[str, Any]
    rows: tuple[Row, ...]


def row_of(result: Result) -> Row:
    """Return a result in plain values."""
    scenario, outcome, score = result.item.scenario, result.outcome, result.score
    expected, usage = scenario.expected, outcome.usage
    return Row(
        item=result.item.key,
        scenario=scenario.id,
        part=part_of(scenario.id),
        robot=scenario.robot,
        tags=scenario.tags,
        run=result.run,
        say=result.item.say,
        acts=all(expected.calls),
        still=expected.calls == ((),) and not expected.may,
        asks=expected.answer.asks,
        refuses=expected.answer.refuses,
        calls=tuple(
            call_data(record.call, record.result.status.name.lower(), record.result.error)
            for record in outcome.calls
        ),
        text=outcome.text,
        outcome=outcome.status.name.lower(),
        error=outcome.error,
        called=score.called,
        tool=score.tool,
        exact=score.exact,
        answer=score.answer,
        false_actions=score.false_actions,
        out_of_range=score.out_of_range,
        violations=score.violations,
        unreadable=result.unreadable,
        right=score.right,
        turns=result.turns,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        first_token_s=round(usage.time_to_first_token_s, 4),
        first_call_s=round(usage.time_to_first_call_s, 4),
        total_s=round(usage.total_s, 4),
    )


def call_data(call: ToolCall, status: str = '', error: str = '') -> dict[str, Any]:
    """Return a call in plain values; ``status`` is empty where nothing was to be run."""
    return {
        'name': call.name,
        'arguments': dict(call.arguments),
        'status': status,
        'error': error,
    }


def write(record: Record, path: Path) -> None:
    """Write a record; the file is there as a whole, or as it was before."""
    data = {
        'format': FORMAT,
        'settings': dict(record.settings),
        'circumstances': dict(record.circumstances),
        'rows': [asdict(row) for row in record.rows],
    }
    write_whole(path, json.dumps(data, ensure_ascii=False, indent=1))


def read(path: Path) -> Record:
    """Read a record.

    :raise RecordError: if it can't be.
    """
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
        if data['format'] != FORMAT:
            raise RecordError(
                f'{path}: format: expected {FORMAT}, got {data["format"]!r}; run the '
                'evaluation again'
            )
        return Record(
            dict(data['settings']), dict(data['circumstances']), tuple(map(_row, data['rows']))
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(
            f'{path}: is no record of an evaluation ({error}); expected the eval.json that '
            'nemotron eval writes'
        ) from error


def _row(data: Mapping[str, Any]) -> Row:
    names = {field.name for field in fields(Row)}
    if data.keys() != names:
        raise ValueError(f'fields that differ: {", ".join(sorted(data.keys() ^ names))}')
    lists = ('tags', 'say', 'calls', 'false_actions')
    values: dict[str, Any] = {**data, **{key: tuple(data[key]) for key in lists}}
    return Row(**values)
