"""What today's parser, validator and guard would make of what a trace tells.

The guard is asked in the order, and at the times, that are recorded, with every admitted call
running until its recorded end. What only the world knew then is taken from the record: whether
a stop was latched, what a precondition found, what an operator said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from nemotron_ros.agent.asking import ASK_USER
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.formats.protocol import Format, FormatError, Piece, Text
from nemotron_ros.chat.messages import ToolCall, ToolSpec
from nemotron_ros.tools.clamp import within_range
from nemotron_ros.tools.conditions import Condition
from nemotron_ros.tools.confirmation import Answer, Question
from nemotron_ros.tools.guard import Denied, EndedAtGateError, Guard, Request
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.result import ToolResult
from nemotron_ros.tools.stop import is_stop
from nemotron_ros.tools.validate import Validator
from nemotron_ros.trace.goal import ALL_TOOLS
from nemotron_ros.trace.record import Trace
from nemotron_ros.trace.redact import is_whole
from nemotron_ros.trace.stories import CallStory, Story, TurnStory, stories
from nemotron_ros.trace.verdict import Decision, Verdict, verdict_of

FORMATS: tuple[Format, ...] = (NemotronXml(), JsonCall())
REPLAY_LATCH = 'a stop of the record'
_OF_THE_GUARD = frozenset(
    {
        *('stop', 'unknown', 'allowed', 'quota', 'rate', 'in_flight', 'exclusive'),
        *('requires', 'confirmation'),
    }
)


@dataclass(frozen=True)
class Difference:
    """Something that would go another way today."""

    command_id: str
    what: str
    then: str
    today: str


@dataclass
class Report:
    """What a replay has found. ``unjudged`` counts what can't be judged, by the reason."""

    commands: int = 0
    turns: int = 0
    calls: int = 0
    differences: list[Difference] = field(default_factory=list)
    unjudged: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def replay(trace: Trace, tool_file: ToolFile) -> Report:
    """Return what would differ with today's code and this tool file."""
    report = Report(notes=list(trace.flaws))
    if trace.origin.lost:
        report.notes.append(f'{trace.origin.lost} events before this file were lost')
    told = stories(trace.entries)
    specs = (*(tool.spec for tool in tool_file.tools.values()), ASK_USER)
    for story in told:
        report.commands += 1
        _replay_goal(story, tool_file, report)
        for turn in story.turns:
            _replay_words(story, turn, specs, report)
    _Gate(tool_file, report).run(told)
    return report


def _replay_goal(story: Story, tool_file: ToolFile, report: Report) -> None:
    goal = story.goal
    if goal is None:
        if not story.direct:
            report.unjudged['the beginning of the command is not in the trace'] += 1
        return
    if story.ended_ns is None:
        report.unjudged['the end of the command is not in the trace'] += 1
        return
    if story.status == 'REJECTED':
        return
    stopped = not story.turns and story.status in ('SUCCEEDED', 'NOT_DONE')
    stops = is_stop(goal.command, tool_file.stop_words)
    if stopped != stops and (stopped or story.turns):
        words = ('goes to the model', 'stops the robot')
        report.differences.append(
            Difference(story.id, f'{goal.command!r:.80}', words[stopped], words[stops])
        )
    unknown = sorted(set(goal.allowed_tools) - set(tool_file.tools) - {ALL_TOOLS})
    if unknown and not stops:
        names = ', '.join(unknown)
        report.differences.append(
            Difference(story.id, 'allowed_tools', 'taken', f'rejected: no tool named {names}')
        )


# Words


def _replay_words(
    story: Story, turn: TurnStory, specs: Sequence[ToolSpec], report: Report
) -> None:
    """Hold what the model wrote against today's parsers, in pieces of one character each."""
    calls = [call.call for call in turn.calls]
    if not turn.text and not calls:
        report.unjudged['a turn of which no words are in the trace'] += 1
        return
    if not is_whole(turn.text) or not all(is_whole(call.arguments) for call in calls):
        report.unjudged['words that were taken out of the trace'] += 1
        return
    if any(verdict_of(c.result).decision is Decision.INVALID for c in turn.calls if c.result):
        report.unjudged['words of a call that was invalid'] += 1
        return
    report.turns += 1
    faults = [_misread(form, turn.text, calls, specs) for form in FORMATS]
    if all(faults):
        report.differences.append(
            Difference(story.id, 'words of the model', _named(calls), ' / '.join(faults))
        )


def _misread(form: Format, text: str, calls: Sequence[ToolCall], specs: Sequence[ToolSpec]) -> str:
    """Return how a format reads a turn otherwise than it was read; empty if alike."""
    written = '\n'.join(part for part in (text, form.print_calls(calls)) if part)
    parser = form.parser(specs)
    pieces: list[Piece] = []
    try:
        for character in written:
            pieces += parser.feed(character)
        pieces += parser.finish(truncated=False)
    except FormatError as error:
        return f'{form.name}: {error}'
    read = [piece for piece in pieces if isinstance(piece, ToolCall)]
    said = ''.join(piece.text for piece in pieces if isinstance(piece, Text))
    if [_bare(call) for call in read] != [_bare(call) for call in calls]:
        return f'{form.name}: {_named(read)}'
    return '' if said.strip() == text.strip() else f'{form.name}: words {said!r:.80}'


def _bare(call: ToolCall) -> tuple[str, Mapping[str, Any]]:
    return call.name, dict(call.arguments)


def _named(calls: Sequence[ToolCall]) -> str:
    told = ', '.join(f'{call.name} {dict(call.arguments)!r:.60}' for call in calls)
    return told or 'words alone'


# Calls


@dataclass(frozen=True)
class _Call:
    """A call that came to a decision, and the bounds of its command."""

    story: Story
    told: CallStory
    result: ToolResult
    verdict: Verdict
    allowed: frozenset[str]
    dry_run: bool


class _World:
    """What the record says of the world while one call is at the gate."""

    def __init__(self) -> None:
        self.call: _Call | None = None

    def unmet(self, condition: Condition, cancel: CancelToken) -> str:
        """Return what was found then; a condition that is not told of is taken to hold."""
        if self.call is None or self.call.verdict.rule != 'requires':
            return ''
        name, _, reason = self.call.result.error.removeprefix('requires: ').partition(': ')
        return (reason or 'did not hold') if name == condition.name else ''

    def ask(
        self,
        tool: str,
        description: str,
        arguments: Mapping[str, Any],
        within_s: float,
        cancel: CancelToken,
        asked: Callable[[Question], None] = lambda _: None,
    ) -> Answer | None:
        """Return what the operator said then; nobody said yes to what was not asked."""
        who = self.call.result.confirmed_by if self.call is not None else ''
        return Answer(True, who) if who else None


class _Gate:
    """Today's validator and guard, at the times of the record."""

    def __init__(self, tool_file: ToolFile, report: Report) -> None:
        self._file = tool_file
        self._report = report
        self._world = _World()
        self._now_s = 0.0
        self._guard = Guard(
            tool_file, lambda: self._now_s, unmet=self._world.unmet, ask=self._world.ask
        )
        self._tallies: dict[int, Counter[str]] = {}

    def run(self, told: Iterable[Story]) -> None:
        """Let every call through, or refuse it, as the guard would today."""
        moments: list[tuple[int, int, Callable[[], None]]] = []
        for story in told:
            for call_story in story.calls:
                call = self._call(story, call_story)
                if call is None:
                    continue
                running = ExitStack()
                began_ns, ended_ns = _at_the_gate(call_story, call.result)
                moments.append((began_ns, 1, _bound(self._begin, call, running)))
                moments.append((ended_ns, 2, running.close))
        for time_ns, _, act in sorted(moments, key=lambda moment: moment[:2]):
            self._now_s = time_ns / 1e9
            act()

    def _call(self, story: Story, told: CallStory) -> _Call | None:
        """Return a call that can be judged; count it otherwise."""
        result = told.result
        if result is None:
            self._report.unjudged['a call of which the end is not in the trace'] += 1
            return None
        verdict = verdict_of(result)
        if verdict.decision is Decision.UNREACHED or told.asks:
            return None
        if not is_whole(told.call.arguments):
            self._report.unjudged['a call of which arguments were taken out of the trace'] += 1
            return None
        if story.turns and story.goal is None:
            self._report.unjudged['a call of a command whose bounds are not in the trace'] += 1
            return None
        names = (ALL_TOOLS,) if story.goal is None else story.goal.allowed_tools
        known = frozenset(self._file.tools)
        allowed = known if ALL_TOOLS in names else frozenset(names)
        dry_run = story.goal is not None and story.goal.dry_run
        return _Call(story, told, result, verdict, allowed, dry_run)

    def _begin(self, call: _Call, running: ExitStack) -> None:
        self._report.calls += 1
        today, why = self._decide(call, running)
        then = call.verdict
        by_executor = then.decision is Decision.DENIED and then.rule not in _OF_THE_GUARD
        if by_executor and today.decision is Decision.ADMITTED:
            running.close()  # refused by where the robot was, which is not asked here
            self._report.unjudged[f'a call that was {then}'] += 1
            return
        if today != then:
            arguments = dict(call.told.call.arguments)
            self._report.differences.append(
                Difference(
                    call.story.id,
                    f'{call.told.call.name} {arguments!r:.80}',
                    _with(then, call.result.error.removeprefix(f'{then.rule}: ')),
                    _with(today, why),
                )
            )

    def _decide(self, call: _Call, running: ExitStack) -> tuple[Verdict, str]:
        asked = call.told.call
        tool = self._file.tools.get(asked.name)
        if tool is None:
            return Verdict(Decision.INVALID, 'unknown'), f'there is no tool named {asked.name!r}'
        validator = Validator(tool.spec)
        given, _ = within_range(tool, asked.arguments)
        faults = validator.check(given)
        if faults:
            return Verdict(Decision.INVALID, 'schema'), '; '.join(faults)
        request = Request(
            asked.name,
            call.allowed,
            validator.complete(given),
            self._tallies.setdefault(id(call.story), Counter()),
            dry_run=call.dry_run,
        )
        self._world.call = call
        stopped = call.verdict == Verdict(Decision.DENIED, 'stop')
        if stopped:
            self._guard.latch(REPLAY_LATCH)
        try:
            running.enter_context(self._guard.admit(request))
        except Denied as denied:
            return Verdict(Decision.DENIED, denied.rule), str(denied)
        except EndedAtGateError:  # nothing ends a replay's token
            return Verdict(Decision.UNREACHED), ''
        finally:
            self._world.call = None
            if stopped:
                self._guard.clear(REPLAY_LATCH)
        return Verdict(Decision.ADMITTED), ''


def _bound(act: Callable[[_Call, ExitStack], None], call: _Call, stack: ExitStack) -> Any:
    return lambda: act(call, stack)


def _at_the_gate(told: CallStory, result: ToolResult) -> tuple[int, int]:
    """Return when a call came to the gate, and when it gave its place back.

    It may have been announced before, while another one held its group.
    """
    duration_ns = int(result.duration_s * 1e9)
    ended_ns = told.began_ns if told.ended_ns is None else told.ended_ns
    began_ns = max(told.began_ns, ended_ns - duration_ns)
    return began_ns, began_ns + duration_ns


def _with(verdict: Verdict, reason: str) -> str:
    return str(verdict) if verdict.decision is Decision.ADMITTED else f'{verdict}: {reason}'
