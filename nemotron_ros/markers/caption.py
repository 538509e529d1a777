"""What is written over the robot, and the colour of its gate. No ROS.

The letters are ASCII where they are ours: RViz draws no others with certainty.
"""

from __future__ import annotations

import textwrap
from enum import Enum

from nemotron_ros.tools.result import Status
from nemotron_ros.watch.view import CallSeen, CommandSeen, Stage, View
from nemotron_ros.watch.visible import call_text, visible

COLUMNS = 44
LINES = 3
CALLS = 4
"""So many calls are shown, the last ones."""


class Gate(Enum):
    """What the gate does now."""

    STOPPED = 'stopped'
    ASKING = 'asking'
    BUSY = 'busy'
    FREE = 'free'


def gate(view: View) -> tuple[Gate, str]:
    """Return what the gate does, and in words why it lets nothing through or waits."""
    if view.stopped:
        return Gate.STOPPED, f'STOPPED: {visible(view.stopped)}'
    calls = [call for command in view.commands if command.open for call in command.calls]
    for call in calls:
        if call.stage is Stage.WAITING:
            what = 'a yes' if call.waits_for == 'confirmation' else visible(call.waits_for)
            return Gate.ASKING, f'{call.call.name} waits for {what}'
    return (Gate.BUSY if any(call.stage is not Stage.ENDED for call in calls) else Gate.FREE), ''


def command_text(command: CommandSeen) -> str:
    """Return what was asked, and how it ended if it has."""
    words = visible(command.asked) or f'call {visible(command.id)}'
    ended = '' if command.ended_s is None or not command.status else command.status.lower()
    lines = textwrap.wrap(words, COLUMNS, max_lines=LINES, placeholder=' ...')
    return '\n'.join([*lines, *([f'[{ended}]'] if ended else [])])


def calls_text(command: CommandSeen) -> str:
    """Return its last calls, each with what became of it; empty if it has made none."""
    return '\n'.join(_line(seen) for seen in command.calls[-CALLS:])


def _line(seen: CallSeen) -> str:
    call = call_text(seen.call.name, seen.call.arguments)
    call = textwrap.shorten(call, COLUMNS, placeholder=' ...')
    if seen.stage is not Stage.ENDED:
        return f'> {call}'
    if seen.result.status is Status.SUCCEEDED:
        return f'{call}: ok'
    why = seen.decision if seen.result.rule else seen.result.status.name.lower()
    return f'{call}: {why}'
