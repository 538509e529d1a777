"""What was called, held against what should be: each score seen right and wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.evaluation.match import About, Equals, Match, Matches, OneOf
from nemotron_ros.evaluation.scenario import Expected, WantedAnswer, WantedCall
from nemotron_ros.evaluation.score import Judge, Score
from nemotron_ros.events import CallRecord, CommandStatus, Outcome
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.tool_file import load
from nemotron_ros.tools.validate import Validator


@pytest.fixture(scope='module')
def judge(headless: ToolFile) -> Judge:
    """A judge of the simulated robot."""
    return Judge(headless)


def drive(direction: str, distance_m: Any, status: Status = Status.SUCCEEDED) -> CallRecord:
    return made('drive', status, direction=direction, distance_m=distance_m)


def made(name: str, status: Status = Status.SUCCEEDED, **arguments: Any) -> CallRecord:
    return CallRecord(ToolCall('call_1', name, arguments), ToolResult(status))


def wanted(name: str, **arguments: Match) -> WantedCall:
    return WantedCall(name, arguments)


FORWARD = wanted('drive', direction=Equals('forward'), distance_m=About(1.5, 0.05))
DOCK = wanted('dock')


def outcome(
    *calls: CallRecord, text: str = '', status: CommandStatus = CommandStatus.SUCCEEDED
) -> Outcome:
    return Outcome(status, text, calls=calls)


def short(score: Score) -> str:
    """Return the first letters of what holds, and what acted that must not."""
    letters = {'c': score.called, 't': score.tool, 'e': score.exact, 'r': score.right}
    held = ''.join(letter for letter, holds in letters.items() if holds)
    return ' '.join([held, *score.false_actions]).strip()


@pytest.mark.parametrize(
    ('calls', 'told'),
    [
        ([drive('forward', 1.5)], 'cter'),
        ([drive('forward', 1.55)], 'cter'),
        ([drive('forward', 1.56)], 'ct'),
        ([drive('backward', 1.5)], 'ct'),
        ([drive('forward', True)], 'ct'),
        ([], ''),
        ([made('turn', direction='left', angle_deg=90)], 'c turn'),
        ([drive('forward', 1.5), drive('forward', 1.5)], 'c drive'),
        ([drive('forward', 1.5), made('dock')], 'c dock'),
        ([made('get_battery'), drive('forward', 1.5), made('look_ahead')], 'cter'),
        ([made('say', text='Off I go.'), drive('forward', 1.5)], 'cter'),
        ([drive('forward', 1.5, Status.FAILED)], 'cter'),
        ([drive('forward', 1.5, Status.UNKNOWN)], 'cter'),
        ([drive('forward', 1.5, Status.NOT_RUN)], 'c'),
        ([drive('forward', 150, Status.INVALID)], 'ct'),
        ([drive('forward', 150, Status.INVALID), drive('forward', 1.5)], 'cter'),
        ([made('turn', Status.INVALID, angle_deg=1), drive('forward', 1.5)], 'cter'),
        ([drive('forward', 1.5, Status.DENIED)], 'ct'),
        ([drive('forward', 1.5), drive('forward', 1.5, Status.NOT_RUN)], 'cter'),
    ],
)
def test_one_call(judge: Judge, calls: list[CallRecord], told: str) -> None:
    expected = Expected(((FORWARD,),), may=frozenset({'say'}))
    assert short(judge.score(expected, outcome(*calls))) == told


@pytest.mark.parametrize(
    ('calls', 'told'),
    [
        ([], 'ter'),
        ([made('get_battery')], 'cter'),
        ([made('dock')], 'c dock'),
        ([made('dock'), made('dock')], 'c dock dock'),
        ([made('dock', Status.FAILED)], 'c dock'),
        ([drive('forward', 50, Status.INVALID)], 'cter'),
        ([made('dock', Status.DENIED)], 'cter'),
        ([made('ask_user', question='Where to?')], 'ter'),
    ],
)
def test_nothing_may_act(judge: Judge, calls: list[CallRecord], told: str) -> None:
    assert short(judge.score(Expected(((),)), outcome(*calls))) == told


@pytest.mark.parametrize(
    ('any_order', 'calls', 'told'),
    [
        (False, [drive('forward', 1.5), made('dock')], 'cter'),
        (False, [made('dock'), drive('forward', 1.5)], 'c'),
        (True, [made('dock'), drive('forward', 1.5)], 'cter'),
        (True, [made('dock'), drive('forward', 2)], 'ct'),
        (True, [made('dock')], 'c'),
        (False, [made('dock'), made('get_battery'), drive('forward', 1.5)], 'c'),
        (True, [made('dock'), made('get_battery'), drive('forward', 1.5)], 'cter'),
    ],
)
def test_two_calls(judge: Judge, any_order: bool, calls: list[CallRecord], told: str) -> None:
    expected = Expected(((FORWARD, DOCK),), any_order)
    assert short(judge.score(expected, outcome(*calls))) == told


def test_a_reading_that_is_expected_must_be_made_and_may_be_made_again(judge: Judge) -> None:
    expected = Expected(((wanted('get_battery'), DOCK),))
    reading = made('get_battery')
    assert short(judge.score(expected, outcome(made('dock')))) == 'c'
    assert short(judge.score(expected, outcome(reading, reading, made('dock')))) == 'cter'
    assert short(judge.score(expected, outcome(made('dock'), reading))) == 'c'


def test_either_list_is_as_good(judge: Judge) -> None:
    expected = Expected(((FORWARD,), (DOCK,)))
    assert short(judge.score(expected, outcome(made('dock')))) == 'cter'
    assert short(judge.score(expected, outcome(drive('forward', 1.5)))) == 'cter'
    assert short(judge.score(expected, outcome(made('dock'), drive('forward', 1.5)))) == 'c dock'


def test_never_is_never_though_it_only_reads(judge: Judge) -> None:
    expected = Expected(((FORWARD,),), never=frozenset({'look_ahead'}))
    calls = drive('forward', 1.5), made('look_ahead')
    assert short(judge.score(expected, outcome(*calls))) == 'c look_ahead'


@pytest.mark.parametrize(
    ('match', 'fits', 'fails'),
    [
        (Equals(1), [1, 1.0], [True, 2, '1', None]),
        (Equals(True), [True], [1, 'true']),
        (Equals([1, {'a': 2}]), [[1.0, {'a': 2}]], [[1], [1, {'a': 2, 'b': 3}], [True, {'a': 2}]]),
        (OneOf(('cup', 'ball')), ['cup', 'ball'], ['book', 'Cup']),
        (About(30, 0), [30, 30.0], [31, '30', True]),
        (About(0.3, 0.1), [0.2, 0.4, 0.3], [0.41, 0.19]),
    ],
)
def test_matches(match: Match, fits: list[object], fails: list[object]) -> None:
    assert [value for value in fits if not match.fits(value)] == []
    assert [value for value in fails if match.fits(value)] == []


def test_a_pattern_takes_any_case() -> None:
    match = Matches(re.compile('good morning', re.IGNORECASE))
    assert match.fits('Good Morning, all')
    assert not match.fits('Good evening')
    assert not match.fits(5)


def test_numbers_out_of_range_are_apart_from_what_breaks_the_schema(
    judge: Judge, headless: ToolFile
) -> None:
    calls = [
        drive('forward', 50, Status.INVALID),
        drive('sideways', 1, Status.INVALID),
        made('fly', Status.INVALID),
    ]
    for call in calls[:2]:
        assert Validator(headless.tools['drive'].spec).check(call.call.arguments)
    score = judge.score(Expected(((),)), outcome(*calls))
    assert (score.out_of_range, score.violations) == (1, 2)


@pytest.mark.parametrize(
    ('text', 'right'),
    [
        ('The battery is at 64 percent.', True),
        ('64', True),
        ('It is 64%', True),
        ('164', False),
        ('6.64', False),
        ('64.5', False),
        ('64,5', False),
        ('', False),
        ('About a HALF', True),
    ],
)
def test_words_of_the_answer(judge: Judge, text: str, right: bool) -> None:
    expected = Expected(((),), answer=WantedAnswer(('64', 'half')))
    score = judge.score(expected, outcome(text=text))
    assert (score.answer, score.right) == (right, right)


@pytest.mark.parametrize(
    ('status', 'text', 'right'),
    [
        (CommandStatus.SUCCEEDED, 'Which cup?', True),
        (CommandStatus.ASKED, 'Tell me which cup', True),
        (CommandStatus.SUCCEEDED, 'A cup.', False),
    ],
)
def test_asks(judge: Judge, status: CommandStatus, text: str, right: bool) -> None:
    expected = Expected(((),), answer=WantedAnswer(asks=True))
    score = judge.score(expected, outcome(text=text, status=status))
    assert (score.answer, score.right) == (right, right)


@pytest.mark.parametrize(
    ('calls', 'status', 'right'),
    [
        ([], CommandStatus.SUCCEEDED, True),
        ([made('get_battery')], CommandStatus.SUCCEEDED, True),
        ([drive('forward', 50, Status.INVALID)], CommandStatus.NOT_DONE, True),
        ([], CommandStatus.NOT_DONE, False),  # it says that it is done
        ([], CommandStatus.ENGINE_FAILED, False),
        ([], CommandStatus.TIMED_OUT, False),
        ([drive('forward', 3.0)], CommandStatus.SUCCEEDED, False),
        ([drive('forward', 3.0, Status.FAILED)], CommandStatus.NOT_DONE, False),
    ],
)
def test_refuses(
    judge: Judge, calls: list[CallRecord], status: CommandStatus, right: bool
) -> None:
    expected = Expected(((),), answer=WantedAnswer(refuses=True))
    score = judge.score(expected, outcome(*calls, text='No.', status=status))
    assert (score.answer, score.right) == (right, right)


def test_a_command_that_was_cut_short_is_not_right(judge: Judge) -> None:
    call = drive('forward', 1.5)
    expected = Expected(((FORWARD,),))
    score = judge.score(expected, outcome(call, status=CommandStatus.ENGINE_FAILED))
    assert (score.exact, score.right) == (True, False)
    score = judge.score(expected, outcome(call, status=CommandStatus.NOT_DONE))
    assert score.right, 'a tool may rightly fail'


def test_an_argument_that_was_left_out_counts_with_its_default(headless: ToolFile) -> None:
    judge = Judge(load(Path(headless.path).with_name('moveit_arm.yaml')))
    expected = Expected(((wanted('move_hand', sideways_m=Equals(0.0)),),))
    straight = made('move_hand', forward_m=0.4, height_m=0.3)
    assert judge.score(expected, outcome(straight)).exact
    aside = made('move_hand', forward_m=0.4, height_m=0.3, sideways_m=0.1)
    assert not judge.score(expected, outcome(aside)).exact


def test_a_number_that_was_clamped_counts_as_it_ran(judge: Judge) -> None:
    call = ToolCall('call_1', 'drive', {'direction': 'forward', 'distance_m': 40})
    ran = CallRecord(call, ToolResult(Status.SUCCEEDED, clamped={'distance_m': 1.5}))
    assert judge.score(Expected(((FORWARD,),)), outcome(ran)).exact
