"""What a key means to who has seen a picture: a stop always, a yes never by accident."""

from __future__ import annotations

import pytest

from nemotron_ros.tools.confirmation import Question
from nemotron_ros.watch.keys import READ_S, Answer, Quit, Refused, Shown, Stop, meaning
from nemotron_ros.watch.view import QuestionSeen, View

LATER_S = 100.0 + READ_S


def asked(*names: str) -> View:
    questions = (Question(name, 'open_door', 'Open it.', {}, 0.0, 8.0) for name in names)
    return View('nemotron', questions=tuple(QuestionSeen(q, 90.0) for q in questions))


def shown(*names: str) -> Shown:
    """Return what is seen since 100 s."""
    return Shown(View('nemotron')).then(asked(*names), True, 100.0)


@pytest.mark.parametrize('pressed', ['s', ' ', 'sss', 'ys', 'sy', 'yes, please', '\x1bs'])
@pytest.mark.parametrize('names', [(), ('a',)])
def test_stop_is_always_a_stop(pressed, names):
    assert meaning(pressed, shown(*names), 100.0) == Stop()


def test_an_answer_goes_to_the_question_that_was_read():
    assert meaning('y', shown('a', 'b'), LATER_S) == Answer('a', True)
    assert meaning('n', shown('a', 'b'), LATER_S) == Answer('a', False)


def test_a_no_is_never_too_soon():
    assert meaning('n', shown('a'), 100.0) == Answer('a', False)
    unread = Shown(asked('a'), whole=False, since_s=100.0)
    assert meaning('n', unread, 100.0) == Answer('a', False)


def test_a_yes_that_comes_too_soon_is_not_taken():
    assert isinstance(meaning('y', shown('a'), LATER_S - 0.1), Refused)


def test_a_yes_does_not_slip_to_the_next_question():
    next_one = shown('a', 'b').then(asked('b'), True, 105.0)
    assert isinstance(meaning('y', next_one, 105.1), Refused)
    assert meaning('y', next_one, 105.0 + READ_S) == Answer('b', True)


def test_the_time_runs_on_while_the_same_question_is_drawn_again():
    again = shown('a').then(asked('a', 'b'), True, LATER_S)
    assert meaning('y', again, LATER_S) == Answer('a', True)


def test_a_question_that_is_not_shown_whole_gets_no_yes():
    cut = shown('a').then(asked('a'), False, 105.0)
    refused = meaning('y', cut, 110.0)
    assert isinstance(refused, Refused)
    assert 'nemotron confirm' in refused.why
    whole = cut.then(asked('a'), True, 110.0)
    assert isinstance(meaning('y', whole, 110.1), Refused), 'it has just become readable'


@pytest.mark.parametrize('pressed', ['yy', 'y\n', 'yq', '\x1b[A', '\x1b[1;2D', 'nn'])
def test_what_is_pasted_means_nothing(pressed):
    assert meaning(pressed, shown('a'), LATER_S) is None


def test_where_nothing_waits_a_yes_says_so():
    assert meaning('y', shown(), LATER_S) == Refused('nothing waits for a yes')


def test_the_other_keys():
    assert meaning('q', shown('a'), 100.0) == Quit()
    assert meaning('x', shown('a'), 100.0) is None
    assert meaning('', shown('a'), 100.0) is None
