"""The one way that a call takes: validated, admitted, run, and told truthfully."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.guard import Denied, Guard
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
        """Run the call to its end, or until ``cancel`` ends it; return status, value, error."""


class Dispatcher:
    """Runs calls for the agent, the call-tool service and replay alike.

    Safe from any thread.
    """

    def __init__(self, tool_file: ToolFile, guard: Guard, executor: ToolExecutor) -> None:
        self._file = tool_file
        self._guard = guard
        self._executor = executor
        self._validators = {name: Validator(tool.spec) for name, tool in tool_file.tools.items()}
        self._changed = threading.Condition()
        self._running: set[CancelToken] = set()

    def run(
        self,
        call: ToolCall,
        allowed: frozenset[str],
        cancel: CancelToken,
        progress: Callable[[object], None] = lambda _: None,
        dry_run: bool = False,
    ) -> ToolResult:
        """Run one call; always returns a result, never raises."""
        start_time_s = time.time()
        began_s = time.monotonic()
        token = cancel.child()
        with self._changed:
            self._running.add(token)
        try:
            result = self._gate(call, allowed, token, progress, dry_run)
        except Exception as error:  # a result is owed, whatever went wrong
            result = ToolResult(Status.FAILED, None, f'{type(error).__name__}: {error}')
        finally:
            with self._changed:
                self._running.discard(token)
                self._changed.notify_all()
        return replace(result, start_time_s=start_time_s, duration_s=time.monotonic() - began_s)

    def stop(self, reason: str, timeout_s: float) -> bool:
        """Latch the guard, cancel every call in flight, and wait for them to end.

        :return: whether all of them ended within ``timeout_s``.
        """
        self._guard.latch(reason)
        with self._changed:
            running = list(self._running)
        with ExitStack() as stack:  # one that raises keeps none of the others from ending
            for token in running:
                stack.callback(token.cancel, Cause.STOPPED)
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)

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
    ) -> ToolResult:
        tool = self._file.tools.get(call.name)
        if tool is None:
            known = ', '.join(sorted(self._file.tools))
            return ToolResult(
                Status.INVALID, None, f'there is no tool named {call.name!r}; there is {known}'
            )
        validator = self._validators[call.name]
        faults = validator.check(call.arguments)
        if faults:
            return ToolResult(Status.INVALID, None, '; '.join(faults))
        if cancel.cause is not None:
            status = Status.TIMED_OUT if cancel.cause is Cause.DEADLINE else Status.CANCELED
            return ToolResult(status, None, 'the command had ended before the call began')
        try:
            with self._guard.admit(call.name, allowed, count=not dry_run):
                if dry_run:
                    return ToolResult(Status.NOT_RUN, None, 'dry run: valid and allowed, not sent')
                return self._executor.execute(
                    tool, validator.complete(call.arguments), cancel, progress
                )
        except Denied as denied:
            return ToolResult(Status.DENIED, None, f'{denied.rule}: {denied}')
