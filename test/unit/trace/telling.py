"""Commands whose calls go through a real dispatcher and guard, told as the agent tells them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.confirmation import Confirmations
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.model import Tool, ToolFile
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.trace.goal import Goal, with_goal
from nemotron_ros.trace.record import Entry, Origin, Trace

START_NS = 1_800_000_000_000_000_000
STEP_NS = 10_000_000
"""Between two events."""


class Done:
    """An executor that does nothing, and tells success."""

    def execute(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        cancel: CancelToken,
        progress: Callable[[object], None],
    ) -> ToolResult:
        return ToolResult(Status.SUCCEEDED)

    def halt(self) -> None:
        pass


class Told:
    """The events of commands, with times of their own."""

    def __init__(self, tool_file: ToolFile) -> None:
        self.file = tool_file
        self.entries: list[Entry] = []
        self.now_ns = START_NS
        self.unmet = ''
        self.guard = Guard(
            tool_file,
            lambda: self.now_ns / 1e9,
            unmet=lambda condition, cancel: self.unmet,
            ask=Confirmations(lambda questions: None).ask,
        )
        self.dispatcher = Dispatcher(tool_file, self.guard, Done())
        self._ids = itertools.count()

    @property
    def trace(self) -> Trace:
        return Trace(Origin(tool_file=self.file.path), tuple(self.entries))

    def add(self, event: Event) -> None:
        self.entries.append(Entry(self.now_ns, self.now_ns, event))
        self.now_ns += STEP_NS

    def command(
        self,
        text: str,
        *calls: tuple[str, Mapping[str, Any]],
        words: Sequence[str] = (),
        allowed: tuple[str, ...] = ('*',),
        dry_run: bool = False,
        status: str = 'SUCCEEDED',
        turns: bool = True,
    ) -> list[ToolResult]:
        """Tell a command of one turn; return what came of its calls."""
        name = f'command_{next(self._ids)}'
        goal = Goal(text, allowed, dry_run)
        names = frozenset(self.file.tools) if '*' in allowed else frozenset(allowed)
        numbers = itertools.count()
        tally: Counter[str] = Counter()

        def tell(phase: Phase, said: str = '', **fields: Any) -> None:
            event = Event(name, 'session', next(numbers), phase, said, **fields)
            self.add(with_goal(event, goal))

        tell(Phase.ACCEPTED)
        if turns:
            tell(Phase.PROMPTING)
        for piece in words:
            tell(Phase.GENERATING, piece)
        results = []
        for number, (tool, arguments) in enumerate(calls, 1):
            call = ToolCall(f'call_{number}', tool, arguments)
            tell(Phase.CALLING, record=CallRecord(call, ToolResult(Status.PENDING)))
            result = self.dispatcher.run(call, names, CancelToken(), dry_run=dry_run, tally=tally)
            tell(Phase.RESULT, record=CallRecord(call, result))
            results.append(result)
        tell(Phase.DONE, detail={'status': status, 'error': ''})
        return results
