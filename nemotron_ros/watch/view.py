"""What a watcher knows of a node, made of what it hears. No ROS, and no terminal.

:func:`after` is the whole of it: what was known, and what is heard now, give what is known
then. Times are seconds of one monotonic clock, the watcher's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.confirmation import Question
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.trace.goal import goal_of
from nemotron_ros.trace.verdict import Decision, verdict_of
from nemotron_ros.watch.news import (
    EngineTold,
    HealthTold,
    KeyTold,
    News,
    QuestionsTold,
    RobotTold,
    SeenInGraph,
    StopTold,
)

KEPT_COMMANDS = 30
KEPT_CALLS = 50
KEPT_CHARS = 4000
"""So much of what the model says in one command is kept: the end of it."""
SILENT_S = 3.0
"""A node that tells how it is once a second has been silent for too long after so many."""


class Stage(Enum):
    """How far a call has come, as far as that is told: a short one may run unseen."""

    CALLED = 'called'
    WAITING = 'waiting'
    RUNNING = 'running'
    ENDED = 'ended'


@dataclass(frozen=True)
class CallSeen:
    """A call, and what is known of it.

    :param waits_for: what a call at the gate waits for.
    :param progress: what a running call has reported last.
    """

    call: ToolCall
    began_s: float
    stage: Stage = Stage.CALLED
    waits_for: str = ''
    progress: object = None
    result: ToolResult = field(default_factory=lambda: ToolResult(Status.PENDING))

    @property
    def decision(self) -> str:
        """What the gate decided, and by which rule; empty while it has not."""
        if self.stage is Stage.RUNNING:
            return Decision.ADMITTED.value
        return str(verdict_of(self.result)) if self.stage is Stage.ENDED else ''


@dataclass(frozen=True)
class CommandSeen:
    """A command, or, where ``direct``, a call that another node asked for by itself.

    :param asked: its words; empty if its beginning was not heard.
    :param status: how it ended, as ``SUCCEEDED``; empty while it has not.
    :param ahead: commands that are before it, while it waits.
    :param whole: whether no event of it was missed.
    :param lost: it is not known how it ended: the node knows nothing of it any more.
    """

    id: str
    began_s: float
    heard_s: float
    asked: str = ''
    session_id: str = ''
    direct: bool = False
    phase: Phase = Phase.ACCEPTED
    ahead: int = 0
    thought: str = ''
    said: str = ''
    calls: tuple[CallSeen, ...] = ()
    status: str = ''
    error: str = ''
    ended_s: float | None = None
    next_sequence: int = 0
    whole: bool = True
    lost: bool = False

    @property
    def open(self) -> bool:
        """Whether more is to be heard of it."""
        return self.ended_s is None and not self.lost


@dataclass(frozen=True)
class QuestionSeen:
    """A call that waits for a yes, and since when that is known."""

    question: Question
    since_s: float


@dataclass(frozen=True)
class View:
    """All that a watcher knows; None is what it has not heard yet.

    :param node: name of the node.
    :param heard_s: when the node was heard last.
    :param stopped: why nothing may run; empty if it may.
    """

    node: str
    heard_s: float | None = None
    there: bool = False
    robot: RobotTold | None = None
    engine: EngineTold | None = None
    health: HealthTold | None = None
    stopped: str | None = None
    questions: tuple[QuestionSeen, ...] = ()
    commands: tuple[CommandSeen, ...] = ()
    key: KeyTold | None = None

    def trouble(self, now_s: float) -> str:
        """Return why what is shown may not be so any more; empty if it is."""
        if self.heard_s is None:
            if self.there:
                return f'{self.node} is there, and has said nothing yet'
            return (
                f'nobody publishes {self.node}/events; is the nemotron node running, '
                'with the same ROS_DOMAIN_ID?'
            )
        if not self.there:
            return f'{self.node} has gone; what stands here is old'
        silent_s = now_s - self.heard_s
        if silent_s > SILENT_S:
            return f'{self.node} has been silent for {silent_s:.0f} s; what stands here is old'
        return ''


def after(view: View, news: News, now_s: float) -> View:
    """Return what is known once something is heard."""
    if isinstance(news, KeyTold):
        return replace(view, key=news)
    if isinstance(news, SeenInGraph):
        return _seen(view, news.there)
    view = replace(view, heard_s=now_s, there=True)
    if isinstance(news, Event):
        return _told(view, news, now_s)
    if isinstance(news, EngineTold):
        return replace(view, engine=news)
    if isinstance(news, RobotTold):
        return replace(view, robot=news)
    if isinstance(news, StopTold):
        return replace(view, stopped=news.stopped)
    if isinstance(news, QuestionsTold):
        since_s = {seen.question.id: seen.since_s for seen in view.questions}
        questions = (QuestionSeen(q, since_s.get(q.id, now_s)) for q in news.open)
        return replace(view, questions=tuple(questions))
    return _healthy(view, news, now_s)


def _seen(view: View, there: bool) -> View:
    if there:
        return replace(view, there=True)
    # Nobody is left who could tell how they end, or take an answer.
    commands = tuple(replace(c, lost=True) if c.open else c for c in view.commands)
    return replace(view, there=False, commands=commands, questions=())


def _healthy(view: View, health: HealthTold, now_s: float) -> View:
    commands = view.commands
    if not (health.running or health.queued):
        # One that still seems to run was another process's: the node was started anew.
        commands = tuple(
            replace(command, lost=True)
            if command.open and not command.direct and now_s - command.heard_s > SILENT_S
            else command
            for command in commands
        )
    return replace(view, health=health, commands=commands)


def _told(view: View, event: Event, now_s: float) -> View:
    kept = list(view.commands)
    place = next((i for i, seen in enumerate(kept) if seen.id == event.command_id), None)
    # A caller may use the name of an old call once more.
    if place is not None and event.sequence == 0 and kept[place].next_sequence > 0:
        del kept[place]
        place = None
    if place is None:
        direct = event.phase in (Phase.CALLING, Phase.EXECUTING, Phase.RESULT)
        fresh = CommandSeen(
            event.command_id,
            now_s,
            now_s,
            direct=direct and not event.session_id,
        )
        place = len(kept)
        kept.append(fresh)
    kept[place] = _grown(kept[place], event, now_s)
    return replace(view, commands=tuple(kept[-KEPT_COMMANDS:]))


def _grown(command: CommandSeen, event: Event, now_s: float) -> CommandSeen:
    goal = goal_of(event) if event.sequence == 0 else None
    command = replace(
        command,
        heard_s=now_s,
        asked=goal.command if goal is not None else command.asked,
        session_id=event.session_id or command.session_id,
        phase=event.phase,
        said=(command.said + event.text_delta)[-KEPT_CHARS:],
        thought=(command.thought + event.reasoning_delta)[-KEPT_CHARS:],
        whole=command.whole and event.sequence == command.next_sequence,
        next_sequence=event.sequence + 1,
        lost=False,
    )
    if event.phase is Phase.PROMPTING:
        return replace(command, said='', thought='')  # a new turn
    if event.phase is Phase.QUEUED:
        ahead = _detail(event).get('ahead')
        return replace(command, ahead=ahead if isinstance(ahead, int) else 0)
    if event.phase is Phase.DONE:
        done = _detail(event)
        return replace(
            command,
            status=str(done.get('status', '')) or 'ended',
            error=str(done.get('error', '')),
            ended_s=now_s,
        )
    if event.record is None:
        return command
    calls = _with_call(command.calls, event, event.record, now_s)
    ended = command.direct and event.phase is Phase.RESULT
    return replace(command, calls=calls[-KEPT_CALLS:], ended_s=now_s if ended else command.ended_s)


def _with_call(
    calls: tuple[CallSeen, ...], event: Event, record: CallRecord, now_s: float
) -> tuple[CallSeen, ...]:
    kept = list(calls)
    open_ones = (i for i, seen in enumerate(kept) if seen.stage is not Stage.ENDED)
    place = next((i for i in open_ones if kept[i].call.id == record.call.id), len(kept))
    if place == len(kept):
        kept.append(CallSeen(record.call, now_s))
    seen = kept[place]
    if event.phase is Phase.EXECUTING:
        seen = replace(seen, stage=Stage.RUNNING, waits_for='', progress=event.detail)
    elif event.phase is Phase.RESULT:
        seen = replace(seen, stage=Stage.ENDED, waits_for='', result=record.result)
    elif event.phase is Phase.CALLING and event.detail is not None:
        waits_for = str(_detail(event).get('waiting_for', ''))
        seen = replace(seen, stage=Stage.WAITING, waits_for=waits_for)
    kept[place] = seen
    return tuple(kept)


def _detail(event: Event) -> Mapping[str, Any]:
    return event.detail if isinstance(event.detail, Mapping) else {}
