"""The account of one command: its events, its calls, and the judgement on how it ended."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from nemotron_ros.agent.command import Command
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, CommandStatus, Event, Outcome, Phase, Usage
from nemotron_ros.tools.result import Status


@dataclass
class Story:
    """What one command has said and done so far.

    ``question`` is what the model has asked the person; empty if nothing.
    """

    command: Command
    session_id: str
    emit: Callable[[Event], None]
    started_s: float = field(default_factory=time.monotonic)
    sequence: int = 0
    text: str = ''
    records: list[CallRecord] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    question: str = ''
    lock: threading.Lock = field(default_factory=threading.Lock)

    def elapsed_s(self) -> float:
        """Return the seconds since the command came."""
        return time.monotonic() - self.started_s

    def tell(
        self,
        phase: Phase,
        *,
        text: str = '',
        reasoning: str = '',
        record: CallRecord | None = None,
        detail: object = None,
    ) -> None:
        """Tell the next event."""
        # A running call may report from another thread; the order is told by one.
        with self.lock:
            event = Event(
                self.command.id,
                self.session_id,
                self.sequence,
                phase,
                text,
                reasoning,
                record,
                detail,
            )
            self.sequence += 1
            self.emit(event)

    def judge(self, trouble: str = '') -> Outcome:
        """Say how the command ended, from what ran and not from what the model claims.

        :param trouble: why it ended otherwise than by the model's answer.
        """
        wrong = [
            f'{record.call.name}: {record.result.error}'
            for index, record in enumerate(self.records)
            if not _is_made_good(index, self.records)
            and not (self.command.dry_run and record.result.status is Status.NOT_RUN)
        ]
        reasons = [*wrong, *([trouble] if trouble else [])]
        if reasons:
            return Outcome(CommandStatus.NOT_DONE, self.text, '; '.join(reasons))
        if not self.records:  # whatever the words claim
            error = 'no tool was called: nothing was done on the robot'
            return Outcome(CommandStatus.ANSWERED, self.text, error)
        return Outcome(CommandStatus.SUCCEEDED, self.text)

    def end(self, outcome: Outcome) -> Outcome:
        """Tell the last event; return the outcome with all that was said and done."""
        outcome = replace(
            outcome,
            session_id=self.session_id,
            calls=tuple(self.records),
            usage=replace(self.usage, total_s=self.elapsed_s()),
        )
        with suppress(Exception):  # nobody may be left to hear it; the outcome stands
            self.tell(Phase.DONE, detail={'status': outcome.status.name, 'error': outcome.error})
        return outcome


def rejected(command: Command, error: str, emit: Callable[[Event], None]) -> Outcome:
    """Tell and return that a command is not taken, and why."""
    story = Story(command, command.session_id, emit)
    return story.end(Outcome(CommandStatus.REJECTED, error=error))


def _is_made_good(index: int, records: Sequence[CallRecord]) -> bool:
    """Whether a call succeeded, or was kept from running and its place was taken by one that did.

    A call that ran and did not succeed is not made good by anything: what it left behind is
    not known here.
    """
    record = records[index]
    status = record.result.status
    if status is Status.NOT_RUN:
        same = fingerprint(record.call)
        done = [r for r in records if fingerprint(r.call) == same or r in records[index:]]
    elif status in (Status.INVALID, Status.DENIED):
        done = list(records[index:])
    else:
        return status is Status.SUCCEEDED
    name = record.call.name
    return any(r.call.name == name and r.result.status is Status.SUCCEEDED for r in done)


def fingerprint(call: ToolCall) -> str:
    """Return what two calls have in common that ask for the same."""
    return call.name + json.dumps(dict(call.arguments), sort_keys=True, default=str)
