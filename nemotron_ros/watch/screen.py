"""What is known of a node, drawn with rich. Of the same view comes the same picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from nemotron_ros.events import Phase
from nemotron_ros.tools.result import Status
from nemotron_ros.watch.view import CallSeen, CommandSeen, QuestionSeen, Stage, View
from nemotron_ros.watch.visible import arguments_text, call_text, value_text, visible

HEAD_LINES = 3
MIN_TALK_LINES = 3
"""The conversation keeps so many, however long a question is."""
SHOWN_CHARS = 400
"""So much of a result, of a report or of a thought is shown: the end of it."""
KEYS = 's stop   y/n answer   q quit'

_GOOD, _BAD, _WAITS, _DIM = 'green', 'bold red', 'yellow', 'dim'
_OUTCOMES = {'SUCCEEDED': _GOOD, 'ANSWERED': 'cyan', 'ASKED': 'cyan'}
_PHASES = {
    Phase.ACCEPTED: 'taken',
    Phase.PROMPTING: 'reads the prompt …',
    Phase.GENERATING: 'writes …',
    Phase.CALLING: 'calls …',
    Phase.EXECUTING: 'acts …',
    Phase.QUEUED: 'waits for others',
}
_MARKS = {
    Stage.CALLED: ('→', 'cyan'),
    Stage.WAITING: ('?', _WAITS),
    Stage.RUNNING: ('▶', 'cyan'),
}


def screen(view: View, now_s: float, width: int, height: int) -> RenderableType:
    """Return the whole picture, ``height`` lines of ``width`` columns."""
    rows = [Layout(_head(view, now_s), size=HEAD_LINES), Layout(_Tail(_talk(view, now_s)))]
    if view.questions:
        rows.append(Layout(_asking(view, now_s, width, height), size=_lines(view, width, height)))
    rows.append(Layout(_foot(view), size=1))
    layout = Layout()
    layout.split_column(*rows)
    return layout


def readable(view: View, width: int, height: int) -> bool:
    """Whether the oldest question is shown whole in a window of that size."""
    return not view.questions or _wanted_lines(view, width) <= _room(height)


# The first lines: how the node is


def _head(view: View, now_s: float) -> RenderableType:
    return Group(_title(view), _figures(view), _state(view, now_s))


def _title(view: View) -> Text:
    parts = [(f' {view.node} ', 'bold reverse')]
    if view.robot is not None and view.robot.tools:
        parts.append((f' {visible(view.robot.robot)}, {view.robot.tools} tools', ''))
    engine = view.engine
    if engine is None:
        parts.append(('  engine not heard of', _DIM))
    else:
        told = f'{engine.engine} {engine.model}'.strip()
        style = {'ready': _GOOD, 'failed': _BAD}.get(engine.state, _WAITS)
        loaded = f' {engine.progress:.0%}' if engine.state == 'loading' else ''
        parts.append((f'  {engine.state}{loaded}', style))
        parts.append((f'  {visible(told)}', ''))
        if engine.state not in ('ready', 'closed'):
            parts.append((f'  {visible(engine.message)}', style))
    return _one_line(*parts)


def _figures(view: View) -> Text:
    health = view.health
    if health is None:
        return _one_line((' no diagnostics heard yet', _DIM))
    speed = f'{health.tokens_per_s:.1f} tokens/s' if health.tokens_per_s else 'no tokens yet'
    first = f'first after {health.first_token_s:.2f} s' if health.first_token_s else ''
    figures = (
        f'{health.running} running',
        f'{health.queued} queued',
        speed,
        first,
        f'{health.memory_mb} MB',
    )
    state = (' active', _GOOD) if health.active else (' takes no commands', _WAITS)
    return _one_line(state, ('  ' + ' · '.join(part for part in figures if part), ''))


def _state(view: View, now_s: float) -> Text:
    trouble = view.trouble(now_s)
    if trouble:
        return _one_line((f' {trouble} ', 'bold white on red'))
    if view.stopped is None:
        return _one_line((' whether a stop is latched is not known yet', _DIM))
    if view.stopped:
        inactive = view.health is not None and not view.health.active
        node = f'/{view.node.lstrip("/")}'
        way_out = (
            f'ros2 lifecycle set {node} activate'
            if inactive
            else f'ros2 service call {node}/clear_stop std_srvs/srv/Trigger'
        )
        return _one_line(
            (f' STOPPED: {visible(view.stopped)} ', 'bold white on red'), (f' {way_out}', '')
        )
    return _one_line((' no stop is latched', _GOOD))


def _one_line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow='ellipsis')


# The conversation


def _talk(view: View, now_s: float) -> list[RenderableType]:
    if not view.commands:
        return [Text(' nothing has been asked since this began to watch', _DIM)]
    return [line for command in view.commands for line in _command(command, now_s)]


def _command(command: CommandSeen, now_s: float) -> Iterator[RenderableType]:
    if command.direct:
        yield Text(f'call {visible(command.id)} of another node', _DIM)
    else:
        asked = visible(command.asked) or 'a command whose beginning was not heard'
        yield Text.assemble(('» ', 'bold'), (asked, 'bold'))
    if command.thought:
        yield _indented(Text(_end_of(command.thought), 'dim italic'))
    for seen in command.calls:
        yield _indented(_call(seen, now_s))
    if command.said:
        yield _indented(Text(visible(command.said)))
    yield _indented(_end(command, now_s))


def _call(seen: CallSeen, now_s: float) -> Text:
    result = seen.result
    if seen.stage is Stage.ENDED:
        mark, style = ('✓', _GOOD) if result.status is Status.SUCCEEDED else ('✗', _BAD)
    else:
        mark, style = _MARKS[seen.stage]
    text = Text.assemble(
        (f'{mark} ', style), (call_text(seen.call.name, seen.call.arguments), 'cyan')
    )
    if seen.decision:
        text.append(f'  {seen.decision}', _DIM if seen.decision == 'admitted' else style)
    if seen.stage is Stage.WAITING:
        waits_for = 'your yes' if seen.waits_for == 'confirmation' else visible(seen.waits_for)
        text.append(f'  waits for {waits_for}', _WAITS)
    elif seen.stage is not Stage.ENDED:
        text.append(f'  {now_s - seen.began_s:.1f} s')
        if seen.progress is not None:
            text.append(f'  {_end_of(value_text(seen.progress))}', _DIM)
    else:
        if not result.rule:
            text.append(f'  {result.status.name.lower()} in {result.duration_s:.1f} s', style)
        if result.clamped:
            text.append(f'  ran with {arguments_text(result.clamped)}', _WAITS)
        if result.confirmed_by:
            text.append(f'  confirmed by {visible(result.confirmed_by)}')
        if result.value is not None:
            text.append(f'  {_end_of(value_text(result.value))}')
        if result.error:
            text.append(f'  {visible(result.error)}', style)
    return text


def _end(command: CommandSeen, now_s: float) -> Text:
    text = Text()
    if command.lost:
        text.append('how it ended is not known', _BAD)
    elif command.ended_s is None:
        doing = _PHASES.get(command.phase, '')
        if command.phase is Phase.QUEUED:
            doing = f'{doing}: {command.ahead} before it'
        text.append(f'{doing} {now_s - command.began_s:.1f} s'.strip(), _DIM)
    elif command.status:
        style = _OUTCOMES.get(command.status, _BAD)
        text.append(command.status.lower(), style)
        text.append(f' after {command.ended_s - command.began_s:.1f} s', _DIM)
        if command.error:
            text.append(f'  {visible(command.error)}', style)
    if not command.whole:
        text.append('  some of it was not heard', _WAITS)
    return text


def _indented(text: Text) -> RenderableType:
    return Padding(text, (0, 1, 0, 2))


def _end_of(text: str) -> str:
    text = visible(text)
    return text if len(text) <= SHOWN_CHARS else f'… {text[-SHOWN_CHARS:]}'


@dataclass(frozen=True)
class _Tail:
    """The end of many lines: as many as there is room for."""

    parts: list[RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or options.max_height
        free = options.update(height=None)
        lines: list[list[Segment]] = []
        for part in reversed(self.parts):  # what is above the window is not drawn
            lines = [*console.render_lines(part, free), *lines]
            if len(lines) >= height:
                break
        for line in lines[-height:]:
            yield from line
            yield Segment.line()


# The question, and the last line


def _asking(view: View, now_s: float, width: int, height: int) -> RenderableType:
    oldest = view.questions[0]
    others = len(view.questions) - 1
    title = 'WAITS FOR YOUR YES' + (f', and {others} more after it' if others else '')
    text = _question(oldest, now_s)
    if not readable(view, width, height):
        tool = visible(oldest.question.tool)
        text = Text(
            f'{tool} waits; its call does not fit into this window: make it larger, or use '
            'nemotron confirm. n says no.',
            _WAITS,
        )
    return Panel(text, title=title, border_style='bold yellow')


def _question(seen: QuestionSeen, now_s: float) -> Text:
    question = seen.question
    within_s = question.deadline_time_s - question.asked_time_s
    left_s = max(0.0, within_s - (now_s - seen.since_s))
    return Text.assemble(
        (call_text(question.tool, question.arguments), 'bold'),
        f'\n{visible(question.description)}\n',
        ('y', 'bold'),
        ' let it run   ',
        ('n', 'bold'),
        f' do not   no answer means no, in at most {left_s:.0f} s',
    )


def _wanted_lines(view: View, width: int) -> int:
    """Return how many lines the oldest question takes, its frame included."""
    oldest = view.questions[0]
    console = Console(width=width)
    inside = console.options.update(width=width - 4)
    return 2 + len(console.render_lines(_question(oldest, oldest.since_s), inside))


def _room(height: int) -> int:
    return height - HEAD_LINES - MIN_TALK_LINES - 1


def _lines(view: View, width: int, height: int) -> int:
    return max(3, min(_wanted_lines(view, width), _room(height)))


def _foot(view: View) -> Text:
    told = view.key
    if told is None:
        return _one_line((f' {KEYS}', _DIM))
    style = _GOOD if told.good else _BAD
    return _one_line((f' {KEYS}', _DIM), (f'   {visible(told.text)}', style))
