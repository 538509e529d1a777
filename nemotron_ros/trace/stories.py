"""The entries of a trace put together again: commands, their turns, and their calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nemotron_ros.agent.asking import ASK_USER
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import Phase
from nemotron_ros.tools.result import ToolResult
from nemotron_ros.trace.goal import Goal, goal_of
from nemotron_ros.trace.record import Entry


@dataclass
class CallStory:
    """One call: when it came to the gate and when it ended; None where that is not told."""

    call: ToolCall
    began_ns: int
    result: ToolResult | None = None
    ended_ns: int | None = None
    asks: bool = False
    """It was a question to the person, which moves nothing and passes no guard."""


@dataclass
class TurnStory:
    """What the model wrote in one turn, and the calls that were made of it."""

    began_ns: int
    first_ns: int | None = None
    text: str = ''
    reasoning: str = ''
    deltas: int = 0
    calls: list[CallStory] = field(default_factory=list)
    asked: Mapping[str, Any] = field(default_factory=dict)
    """The prompt, and what the turn cost, as far as they were told."""


@dataclass
class Story:
    """One command, or, without turns and ``goal``, one call that a node asked for by itself."""

    id: str
    session_id: str
    began_ns: int
    goal: Goal | None = None
    turns: list[TurnStory] = field(default_factory=list)
    direct: list[CallStory] = field(default_factory=list)
    done: Mapping[str, Any] | None = None
    ended_ns: int | None = None
    whole: bool = True
    """Whether no event is missing between its first and its last one."""
    next: int = 0

    @property
    def calls(self) -> list[CallStory]:
        """Every call, in order."""
        return [*self.direct, *(call for turn in self.turns for call in turn.calls)]

    @property
    def status(self) -> str:
        """How it ended; empty if that is not told."""
        return str(self.done.get('status', '')) if self.done is not None else ''

    @property
    def error(self) -> str:
        """Why it did not succeed."""
        return str(self.done.get('error', '')) if self.done is not None else ''


def stories(entries: Iterable[Entry]) -> list[Story]:
    """Return the commands of a trace in the order in which they began."""
    found: dict[str, Story] = {}
    for entry in entries:
        event = entry.event
        story = found.get(event.command_id)
        if story is None or (event.sequence == 0 and story.next > 0):
            # A caller may use the name of an old call once more.
            story = Story(event.command_id, event.session_id, entry.time_ns)
            found.pop(event.command_id, None)
            found[f'{event.command_id}\0{entry.time_ns}'] = story
            found[event.command_id] = story
        _add(story, entry)
    told: list[Story] = []
    for story in found.values():
        if not any(story is other for other in told):
            told.append(story)
    return sorted(told, key=lambda story: story.began_ns)


def _add(story: Story, entry: Entry) -> None:
    event = entry.event
    story.whole &= event.sequence == story.next
    story.next = event.sequence + 1
    story.session_id = event.session_id or story.session_id
    if event.sequence == 0:
        story.goal = goal_of(event)
    if event.phase is Phase.PROMPTING:
        detail = event.detail if isinstance(event.detail, Mapping) else {}
        story.turns.append(TurnStory(entry.time_ns, asked=detail))
    elif event.phase is Phase.GENERATING and story.turns:
        turn = story.turns[-1]
        turn.first_ns = turn.first_ns or entry.time_ns
        turn.text += event.text_delta
        turn.reasoning += event.reasoning_delta
        turn.deltas += 1
    elif event.phase is Phase.ASKING:
        for call in story.turns[-1].calls if story.turns else ():
            call.asks = call.result is None and call.call.name == ASK_USER.name
    elif event.phase is Phase.DONE:
        story.done = event.detail if isinstance(event.detail, Mapping) else {}
        story.ended_ns = entry.time_ns
    elif event.record is not None:
        _add_call(story, entry)


def _add_call(story: Story, entry: Entry) -> None:
    record = entry.event.record
    if record is None:
        return
    calls = story.turns[-1].calls if story.turns else story.direct
    call = next((c for c in calls if c.call.id == record.call.id and c.result is None), None)
    if call is None:
        call = CallStory(record.call, entry.time_ns)
        calls.append(call)
    if entry.event.phase is Phase.RESULT:
        call.result, call.ended_ns = record.result, entry.time_ns
