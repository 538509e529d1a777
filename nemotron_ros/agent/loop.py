"""The loop: it asks the model, runs what it calls, and goes on until it answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace

from nemotron_ros.agent.asking import ASK_USER
from nemotron_ros.agent.command import (
    ALL_TOOLS,
    BadCommandError,
    Command,
    Limits,
    Sampling,
)
from nemotron_ros.agent.line import BusyError, Line, Place
from nemotron_ros.agent.story import Story, fingerprint
from nemotron_ros.agent.toolset import InForce, Toolset
from nemotron_ros.agent.turn_calls import TurnCalls
from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.history import Conversation, History, Sessions, new_session_id
from nemotron_ros.chat.messages import Message, ToolCall
from nemotron_ros.chat.prompt import opening
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    ContextFull,
    Engine,
    EngineError,
    OutputError,
    PromptTooLong,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.events import CommandStatus, Event, Outcome, Phase, Usage
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.stop import is_stop
from nemotron_ros.tools.tool_file import ToolFileError

STOP_S = 2.0
"""How long everything is given to end at a stop."""
MAX_IDLE_TURNS = 2
"""So many turns in a row that only repeat the one before end the command."""

_ENDED = {
    Cause.CANCELED: CommandStatus.CANCELED,
    Cause.STOPPED: CommandStatus.STOPPED,
    Cause.DEADLINE: CommandStatus.TIMED_OUT,
}


class Agent:
    """Carries out commands with an engine and a tool file. Safe from any thread.

    :param line: how many commands run and wait at once.
    :param asking: gives the model a tool to ask the person, by which the command ends.
    :param let_go: is called when the last command with these tools has ended, after others came
        into force.
    :raise ToolFileError: if the file has a tool of that tool's name.
    """

    def __init__(
        self,
        engine: Engine,
        tool_file: ToolFile,
        dispatcher: Dispatcher,
        limits: Limits | None = None,
        sampling: Sampling | None = None,
        line: Line | None = None,
        history: History | None = None,
        asking: bool = False,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self._asking = asking
        self._tools = InForce(self.toolset(tool_file, dispatcher, let_go))
        self._engine = engine
        self._limits = limits or Limits()
        self._sampling = sampling or Sampling()
        self._line = line or Line()
        self._sessions = Sessions(history)
        self._calls = TurnCalls(asking)
        self._running: set[CancelToken] = set()
        self._running_lock = threading.Lock()

    def toolset(
        self,
        tool_file: ToolFile,
        dispatcher: Dispatcher,
        let_go: Callable[[], None] = lambda: None,
    ) -> Toolset:
        """Return a tool file as commands can use it; it does not come into force yet.

        :param let_go: is called when it has been in force, and the last command with it has ended.
        :raise ToolFileError: if the file has a tool of the name of that for asking the person.
        """
        if self._asking and ASK_USER.name in tool_file.tools:
            path = f'tools.{ASK_USER.name}'
            raise ToolFileError(
                [
                    f'{tool_file.place(path)}: {path}: the node has a tool of that name itself; '
                    'give this one another, or set the parameter ask_user to false'
                ]
            )
        own = (ASK_USER,) if self._asking else ()
        specs = (*(tool.spec for tool in tool_file.tools.values()), *own)
        return Toolset(tool_file, dispatcher, specs, opening(specs, tool_file.examples), let_go)

    def using(self) -> AbstractContextManager[Toolset]:
        """Use the tools in force, as a command does, for as long as a block runs."""
        return self._tools.use()

    def read(self, tools: Toolset, cancel: CancelToken) -> None:
        """Have the engine read what the prompts with these tools begin with.

        :raise EngineError: if it can't, or can't keep it beside an answer.
        """
        asked = self._request(tools, (Message('user', 'Ready?'),), self._sampling.thinking)
        with closing(self._engine.stream(replace(asked, max_tokens=1), cancel)) as answer:
            try:
                next(answer, None)  # its first word comes when all is read
            except ContextFull:
                raise
            except OutputError:
                pass  # a word is no answer, but then it was asked for one alone
        if cancel.ended:
            raise EngineError('the engine has not read the new prompt in time')

    def take(self, tools: Toolset) -> None:
        """Put tools into force: for commands whose turn comes from now on."""
        self._tools.replace(tools)

    def warm_request(self) -> ChatRequest:
        """Return the request whose prompt every command begins with."""
        return self._request(self._tools.current, (), self._sampling.thinking)

    def is_stop(self, text: str) -> bool:
        """Whether a command is a stop, which never asks the model."""
        return is_stop(text, self._tools.current.file.stop_words)

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
        self._tools.current.dispatcher.resume()

    def execute(
        self, command: Command, cancel: CancelToken, emit: Callable[[Event], None]
    ) -> Outcome:
        """Carry out one command; always returns, whatever happens.

        :param emit: gets every event, in order.
        """
        story = Story(command, command.session_id or new_session_id(), emit)
        with self._running_lock:
            self._running.add(cancel)
        try:
            outcome = self._carry_out(story, cancel)
        except (BadCommandError, BusyError) as error:
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
        # Of whichever tool file: the calls of all are in one ledger.
        return self._tools.current.dispatcher.stop(reason, timeout_s)

    def _carry_out(self, story: Story, cancel: CancelToken) -> Outcome:
        if self.is_stop(story.command.text):
            # Before anything of the goal is looked at: a stop is never a bad command.
            story.tell(Phase.ACCEPTED)
            return self._obey_stop(story.command, cancel)
        command = story.command
        self._allowed(command, self._tools.current.file)
        with self._line.place(command.text, story.session_id, command.priority, cancel) as place:
            story.tell(Phase.ACCEPTED)
            if not place.runs:
                story.tell(Phase.QUEUED, detail={'ahead': place.ahead})
            if not self._line.wait(place):
                return _ended(story, place, cancel)
            return self._take_turns(story, place, cancel)

    def _take_turns(self, story: Story, place: Place, cancel: CancelToken) -> Outcome:
        said = [Message('user', story.command.text)]
        try:
            with self._tools.use() as tools:
                # Once more: others may have come into force while it waited.
                allowed = self._allowed(story.command, tools.file)
                outcome = self._converse(story, tools, said, allowed, cancel)
        except EngineError as error:
            outcome = Outcome(CommandStatus.ENGINE_FAILED, story.text, str(error))
        if cancel.ended and outcome.status is not CommandStatus.SUCCEEDED:
            outcome = _ended(story, place, cancel)
        if outcome.text:
            said.append(Message('assistant', outcome.text))
        self._sessions.add(story.session_id, tuple(said))
        return outcome

    def _obey_stop(self, command: Command, cancel: CancelToken) -> Outcome:
        """End everything. Commands may move the robot again, unless another stop is latched."""
        reason = f'stop word of command {command.id}'
        if self._stop(reason, cancel, STOP_S):
            self._tools.current.dispatcher.resume(reason)
            return Outcome(CommandStatus.SUCCEEDED, 'Stopped.')
        return Outcome(
            CommandStatus.NOT_DONE,
            'Stopping.',
            f'not everything was seen to end within {STOP_S:g} s; the stop stays latched',
        )

    def _converse(
        self,
        story: Story,
        tools: Toolset,
        said: list[Message],
        allowed: frozenset[str],
        cancel: CancelToken,
    ) -> Outcome:
        """Take turns until the model answers in words, or a limit or the token ends it."""
        before = self._sessions.commands(story.session_id)
        previous: tuple[ToolCall, ...] = ()
        idle = mistakes = 0
        for _ in range(self._limits.max_turns):
            left, text, calls = self._turn(story, tools, Conversation(before, tuple(said)), cancel)
            before, said[:] = left.before, left.said
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
            said += self._calls.run(story, tools, calls, repeated, allowed, cancel)
            if cancel.ended:
                return Outcome(CommandStatus.NOT_DONE, story.text)
            if story.question:
                return _asked(story)
            invalid = [
                r for r in story.records[-len(calls) :] if r.result.status is Status.INVALID
            ]
            mistakes += bool(invalid)
            if mistakes > self._limits.max_corrections:
                return story.judge(f'the model has not got its calls right in {mistakes} turns')
            previous = calls
        return story.judge(f'no answer after {self._limits.max_turns} turns')

    def _turn(
        self, story: Story, tools: Toolset, conversation: Conversation, cancel: CancelToken
    ) -> tuple[Conversation, str, tuple[ToolCall, ...]]:
        """Ask the model once, with as much of the conversation as its context takes.

        :return: what was left of the conversation, the words and the calls.
        """
        left_out = 0
        while True:
            try:
                answer = self._ask(story, tools, conversation.turns, left_out, cancel)
                return conversation, *answer
            except (PromptTooLong, ContextFull):
                shorter = conversation.shorter()
                if shorter is None or cancel.ended:
                    raise
                conversation, left_out = shorter, left_out + 1

    def _ask(
        self,
        story: Story,
        tools: Toolset,
        turns: tuple[Message, ...],
        left_out: int,
        cancel: CancelToken,
    ) -> tuple[str, tuple[ToolCall, ...]]:
        """Ask the model once. Its calls are run only when the whole turn has come.

        :param left_out: how many parts of the conversation were left out to make room; told.
        """
        story.tell(Phase.PROMPTING, detail={'left_out': left_out} if left_out else None)
        calls: list[ToolCall] = []
        story.text = ''
        began_s = time.monotonic()
        first = True
        asked = story.command.thinking
        thinking = self._sampling.thinking if asked is None else asked
        request = self._request(tools, turns, thinking)
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

    def _allowed(self, command: Command, tool_file: ToolFile) -> frozenset[str]:
        """Return the tools that the command may use; check the command on the way."""
        if not command.text.strip():
            raise BadCommandError('command: is empty; say what the robot should do')
        if len(command.text) > self._limits.max_command_chars:
            raise BadCommandError(
                f'command: {len(command.text)} characters; at most '
                f'{self._limits.max_command_chars} are taken'
            )
        known = frozenset(tool_file.tools)
        unknown = sorted(set(command.allowed_tools) - known - {ALL_TOOLS})
        if unknown:
            raise BadCommandError(
                f'allowed_tools: no tool named {", ".join(map(repr, unknown))} in '
                f'{tool_file.path}; it has {", ".join(sorted(known))}'
            )
        if ALL_TOOLS in command.allowed_tools:
            return known
        return frozenset(command.allowed_tools)

    def _request(self, tools: Toolset, turns: tuple[Message, ...], thinking: bool) -> ChatRequest:
        # Every tool is named in every prompt, whatever the goal allows, so that the
        # prompt's beginning stays the same and stays read; the guard refuses the others.
        return ChatRequest(
            messages=(*tools.opening, *turns),
            tools=tools.specs,
            max_tokens=self._limits.max_tokens + thinking * self._limits.thinking_tokens,
            temperature=self._sampling.temperature,
            seed=self._sampling.seed,
            thinking=thinking,
            max_thinking_tokens=self._limits.thinking_tokens
            if self._sampling.bound_thinking
            else 0,
            constrained=self._sampling.constrained,
        )


def _repeated(calls: tuple[ToolCall, ...], previous: tuple[ToolCall, ...]) -> int:
    """Return how many calls, from the first on, are those of the turn before."""
    same = [fingerprint(a) == fingerprint(b) for a, b in zip(calls, previous, strict=False)]
    return [*same, False].index(False)


def _asked(story: Story) -> Outcome:
    """Return how a command ends that is a question now."""
    error = 'the person is asked; a command of the same session answers'
    return Outcome(CommandStatus.ASKED, story.question, error)


def _ended(story: Story, place: Place, cancel: CancelToken) -> Outcome:
    """Return how a command ended that was ended from outside."""
    if place.preempted_by and cancel.cause is Cause.STOPPED:
        error = f"ended for the operator's command {place.preempted_by!r:.80}"
        return Outcome(CommandStatus.PREEMPTED, story.text, error)
    cause = cancel.cause or Cause.CANCELED
    return Outcome(_ENDED[cause], story.text, _ended_because(cause))


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
