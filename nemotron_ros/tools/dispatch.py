"""The one way that a call takes: validated, admitted, run, and told truthfully."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.clamp import within_range
from nemotron_ros.tools.confirmation import Question
from nemotron_ros.tools.guard import Denied, EndedAtGateError, Guard, Request
from nemotron_ros.tools.model import Tool, ToolFile
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.validate import Validator


class ToolExecutor(Protocol):
    """Carries out a call that has been checked."""

    def execute(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        cancel: CancelToken,
        progress: Callable[[object], None],
    ) -> ToolResult:
        """Run the call to its end, or until ``cancel`` ends it; return status, value, error.

        :raise Denied: if what it would send is not allowed; then nothing was sent.
        """

    def halt(self) -> None:
        """Send what ends motion, whoever began it. Never waits."""


class Dispatcher:
    """Runs calls for the agent, the call-tool service and replay alike.

    Safe from any thread.
    """

    def __init__(self, tool_file: ToolFile, guard: Guard, executor: ToolExecutor) -> None:
        self._file = tool_file
        self._guard = guard
        self._executor = executor
        self._validators = {name: Validator(tool.spec) for name, tool in tool_file.tools.items()}
        self._ledger = guard.ledger

    def run(
        self,
        call: ToolCall,
        allowed: frozenset[str],
        cancel: CancelToken,
        progress: Callable[[object], None] = lambda _: None,
        dry_run: bool = False,
        tally: Counter[str] | None = None,
        waiting: Callable[[object], None] = lambda _: None,
    ) -> ToolResult:
        """Run one call; always returns a result, never raises.

        :param tally: how often its command has run each tool; None for a call by itself.
        :param waiting: is told what a call that is still at the gate waits for.
        """
        start_time_s = time.time()
        began_s = time.monotonic()
        token = cancel.child()
        with self._ledger.running(token):
            try:
                result = self._gate(call, allowed, token, progress, dry_run, tally, waiting)
            except Exception as error:  # a result is owed, whatever went wrong
                result = ToolResult(Status.FAILED, None, f'{type(error).__name__}: {error}')
        return replace(result, start_time_s=start_time_s, duration_s=time.monotonic() - began_s)

    def stop(self, reason: str, timeout_s: float) -> bool:
        """Latch the guard, end every call and all motion, and wait for the calls to end.

        Motion is ended whoever began it, also while no call is in flight. The calls are those of
        every tool file whose guard shares this one's ledger.

        :return: whether all of them ended within ``timeout_s``.
        """
        self._guard.latch(reason)
        with ExitStack() as stack:  # one that raises keeps none of the others from ending
            stack.callback(self._executor.halt)
            stack.callback(self._ledger.stop_all)
        return self._ledger.until_ended(timeout_s)

    def end_calls(self, reason: str, timeout_s: float) -> bool:
        """Latch the guard and end every call; what others have begun goes on.

        :return: whether all of them ended within ``timeout_s``.
        """
        self._guard.latch(reason)
        self._ledger.stop_all()
        return self._ledger.until_ended(timeout_s)

    def resume(self, reason: str = '') -> None:
        """Let calls run again after the stop for ``reason``, or after all of them."""
        self._guard.clear(reason)

    def _gate(
        self,
        call: ToolCall,
        allowed: frozenset[str],
        cancel: CancelToken,
        progress: Callable[[object], None],
        dry_run: bool,
        tally: Counter[str] | None,
        waiting: Callable[[object], None],
    ) -> ToolResult:
        tool = self._file.tools.get(call.name)
        if tool is None:
            known = ', '.join(sorted(self._file.tools))
            why = f'there is no tool named {call.name!r}; there is {known}'
            return ToolResult(Status.INVALID, error=why, rule='unknown')
        validator = self._validators[call.name]
        given, clamped = within_range(tool, call.arguments)
        faults = validator.check(given)
        if faults:
            return ToolResult(Status.INVALID, error='; '.join(faults), rule='schema')
        arguments = validator.complete(given)
        if cancel.cause is not None:
            return _ended_before(cancel)
        request = Request(
            call.name,
            allowed,
            arguments,
            Counter() if tally is None else tally,
            cancel,
            dry_run,
            lambda question: waiting(_told(question)),
        )
        who = ''
        try:
            with self._guard.admit(request) as who:
                if dry_run:
                    why = 'dry run: valid and allowed, not sent'
                    return ToolResult(Status.NOT_RUN, error=why, clamped=clamped)
                result = self._executor.execute(tool, arguments, cancel, progress)
                return (
                    replace(result, confirmed_by=who, clamped=clamped)
                    if who or clamped
                    else result
                )
        except EndedAtGateError:
            return _ended_before(cancel)
        except Denied as denied:
            why = f'{denied.rule}: {denied}'
            return ToolResult(Status.DENIED, error=why, confirmed_by=who, rule=denied.rule)


def _ended_before(cancel: CancelToken) -> ToolResult:
    status = Status.TIMED_OUT if cancel.cause is Cause.DEADLINE else Status.CANCELED
    why = 'the command had ended before the call began'
    return ToolResult(status, error=why, rule='ended')


def _told(question: Question) -> dict[str, object]:
    return {
        'waiting_for': 'confirmation',
        'id': question.id,
        'within_s': round(question.deadline_time_s - question.asked_time_s, 1),
    }
