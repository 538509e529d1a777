"""What a trace adds up to: how commands ended, what was refused and why, how long things took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nemotron_ros.trace.record import Trace
from nemotron_ros.trace.stories import Story, stories
from nemotron_ros.trace.verdict import Decision, verdict_of


def summary(traces: Sequence[Trace]) -> dict[str, Any]:
    """Return counts and times as a JSON value. Times are ``[median, 95 %, largest]`` in s."""
    told = [story for trace in traces for story in stories(trace.entries)]
    commands = [story for story in told if not story.direct]
    tools: dict[str, Counter[str]] = defaultdict(Counter)
    refused: Counter[str] = Counter()
    seconds: dict[str, list[float]] = defaultdict(list)
    for story in told:
        for call in story.calls:
            if call.result is None:
                tools[call.call.name]['not told'] += 1
                continue
            tools[call.call.name][call.result.status.name.lower()] += 1
            verdict = verdict_of(call.result)
            if verdict.decision in (Decision.DENIED, Decision.INVALID):
                refused[str(verdict)] += 1
            seconds[f'call of {call.call.name}'].append(call.result.duration_s)
    for story in commands:
        for name, value in _times(story).items():
            seconds[name].append(value)
    return {
        'commands': dict(Counter(story.status.lower() or 'not told' for story in commands)),
        'direct_calls': len(told) - len(commands),
        'turns': sum(len(story.turns) for story in commands),
        'tools': {name: dict(counts) for name, counts in sorted(tools.items())},
        'refused': dict(refused),
        'seconds': {name: _spread(values) for name, values in sorted(seconds.items())},
        'incomplete': sum(not story.whole for story in told),
        'lost': sum(trace.origin.lost for trace in traces),
    }


def _times(story: Story) -> Mapping[str, float]:
    times = {}
    firsts = [turn.first_ns for turn in story.turns if turn.first_ns is not None]
    if firsts:
        times['command: first word'] = (firsts[0] - story.began_ns) / 1e9
    if story.calls:
        times['command: first call'] = (story.calls[0].began_ns - story.began_ns) / 1e9
    if story.ended_ns is not None:
        times['command: whole'] = (story.ended_ns - story.began_ns) / 1e9
    return times


def _spread(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    places = (0.5, 0.95, 1.0)
    return [round(ordered[min(int(p * len(ordered)), len(ordered) - 1)], 4) for p in places]
