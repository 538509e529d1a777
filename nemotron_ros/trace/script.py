"""A trace as a person reads it: what was asked, said, called and done, with the times."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping

from nemotron_ros.trace.record import Trace
from nemotron_ros.trace.stories import CallStory, Story, TurnStory, stories
from nemotron_ros.trace.verdict import Decision, verdict_of

_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f]+')


def script_lines(trace: Trace) -> Iterator[str]:
    """Yield the lines of a trace, without control characters.

    Times count from a command's beginning, in seconds.
    """
    for line in _lines(trace):
        # What a model writes gives no orders to a terminal.
        yield _CONTROL.sub(' ', line)


def _lines(trace: Trace) -> Iterator[str]:
    origin = trace.origin
    yield (
        f'{origin.node or "a node"} ({origin.robot or "robot not told"}), engine '
        f'{origin.engine or "not told"}: {origin.model or "model not told"}'
    )
    for name, path, digest in (
        ('tool file', origin.tool_file, origin.tool_file_sha256),
        ('model file', origin.model_file, origin.model_sha256),
    ):
        if path:
            yield f'{name} {path}, SHA-256 {digest or "not known"}'
    for flaw in trace.flaws:
        yield f'note: {flaw}'
    if origin.lost:
        yield f'note: {origin.lost} events before this file were lost'
    for story in stories(trace.entries):
        yield ''
        yield from _story(story)


def _story(story: Story) -> Iterator[str]:
    when = time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(story.began_ns / 1e9))
    if story.direct:
        yield f'{when}  call {story.id}'
    else:
        asked = 'a command' if story.goal is None else repr(story.goal.command)
        yield f'{when}  {asked}  (command {story.id}, session {story.session_id or "none"})'
        if story.goal is not None and story.goal.allowed_tools != ('*',):
            yield f'          may use: {", ".join(story.goal.allowed_tools) or "no tool"}'
    if not story.whole:
        yield '          events of it are missing'
    for call in story.direct:
        yield from _call(story, call)
    for turn in story.turns:
        yield f'{_at(story, turn.began_ns)}  asks the model{_asked(turn)}'
        if turn.reasoning:
            yield f'{_at(story, turn.first_ns)}  thinks: {turn.reasoning}'
        if turn.text:
            yield f'{_at(story, turn.first_ns)}  says: {turn.text}'
        for call in turn.calls:
            yield from _call(story, call)
    if story.ended_ns is not None:
        reason = f': {story.error}' if story.error else ''
        yield f'{_at(story, story.ended_ns)}  {story.status.lower() or "ended"}{reason}'
    elif not story.direct:
        yield '          its end is not in the trace'


def _asked(turn: TurnStory) -> str:
    cost = turn.asked.get('cost')
    parts = []
    if isinstance(messages := turn.asked.get('messages'), list):
        parts.append(f'{len(messages)} messages after the opening')
    if isinstance(cost, Mapping):
        told = {key: cost.get(key) for key in ('prompt_tokens', 'completion_tokens')}
        parts += [f'{count} {key.replace("_", " ")}' for key, count in told.items()]
    return f' ({", ".join(parts)})' if parts else ''


def _call(story: Story, told: CallStory) -> Iterator[str]:
    arguments = json.dumps(dict(told.call.arguments), ensure_ascii=False)
    yield f'{_at(story, told.began_ns)}  calls {told.call.name} {arguments}'
    if told.result is None or told.ended_ns is None:
        yield '          its end is not in the trace'
        return
    result, verdict = told.result, verdict_of(told.result)
    gate = str(verdict) + (f', confirmed by {result.confirmed_by}' if result.confirmed_by else '')
    how = '' if verdict.decision in (Decision.DENIED, Decision.INVALID) else result.status.name
    value = '' if result.value is None else json.dumps(result.value, ensure_ascii=False)
    parts = (gate, how.lower(), f'{result.duration_s:.3f} s', value, result.error)
    yield f'{_at(story, told.ended_ns)}  {"; ".join(part for part in parts if part)}'


def _at(story: Story, time_ns: int | None) -> str:
    return '          ' if time_ns is None else f'{(time_ns - story.began_ns) / 1e9:+9.3f}s'
