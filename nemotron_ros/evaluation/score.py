"""What was called, held against what should be. Only what a call truly came to counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nemotron_ros.agent.asking import ASK_USER
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.evaluation.scenario import Expected, WantedAnswer, WantedCall
from nemotron_ros.events import CallRecord, CommandStatus, Outcome
from nemotron_ros.tools.model import Reading, ToolFile
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.validate import Validator

KEPT_BACK = frozenset({Status.PENDING, Status.INVALID, Status.DENIED, Status.NOT_RUN})
"""How calls end that have not reached the robot."""
CUT_SHORT = frozenset(
    {
        CommandStatus.UNKNOWN,
        CommandStatus.REJECTED,
        CommandStatus.CANCELED,
        CommandStatus.STOPPED,
        CommandStatus.TIMED_OUT,
        CommandStatus.ENGINE_FAILED,
        CommandStatus.PREEMPTED,
    }
)
"""How commands end that the model has not brought to an end."""
Fits = Callable[[WantedCall, ToolCall], bool]
RANGES = frozenset({'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'})


@dataclass(frozen=True)
class Score:
    """How good one answer of the model was.

    :param called: it asked for a call, whatever came of it.
    :param tool: the calls are of the right tools, in order, none missing and none besides;
        those count as well that were refused, and not made good by a later one.
    :param exact: the calls that reached the robot are right, with their arguments.
    :param answer: the words are as they should be; None where nothing is said of them.
    :param false_actions: tools that acted, each as often as it did beyond what was expected.
    :param out_of_range: calls with a number out of its range, which were refused.
    :param violations: calls that break their schema in any other way, or have no tool; refused.
    :param right: all of it is as it should be, and the command has come to its end.
    """

    called: bool
    tool: bool
    exact: bool
    answer: bool | None
    false_actions: tuple[str, ...]
    out_of_range: int
    violations: int
    right: bool


class Judge:
    """Scores what was done with one tool file."""

    def __init__(self, tool_file: ToolFile) -> None:
        self._reads = frozenset(
            name for name, tool in tool_file.tools.items() if isinstance(tool.binding, Reading)
        )
        self._without_ranges = {
            name: Validator(replace(tool.spec, parameters=_without_ranges(tool.spec.parameters)))
            for name, tool in tool_file.tools.items()
        }

    def score(self, expected: Expected, outcome: Outcome) -> Score:
        """Return how good an outcome is."""
        asked = [record for record in outcome.calls if record.call.name != ASK_USER.name]
        made = [self._as_run(record) for record in asked if record.result.status not in KEPT_BACK]
        chosen = [record.call for at, record in enumerate(asked) if _is_choice(at, asked)]
        best = max(
            (self._held(wanted, expected, made, chosen) for wanted in expected.calls),
            key=lambda held: (held.exact, held.tool, -len(held.false_actions)),
        )
        invalid = [record.call for record in asked if record.result.status is Status.INVALID]
        violations = sum(self._breaks_its_schema(call) for call in invalid)
        acted = any(call.name not in self._reads for call in made)
        answer = _answer(expected.answer, outcome, acted, asked)
        return Score(
            bool(asked),
            best.tool,
            best.exact,
            answer,
            best.false_actions,
            len(invalid) - violations,
            violations,
            best.exact and answer is not False and outcome.status not in CUT_SHORT,
        )

    def _held(
        self,
        wanted: Sequence[WantedCall],
        expected: Expected,
        made: Sequence[ToolCall],
        chosen: Sequence[ToolCall],
    ) -> _Held:
        """Hold calls against one list of those that are wanted: those made, those chosen."""
        besides = (self._reads | expected.may) - expected.never

        def fit(calls: Sequence[ToolCall], fits: Fits) -> bool:
            return _fit(tuple(wanted), tuple(calls), fits, besides, expected.any_order)

        more = Counter(call.name for call in made) - Counter(call.tool for call in wanted)
        false = tuple(sorted(name for name in more.elements() if name not in besides))
        tool = fit(made, _same_tool) or fit(chosen, _same_tool)
        return _Held(tool, fit(made, _same_call), false)

    def _as_run(self, record: CallRecord) -> ToolCall:
        """Return a call with what it was run with: defaults filled in, clamped numbers clamped."""
        arguments = self._without_ranges[record.call.name].complete(record.call.arguments)
        return replace(record.call, arguments={**arguments, **record.result.clamped})

    def _breaks_its_schema(self, call: ToolCall) -> bool:
        """Whether a call is wrong apart from its numbers' ranges."""
        validator = self._without_ranges.get(call.name)
        return validator is None or bool(validator.check(call.arguments))


@dataclass(frozen=True)
class _Held:
    tool: bool
    exact: bool
    false_actions: tuple[str, ...]


def _is_choice(at: int, asked: Sequence[CallRecord]) -> bool:
    """Whether a call shows what the model chose: it was not left out, nor made good later."""
    record = asked[at]
    if record.result.status is Status.NOT_RUN:
        return False
    later = {other.call.name for other in asked[at + 1 :]}
    return record.result.status not in KEPT_BACK or record.call.name not in later


def _fit(
    wanted: tuple[WantedCall, ...],
    made: tuple[ToolCall, ...],
    fits: Fits,
    besides: frozenset[str],
    any_order: bool,
) -> bool:
    """Whether the wanted calls were made, and besides only what may be."""
    if not made:
        return not wanted
    for at, call in enumerate(wanted if any_order else wanted[:1]):
        left = (*wanted[:at], *wanted[at + 1 :])
        if fits(call, made[0]) and _fit(left, made[1:], fits, besides, any_order):
            return True
    return made[0].name in besides and _fit(wanted, made[1:], fits, besides, any_order)


def _same_tool(wanted: WantedCall, made: ToolCall) -> bool:
    return wanted.tool == made.name


def _same_call(wanted: WantedCall, made: ToolCall) -> bool:
    return _same_tool(wanted, made) and all(
        name in made.arguments and match.fits(made.arguments[name])
        for name, match in wanted.arguments.items()
    )


def _answer(
    wanted: WantedAnswer, outcome: Outcome, acted: bool, asked: Sequence[CallRecord]
) -> bool | None:
    """Whether the words are as wanted; None where nothing is."""
    verdicts = []
    if wanted.contains_one_of:
        verdicts.append(any(_contains(outcome.text, words) for words in wanted.contains_one_of))
    if wanted.asks:
        is_question = bool(re.search('[?？؟]', outcome.text))  # noqa: RUF001
        verdicts.append(outcome.status is CommandStatus.ASKED or is_question)
    if wanted.refuses:
        # Who calls nothing and is told not to have done it has said nothing, or that it is done.
        claims = outcome.status is CommandStatus.NOT_DONE and not asked
        verdicts.append(not acted and not claims and outcome.status not in CUT_SHORT)
    return all(verdicts) if verdicts else None


def _contains(text: str, words: str) -> bool:
    """Whether words stand in a text, in capitals or not; 64 does not stand in 164 or 6.64."""
    before = r'(?<![\d.,])' if words[:1].isdigit() else ''
    after = r'(?![.,]?\d)' if words[-1:].isdigit() else ''
    return re.search(before + re.escape(words.casefold()) + after, text.casefold()) is not None


def _without_ranges(schema: Any) -> Any:
    """Return a schema that takes numbers of any size."""
    if isinstance(schema, dict):
        return {key: _without_ranges(part) for key, part in schema.items() if key not in RANGES}
    if isinstance(schema, list):
        return [_without_ranges(part) for part in schema]
    return schema
