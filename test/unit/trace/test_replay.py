"""A replay says what would go another way today, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from telling import START_NS, STEP_NS, Told

from nemotron_ros.chat.formats.protocol import FormatError
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load
from nemotron_ros.trace import replay as module
from nemotron_ros.trace.hold import Hold
from nemotron_ros.trace.record import Trace
from nemotron_ros.trace.replay import replay

SHORT = ('drive', {'seconds': 0.5})
CLAMPS = 'description: Drive for a time.\n    out_of_range: clamp'


def ways(report) -> list[tuple[str, str]]:
    return [
        (found.then.partition(':')[0], found.today.partition(':')[0])
        for found in report.differences
    ]


def test_the_same_file_makes_no_difference(told):
    told.command('go', SHORT, ('turn', {'seconds': 1}), words=['I ', 'go.'])
    told.command('too far', ('drive', {'seconds': 100}), status='NOT_DONE')
    told.command('fly', ('fly', {}), status='NOT_DONE')
    told.command('only turn', SHORT, allowed=('turn',), status='NOT_DONE')
    told.command('try', SHORT, dry_run=True)
    told.command('stop', turns=False)
    report = replay(told.trace, told.file)
    assert report.differences == []
    assert (report.commands, report.calls) == (6, 6)
    # The words of the two turns whose call was invalid, and of a stop, say nothing.
    assert report.turns == 3


def test_a_number_is_clamped_as_it_was(write_tools):
    told = Told(write_tools('description: Drive for a time.', CLAMPS))
    results = told.command('far', ('drive', {'seconds': 100}))
    assert (results[0].status, results[0].clamped) == (Status.SUCCEEDED, {'seconds': 10})
    assert replay(told.trace, told.file).differences == []
    report = replay(told.trace, write_tools())
    assert ways(report) == [('admitted', 'invalid by schema')]


@pytest.mark.parametrize(
    ('old', 'new', 'today'),
    [
        ('maximum: 10}}\n    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,\n'
         '            message: {linear', 'maximum: 0.4}}\n    topic: {name: cmd_vel, type: '
         'geometry_msgs/msg/Twist, rate_hz: 20,\n            message: {linear',
         'invalid by schema'),
        ('  drive:', '  drive_on:', 'invalid by unknown'),
        ('max_per_minute: 3', 'max_per_minute: 3, confirm: true', 'denied by confirmation'),
        ('max_per_minute: 3', 'max_per_command: 1', 'denied by quota'),
        ('max_per_minute: 3', 'max_per_minute: 1', 'denied by rate'),
    ],
    ids=['bounds', 'tool gone', 'confirmation', 'quota', 'rate'],
)  # fmt: skip
def test_what_today_would_refuse(told, write_tools, old, new, today):
    told.command('go', SHORT, SHORT)
    report = replay(told.trace, write_tools(old, new))
    found = [way for way in ways(report) if way[0] == 'admitted']
    assert ('admitted', today) in found
    assert len(found) == (1 if today in ('denied by quota', 'denied by rate') else 2)


def test_what_today_would_let_through(told, write_tools):
    results = told.command('go', SHORT, SHORT, SHORT, SHORT, status='NOT_DONE')
    assert results[-1].status is Status.DENIED
    assert replay(told.trace, told.file).differences == []
    report = replay(told.trace, write_tools('max_per_minute: 3', 'max_per_minute: 30'))
    assert ways(report) == [('denied by rate', 'admitted')]


def test_a_rate_goes_by_the_times_of_the_record(told):
    for _ in range(3):
        told.command('go', SHORT)
    told.now_ns += 61 * 10**9
    results = told.command('go', SHORT)
    assert results[0].status is Status.SUCCEEDED
    assert replay(told.trace, told.file).differences == []


def test_calls_at_once_hold_their_group_until_they_ended(told):
    told.command('one', ('drive', {'seconds': 5.0}))
    told.command('two', ('turn', {'seconds': 0.2}))
    one, two = told.entries[:5], told.entries[5:]
    # As if the second command had run amid the first one's call.
    moved = [replace(entry, time_ns=START_NS + 2 * STEP_NS + i + 1) for i, entry in enumerate(two)]
    call = one[3].event.record

    def with_first_call_of(duration_s: float) -> Trace:
        record = CallRecord(call.call, replace(call.result, duration_s=duration_s))
        event = replace(one[3].event, record=record)
        last = replace(one[3], time_ns=one[2].time_ns + 5 * 10**9, event=event)
        return Trace(told.trace.origin, (*one[:3], *moved, last, one[4]))

    report = replay(with_first_call_of(5.0), told.file)
    assert ways(report) == [('admitted', 'denied by exclusive')]
    # It was announced, and waited for its turn until the others had ended.
    assert replay(with_first_call_of(0.1), told.file).differences == []


def test_what_the_world_said_is_taken_from_the_record(write_tools):
    requires = write_tools(
        'robot: bench\n',
        'robot: bench\nconditions:\n  odometry_fresh: {topic: odom, type: nav_msgs/msg/Odometry,'
        ' max_age_s: 1.0}\n',
    )
    path = requires.path
    with open(path) as file:
        text = file.read()
    with open(path, 'w') as file:
        file.write(text.replace('max_per_minute: 3', 'requires: [odometry_fresh]'))
    told = Told(load(path))
    told.unmet = 'odom is silent'
    assert told.command('go', SHORT)[0].status is Status.DENIED
    told.unmet = ''
    told.guard.latch('a test')
    assert told.command('go', SHORT)[0].error.startswith('stop: ')
    told.guard.clear()
    assert told.command('go', SHORT)[0].status is Status.SUCCEEDED
    report = replay(told.trace, told.file)
    assert (report.differences, report.calls) == ([], 3)


def test_stop_words_of_today(told, write_tools):
    told.command('stop', turns=False)
    told.command('whoops')
    changed = write_tools('robot: bench\n', 'robot: bench\nstop_words: [whoops]\n')
    report = replay(told.trace, changed)
    assert [(found.then, found.today) for found in report.differences] == [
        ('stops the robot', 'goes to the model'),
        ('goes to the model', 'stops the robot'),
    ]


def test_a_goal_that_names_a_tool_that_is_gone(told, write_tools):
    told.command('turn', allowed=('turn',), words=['No.'])
    report = replay(told.trace, write_tools('  turn:', '  spin:'))
    assert [found.today for found in report.differences] == ['rejected: no tool named turn']


def test_words_that_no_parser_of_today_can_read(told, monkeypatch):
    told.command('go', SHORT, words=['Going.'])

    class Broken:
        name = 'broken'

        def print_calls(self, calls):
            return 'x'

        def parser(self, specs):
            return self

        def feed(self, text):
            raise FormatError('no longer read')

    monkeypatch.setattr(module, 'FORMATS', (Broken(),))
    report = replay(told.trace, told.file)
    assert [found.what for found in report.differences] == ['words of the model']
    assert 'no longer read' in report.differences[0].today


def test_a_parser_that_reads_another_value_is_found(told, monkeypatch):
    told.command('go', SHORT)

    class Doubled(module.JsonCall):
        def print_calls(self, calls):
            return super().print_calls(calls).replace('0.5', '1.0')

    monkeypatch.setattr(module, 'FORMATS', (Doubled(),))
    assert len(replay(told.trace, told.file).differences) == 1


def test_what_was_redacted_is_not_judged(told):
    told.command('say', ('say', {'text': 'a', 'token': 'b'}))
    hold = Hold()
    entries = [held for entry in told.entries for held in hold.push(entry)]
    report = replay(Trace(told.trace.origin, tuple(entries)), told.file)
    assert (report.calls, report.differences) == (0, [])
    assert report.unjudged['a call of which arguments were taken out of the trace'] == 1


def test_a_trace_that_begins_and_ends_amid_commands(told):
    told.command('go', SHORT)
    told.command('go', SHORT)
    told.entries[:1], told.entries[-1:] = [], []
    report = replay(told.trace, told.file)
    assert report.differences == []
    assert sorted(report.unjudged) == [
        'a call of a command whose bounds are not in the trace',
        'the beginning of the command is not in the trace',
        'the end of the command is not in the trace',
    ]


def test_a_call_by_itself_is_judged(told, write_tools):
    told.command('go', SHORT)
    calls = [
        replace(entry, event=replace(entry.event, command_id='direct', sequence=number))
        for number, entry in enumerate(told.entries[2:4])
    ]
    trace = Trace(told.trace.origin, tuple(calls))
    assert replay(trace, told.file).differences == []
    assert ways(replay(trace, write_tools('minimum: 0.1', 'minimum: 0.6'))) == [
        ('admitted', 'invalid by schema')
    ]


def test_a_question_to_the_person_passes_no_guard(told):
    told.command('go', ('ask_user', {'question': 'Where to?'}), status='ASKED')
    call = told.entries[2].event
    asking = replace(call, phase=Phase.ASKING, record=None, detail={'question': 'Where to?'})
    result = told.entries[3].event.record
    good = replace(
        result, result=replace(result.result, status=Status.SUCCEEDED, error='', rule='')
    )
    told.entries[3] = replace(told.entries[3], event=replace(told.entries[3].event, record=good))
    told.entries.insert(3, replace(told.entries[2], event=asking))
    report = replay(told.trace, told.file)
    assert (report.differences, report.calls, report.turns) == ([], 0, 1)


def test_a_refusal_by_the_executor_is_not_judged(told):
    told.command('go', SHORT, status='NOT_DONE')
    entry = told.entries[3]
    result = replace(
        entry.event.record.result,
        status=Status.DENIED,
        error='limits: outside the fence',
        rule='limits',
    )
    event: Event = replace(entry.event, record=CallRecord(entry.event.record.call, result))
    assert event.phase is Phase.RESULT
    told.entries[3] = replace(entry, event=event)
    report = replay(told.trace, told.file)
    assert report.differences == []
    assert report.unjudged['a call that was denied by limits'] == 1
