"""Questions to an operator: one answer each, in time or not at all."""

from __future__ import annotations

import threading
import time

import pytest
from threads import in_thread

from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.confirmation import Answer, Confirmations, Question

LONG_S = 10.0


class Desk:
    """An operator's desk: every list of open questions that was announced."""

    def __init__(self) -> None:
        self.lists: list[tuple[Question, ...]] = []
        self._changed = threading.Condition()
        self.confirmations = Confirmations(self._take)

    def _take(self, questions: tuple[Question, ...]) -> None:
        with self._changed:
            self.lists.append(questions)
            self._changed.notify_all()

    def wait_for(self, count: int) -> tuple[Question, ...]:
        """Return the open questions once there are so many."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: bool(self.lists) and len(self.lists[-1]) == count, LONG_S
            )
            return self.lists[-1]

    def ask(self, within_s: float = LONG_S, cancel: CancelToken | None = None):
        """Ask beside the test; the answer waits for what it gives."""
        token = cancel or CancelToken()
        return in_thread(
            lambda: self.confirmations.ask('open', 'Opens.', {'wide': True}, within_s, token)
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize('yes', [True, False])
def test_an_answer_reaches_who_asked(desk: Desk, yes: bool) -> None:
    answer = desk.ask()
    (question,) = desk.wait_for(1)
    assert (question.tool, question.description) == ('open', 'Opens.')
    assert question.arguments == {'wide': True}
    assert question.deadline_time_s - question.asked_time_s == pytest.approx(LONG_S, abs=0.1)
    assert desk.confirmations.answer(question.id, yes, ' Ann ') == ''
    assert answer() == Answer(yes, 'Ann')
    assert desk.lists[-1] == ()


def test_no_answer_in_time_is_none(desk: Desk) -> None:
    began_s = time.monotonic()
    answer = desk.ask(0.05)
    assert answer() is None
    assert 0.05 <= time.monotonic() - began_s < 2
    question = desk.lists[0][0]
    assert 'no open question' in desk.confirmations.answer(question.id, True, 'Ann')


def test_a_cancel_withdraws_the_question(desk: Desk) -> None:
    cancel = CancelToken()
    answer = desk.ask(cancel=cancel)
    (question,) = desk.wait_for(1)
    cancelled_s = time.monotonic()
    cancel.cancel()
    assert answer() is None
    assert time.monotonic() - cancelled_s < LONG_S / 4
    assert desk.lists[-1] == ()
    assert 'no open question' in desk.confirmations.answer(question.id, True, 'Ann')


def test_the_question_ends_with_the_command(desk: Desk) -> None:
    answer = desk.ask(LONG_S, CancelToken(0.05))
    assert answer() is None
    (question,) = desk.lists[0]
    assert question.deadline_time_s - question.asked_time_s <= 0.05


def test_the_first_answer_counts(desk: Desk) -> None:
    answer = desk.ask()
    (question,) = desk.wait_for(1)
    assert desk.confirmations.answer(question.id, False, 'Ann') == ''
    assert desk.confirmations.answer(question.id, True, 'Bob') != ''
    assert answer() == Answer(False, 'Ann')


@pytest.mark.parametrize('who', ['', '  ', '\n'])
def test_who_answers_must_be_said(desk: Desk, who: str) -> None:
    answer = desk.ask()
    (question,) = desk.wait_for(1)
    assert 'who' in desk.confirmations.answer(question.id, True, who)
    assert desk.confirmations.answer(question.id, True, 'Ann') == ''
    assert answer() == Answer(True, 'Ann')


@pytest.mark.parametrize('question_id', ['', '1', 'open'])
def test_an_answer_to_nothing_changes_nothing(desk: Desk, question_id: str) -> None:
    answer = desk.ask()
    (question,) = desk.wait_for(1)
    assert 'no open question' in desk.confirmations.answer(question_id, True, 'Ann')
    assert desk.confirmations.answer(question.id, False, 'Ann') == ''
    assert answer() == Answer(False, 'Ann')


def test_each_answer_goes_to_its_own_question(desk: Desk) -> None:
    first = desk.ask()
    (one,) = desk.wait_for(1)
    second = desk.ask()
    both = desk.wait_for(2)
    assert both[0] == one
    assert both[1].id != one.id
    desk.confirmations.answer(both[1].id, True, 'Bob')
    assert second() == Answer(True, 'Bob')
    desk.confirmations.answer(one.id, False, 'Ann')
    assert first() == Answer(False, 'Ann')


def test_a_question_that_can_not_be_announced_is_not_left_open() -> None:
    def fail(questions: tuple[Question, ...]) -> None:
        if questions:
            raise RuntimeError('no wire')

    confirmations = Confirmations(fail)
    with pytest.raises(RuntimeError, match='no wire'):
        confirmations.ask('open', '', {}, LONG_S, CancelToken())
    assert confirmations._open == {}
