"""The calls of one turn: in order, what only reads side by side, and what came of each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby

from nemotron_ros.agent.asking import ASK_USER
from nemotron_ros.agent.groups import Groups
from nemotron_ros.agent.story import Story
from nemotron_ros.agent.toolset import Toolset
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message, ToolCall
from nemotron_ros.chat.prompt import result_content
from nemotron_ros.events import CallRecord, Phase
from nemotron_ros.tools.model import Reading, ToolFile
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.validate import Validator

Calls = tuple[ToolCall, ...]


class TurnCalls:
    """Runs the calls of turns. Safe from any thread.

    :param asking: whether the model may ask the person.
    """

    def __init__(self, asking: bool) -> None:
        self._questions = Validator(ASK_USER) if asking else None
        self._groups = Groups()

    def run(
        self,
        story: Story,
        tools: Toolset,
        calls: Calls,
        repeated: int,
        allowed: frozenset[str],
        cancel: CancelToken,
    ) -> Iterator[Message]:
        """Run the calls, and yield what the model is told of each.

        They run in order, but for readings that follow each other: these run at once. After
        one that fails, and after a question to the person, the rest of the turn is not run.

        The first ``repeated`` ones are those of the turn before, and are not run again: a
        model that has lost its place must not drive twice as far.
        """
        for call in calls[:repeated]:
            _announce(story, (call,))
            why = 'this was done in the turn before'
            result = ToolResult(Status.NOT_RUN, error=why, rule='repeated')
            yield _told(story, call, result)
        not_run: ToolResult | None = None
        for step in _steps(tools.file, calls[repeated:]):
            _announce(story, step)
            if not_run is not None:
                results = [not_run] * len(step)
            else:
                results = self._run_step(story, tools, step, allowed, cancel)
            for call, result in zip(step, results, strict=True):
                yield _told(story, call, result)
                if result.status not in (Status.SUCCEEDED, Status.NOT_RUN):
                    why = f'not run: {call.name} before it did not succeed'
                    not_run = ToolResult(Status.NOT_RUN, error=why, rule='after_failure')
            if story.question:
                why = 'not run: the person was asked first'
                not_run = ToolResult(Status.NOT_RUN, error=why, rule='after_question')

    def _run_step(
        self,
        story: Story,
        tools: Toolset,
        step: Calls,
        allowed: frozenset[str],
        cancel: CancelToken,
    ) -> list[ToolResult]:
        def run(call: ToolCall) -> ToolResult:
            return self._run_call(story, tools, call, allowed, cancel)

        if len(step) == 1:
            return [run(step[0])]
        with ThreadPoolExecutor(len(step)) as pool:
            return list(pool.map(run, step))

    def _run_call(
        self,
        story: Story,
        tools: Toolset,
        call: ToolCall,
        allowed: frozenset[str],
        cancel: CancelToken,
    ) -> ToolResult:
        if self._questions is not None and call.name == ASK_USER.name:
            return _ask(story, call, self._questions.check(call.arguments))
        pending = CallRecord(call, ToolResult(Status.PENDING))

        def progress(detail: object) -> None:
            story.tell(Phase.EXECUTING, record=pending, detail=detail)

        def waiting(detail: object) -> None:
            story.tell(Phase.CALLING, record=pending, detail=detail)

        dry_run = story.command.dry_run
        tool = tools.file.tools.get(call.name)
        group = None if tool is None or dry_run else tool.rules.exclusive
        with self._groups.turn(group, cancel, lambda: waiting({'waiting_for': group})):
            return tools.dispatcher.run(
                call, allowed, cancel, progress, dry_run, story.tally, waiting
            )


def _steps(tool_file: ToolFile, calls: Calls) -> Iterator[Calls]:
    """Yield the calls that run at once: several only where none of them acts."""
    for may_overlap, group in groupby(calls, lambda call: _may_overlap(tool_file, call)):
        if may_overlap:
            yield tuple(group)
        else:
            yield from ((call,) for call in group)


def _may_overlap(tool_file: ToolFile, call: ToolCall) -> bool:
    tool = tool_file.tools.get(call.name)
    if tool is None or not isinstance(tool.binding, Reading):
        return False
    # What the guard counts while it runs, or an operator must allow, goes one by one.
    return tool.rules.max_in_flight is None and tool.rules.confirm_within_s is None


def _ask(story: Story, call: ToolCall, faults: list[str]) -> ToolResult:
    if faults:
        return ToolResult(Status.INVALID, error='; '.join(faults), rule='schema')
    story.question = str(call.arguments['question'])
    # As words of the answer too: who shows these to a person need not know of questions.
    story.tell(Phase.ASKING, text=story.question, detail={'question': story.question})
    return ToolResult(Status.SUCCEEDED)


def _announce(story: Story, calls: Calls) -> None:
    if not story.usage.time_to_first_call_s:
        story.usage = replace(story.usage, time_to_first_call_s=story.elapsed_s())
    for call in calls:
        story.tell(Phase.CALLING, record=CallRecord(call, ToolResult(Status.PENDING)))


def _told(story: Story, call: ToolCall, result: ToolResult) -> Message:
    """Put what came of a call into the account; return what the model is told."""
    record = CallRecord(call, result)
    story.records.append(record)
    story.tell(Phase.RESULT, record=record)
    status = result.status.name.lower()
    content = result_content(call.name, status, result.value, result.error, result.clamped)
    return Message('tool', content, (), call.id, call.name)
