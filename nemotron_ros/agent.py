"""The loop: a command goes in, words and checked calls come out, and an account of both."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.history import Sessions, new_session_id
from nemotron_ros.chat.messages import Message, ToolCall
from nemotron_ros.chat.prompt import opening, result_content
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Engine,
    EngineError,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.events import CallRecord, CommandStatus, Event, Outcome, Phase, Usage
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.stop import is_stop

ALL_TOOLS = '*'

STOP_S = 2.0
"""How long everything is given to end at a stop."""
MAX_IDLE_TURNS = 2
"""So many turns in a row that only repeat the one before end the command."""

_ENDED = {
    Cause.CANCELED: CommandStatus.CANCELED,
    Cause.STOPPED: CommandStatus.STOPPED,
    Cause.DEADLINE: CommandStatus.TIMED_OUT,
}


@dataclass(frozen=True)
class Limits:
    """Bounds of one command: turns of the model, calls, tokens per turn, characters.

    ``thinking_tokens`` come on top of ``max_tokens`` where the model reasons.
    """

    max_turns: int = 6
    max_calls: int = 16
    max_tokens: int = 384
    thinking_tokens: int = 1024
    max_command_chars: int = 2000


@dataclass(frozen=True)
class Sampling:
    """How the model's words are drawn.

    ``bound_thinking`` has the engine itself end the reasoning after ``Limits.thinking_tokens``.
    """

    temperature: float = 0.0
    seed: int = 0
    thinking: bool = False
    bound_thinking: bool = False


@dataclass(frozen=True)
class Command:
    """What is asked: one action goal. ``allowed_tools`` names tools, ``'*'`` all of them.

    ``thinking`` None leaves it to :class:`Sampling`.
    """

    id: str
    text: str
    session_id: str = ''
    allowed_tools: tuple[str, ...] = (ALL_TOOLS,)
    dry_run: bool = False
    thinking: bool | None = None


class BadCommandError(ValueError):
    """The command itself is wrong; nothing was done."""


@dataclass
class _Story:
    """What one command has said and done so far."""

    command: Command
    session_id: str
    emit: Callable[[Event], None]
    started_s: float = field(default_factory=time.monotonic)
    sequence: int = 0
    text: str = ''
    records: list[CallRecord] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def elapsed_s(self) -> float:
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
        status = CommandStatus.NOT_DONE if reasons else CommandStatus.SUCCEEDED
        return Outcome(status, self.text, '; '.join(reasons))

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
    story = _Story(command, command.session_id, emit)
    return story.end(Outcome(CommandStatus.REJECTED, error=error))


class Agent:
    """Carries out commands with an engine and a tool file. Safe from any thread."""

    def __init__(
        self,
        engine: Engine,
        tool_file: ToolFile,
        dispatcher: Dispatcher,
        limits: Limits | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self._engine = engine
        self._file = tool_file
        self._dispatcher = dispatcher
        self._limits = limits or Limits()
        self._sampling = sampling or Sampling()
        self._sessions = Sessions()
        self._specs = tuple(tool.spec for tool in tool_file.tools.values())
        self._opening = opening(self._specs, tool_file.examples)
        self._running: set[CancelToken] = set()
        self._running_lock = threading.Lock()

    def warm_request(self) -> ChatRequest:
        """Return the request whose prompt every command begins with."""
        return self._request((), self._sampling.thinking)

    def is_stop(self, text: str) -> bool:
        """Whether a command is a stop, which never asks the model."""
        return is_stop(text, self._file.stop_words)

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """Cancel what every command does, end motion, and wait for it.

        Nothing runs until :meth:`resume`.

        :return: whether everything was seen to end within ``timeout_s``.
        """
        return self._stop('stop', None, timeout_s)

    def stop_for(self, reason: str) -> bool:
        """Stop as :meth:`stop` does, latched for ``reason``; others may be latched beside it."""
        return self._stop(reason, None, STOP_S)

    def resume(self) -> None:
        """Let commands move the robot again."""
        self._dispatcher.resume()

    def execute(
        self, command: Command, cancel: CancelToken, emit: Callable[[Event], None]
    ) -> Outcome:
        """Carry out one command; always returns, whatever happens.

        :param emit: gets every event, in order.
        """
        story = _Story(command, command.session_id or new_session_id(), emit)
        with self._running_lock:
            self._running.add(cancel)
        try:
            outcome = self._carry_out(story, cancel)
        except BadCommandError as error:
            outcome = Outcome(CommandStatus.REJECTED, error=str(error))
        except Exception as error:  # an outcome is owed, with all that was done before
            reason = f'internal error: {type(error).__name__}: {error}'
            outcome = Outcome(CommandStatus.ENGINE_FAILED, story.text, reason)
        finally:
            with self._running_lock:
                self._running.discard(cancel)
        return story.end(outcome)

    def _stop(self, reason: str, spare: CancelToken | None, timeout_s: float) -> bool:
        with self._running_lock:
            others = [token for token in self._running if token is not spare]
        with ExitStack() as stack:  # one that raises keeps none of the others from ending
            for token in others:
                stack.callback(token.cancel, Cause.STOPPED)
        return self._dispatcher.stop(reason, timeout_s)

    def _carry_out(self, story: _Story, cancel: CancelToken) -> Outcome:
        if self.is_stop(story.command.text):
            # Before anything of the goal is looked at: a stop is never a bad command.
            story.tell(Phase.ACCEPTED)
            return self._obey_stop(story.command, cancel)
        allowed = self._allowed(story.command)
        story.tell(Phase.ACCEPTED)
        said = [Message('user', story.command.text)]
        try:
            outcome = self._converse(story, said, allowed, cancel)
        except EngineError as error:
            outcome = Outcome(CommandStatus.ENGINE_FAILED, story.text, str(error))
        if cancel.cause is not None and outcome.status is not CommandStatus.SUCCEEDED:
            outcome = Outcome(_ENDED[cancel.cause], story.text, _ended_because(cancel.cause))
        if outcome.text:
            said.append(Message('assistant', outcome.text))
        self._sessions.add(story.session_id, tuple(said))
        return outcome

    def _obey_stop(self, command: Command, cancel: CancelToken) -> Outcome:
        """End everything. Commands may move the robot again, unless another stop is latched."""
        reason = f'stop word of command {command.id}'
        if self._stop(reason, cancel, STOP_S):
            self._dispatcher.resume(reason)
            return Outcome(CommandStatus.SUCCEEDED, 'Stopped.')
        return Outcome(
            CommandStatus.NOT_DONE,
            'Stopping.',
            f'not everything was seen to end within {STOP_S:g} s; the stop stays latched',
        )

    def _converse(
        self, story: _Story, said: list[Message], allowed: frozenset[str], cancel: CancelToken
    ) -> Outcome:
        """Take turns until the model answers in words, or a limit or the token ends it."""
        before = self._sessions.turns(story.session_id)
        previous: tuple[ToolCall, ...] = ()
        idle = 0
        for _ in range(self._limits.max_turns):
            text, calls = self._turn(story, (*before, *said), cancel)
            if cancel.ended:
                return Outcome(CommandStatus.NOT_DONE, story.text)
            if not calls:
                silent = not text and not story.records
                return story.judge('the model said nothing' if silent else '')
            if len(story.records) + len(calls) > self._limits.max_calls:
                names = ', '.join(call.name for call in calls[:5])
                return story.judge(
                    f'{len(calls)} more calls ({names}) are over the limit of '
                    f'{self._limits.max_calls}; none of them was run'
                )
            repeated = _repeated(calls, previous)
            idle = idle + 1 if repeated == len(calls) else 0
            if idle == MAX_IDLE_TURNS:
                return story.judge(f'the model asks for {calls[0].name} again and again')
            said.append(Message('assistant', text, calls))
            said += self._run_calls(story, calls, repeated, allowed, cancel)
            if cancel.ended:
                return Outcome(CommandStatus.NOT_DONE, story.text)
            previous = calls
        return story.judge(f'no answer after {self._limits.max_turns} turns')

    def _turn(
        self, story: _Story, turns: tuple[Message, ...], cancel: CancelToken
    ) -> tuple[str, tuple[ToolCall, ...]]:
        """Ask the model once. Its calls are run only when the whole turn has come."""
        story.tell(Phase.PROMPTING)
        calls: list[ToolCall] = []
        story.text = ''
        began_s = time.monotonic()
        first = True
        asked = story.command.thinking
        request = self._request(turns, self._sampling.thinking if asked is None else asked)
        try:
            with closing(self._engine.stream(request, cancel)) as stream:
                for delta in stream:
                    if first and not story.usage.time_to_first_token_s:
                        story.usage = replace(story.usage, time_to_first_token_s=story.elapsed_s())
                    first = False
                    if isinstance(delta, TextDelta):
                        story.text += delta.text
                        story.tell(Phase.GENERATING, text=delta.text)
                    elif isinstance(delta, ReasoningDelta):
                        story.tell(Phase.GENERATING, reasoning=delta.text)
                    elif isinstance(delta, CallDelta):
                        number = len(story.records) + len(calls) + 1
                        calls.append(replace(delta.call, id=f'call_{number}'))
                    elif isinstance(delta, UsageDelta):
                        story.usage = _add(story.usage, delta)
        finally:
            spent_s = time.monotonic() - began_s
            story.usage = replace(story.usage, generating_s=story.usage.generating_s + spent_s)
        return story.text, tuple(calls)

    def _run_calls(
        self,
        story: _Story,
        calls: tuple[ToolCall, ...],
        repeated: int,
        allowed: frozenset[str],
        cancel: CancelToken,
    ) -> Iterable[Message]:
        """Run the calls in order; after one that fails the rest of the turn is not run.

        The first ``repeated`` ones are those of the turn before, and are not run again: a
        model that has lost its place must not drive twice as far.
        """
        failed: ToolCall | None = None
        for number, call in enumerate(calls):
            if not story.usage.time_to_first_call_s:
                story.usage = replace(story.usage, time_to_first_call_s=story.elapsed_s())
            story.tell(Phase.CALLING, record=CallRecord(call, ToolResult(Status.PENDING)))
            if number < repeated:
                result = ToolResult(Status.NOT_RUN, error='this was done in the turn before')
            elif failed is not None:
                why = f'not run: {failed.name} before it did not succeed'
                result = ToolResult(Status.NOT_RUN, error=why)
            else:
                result = self._run_call(story, call, allowed, cancel)
            record = CallRecord(call, result)
            story.records.append(record)
            story.tell(Phase.RESULT, record=record)
            if result.status not in (Status.SUCCEEDED, Status.NOT_RUN):
                failed = call
            yield Message('tool', _result_text(record), (), call.id, call.name)

    def _run_call(
        self, story: _Story, call: ToolCall, allowed: frozenset[str], cancel: CancelToken
    ) -> ToolResult:
        pending = CallRecord(call, ToolResult(Status.PENDING))

        def progress(detail: object) -> None:
            story.tell(Phase.EXECUTING, record=pending, detail=detail)

        def waiting(detail: object) -> None:
            story.tell(Phase.CALLING, record=pending, detail=detail)

        dry_run = story.command.dry_run
        return self._dispatcher.run(call, allowed, cancel, progress, dry_run, story.tally, waiting)

    def _allowed(self, command: Command) -> frozenset[str]:
        """Return the tools that the command may use; check the command on the way."""
        if not command.text.strip():
            raise BadCommandError('command: is empty; say what the robot should do')
        if len(command.text) > self._limits.max_command_chars:
            raise BadCommandError(
                f'command: {len(command.text)} characters; at most '
                f'{self._limits.max_command_chars} are taken'
            )
        known = frozenset(self._file.tools)
        unknown = sorted(set(command.allowed_tools) - known - {ALL_TOOLS})
        if unknown:
            raise BadCommandError(
                f'allowed_tools: no tool named {", ".join(map(repr, unknown))} in '
                f'{self._file.path}; it has {", ".join(sorted(known))}'
            )
        if ALL_TOOLS in command.allowed_tools:
            return known
        return frozenset(command.allowed_tools)

    def _request(self, turns: tuple[Message, ...], thinking: bool) -> ChatRequest:
        # Every tool is named in every prompt, whatever the goal allows, so that the
        # prompt's beginning stays the same and stays read; the guard refuses the others.
        return ChatRequest(
            messages=(*self._opening, *turns),
            tools=self._specs,
            max_tokens=self._limits.max_tokens + thinking * self._limits.thinking_tokens,
            temperature=self._sampling.temperature,
            seed=self._sampling.seed,
            thinking=thinking,
            max_thinking_tokens=self._limits.thinking_tokens
            if self._sampling.bound_thinking
            else 0,
        )


def _is_made_good(index: int, records: Sequence[CallRecord]) -> bool:
    """Whether a call succeeded, or was kept from running and its place was taken by one that did.

    A call that ran and did not succeed is not made good by anything: what it left behind is
    not known here.
    """
    record = records[index]
    status = record.result.status
    if status is Status.NOT_RUN:
        same = _fingerprint(record.call)
        done = [r for r in records if _fingerprint(r.call) == same or r in records[index:]]
    elif status in (Status.INVALID, Status.DENIED):
        done = list(records[index:])
    else:
        return status is Status.SUCCEEDED
    name = record.call.name
    return any(r.call.name == name and r.result.status is Status.SUCCEEDED for r in done)


def _repeated(calls: tuple[ToolCall, ...], previous: tuple[ToolCall, ...]) -> int:
    """Return how many calls, from the first on, are those of the turn before."""
    same = [_fingerprint(a) == _fingerprint(b) for a, b in zip(calls, previous, strict=False)]
    return [*same, False].index(False)


def _fingerprint(call: ToolCall) -> str:
    return call.name + json.dumps(dict(call.arguments), sort_keys=True, default=str)


def _result_text(record: CallRecord) -> str:
    result = record.result
    return result_content(record.call.name, result.status.name.lower(), result.value, result.error)


def _ended_because(cause: Cause) -> str:
    return {
        Cause.CANCELED: 'canceled by the client',
        Cause.STOPPED: 'ended by a stop',
        Cause.DEADLINE: "the goal's timeout_s ran out",
    }[cause]


def _add(usage: Usage, delta: UsageDelta) -> Usage:
    return replace(
        usage,
        prompt_tokens=usage.prompt_tokens + delta.prompt_tokens,
        cached_tokens=usage.cached_tokens + delta.cached_tokens,
        completion_tokens=usage.completion_tokens + delta.completion_tokens,
    )
