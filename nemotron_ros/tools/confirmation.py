"""Calls that wait for an operator's yes; no answer in time means no."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nemotron_ros.cancel import CancelToken


@dataclass(frozen=True)
class Question:
    """A call that waits for a yes. Times are wall-clock seconds, for people."""

    id: str
    tool: str
    description: str
    arguments: Mapping[str, Any]
    asked_time_s: float
    deadline_time_s: float


@dataclass(frozen=True)
class Answer:
    """What an operator said, and who."""

    yes: bool
    who: str


Ask = Callable[
    [str, str, Mapping[str, Any], float, CancelToken, Callable[[Question], None]], Answer | None
]
"""Asks an operator as :meth:`Confirmations.ask` does, with the same arguments."""


class Confirmations:
    """The open questions. Safe from any thread.

    :param announce: is told every open question, oldest first, on every change. It is called
        with a lock held, so that the last list told is the last one that was so: it must not
        wait, nor ask or answer here.
    """

    def __init__(self, announce: Callable[[tuple[Question, ...]], None]) -> None:
        self._announce = announce
        self._changed = threading.Condition()
        self._open: dict[str, Question] = {}
        self._answers: dict[str, Answer] = {}

    def ask(
        self,
        tool: str,
        description: str,
        arguments: Mapping[str, Any],
        within_s: float,
        cancel: CancelToken,
        asked: Callable[[Question], None] = lambda _: None,
    ) -> Answer | None:
        """Ask, and wait for the answer; None if none came in time or ``cancel`` ended.

        :param asked: is told the question once it is open.
        """
        budget = cancel.child(within_s)
        now_s = time.time()
        # Not to be guessed and never used twice: a late answer must not meet another question.
        question = Question(
            secrets.token_hex(8),
            tool,
            description,
            dict(arguments),
            now_s,
            now_s + budget.remaining_s(),
        )
        forget = budget.on_cancel(self._wake)
        try:
            with self._changed:
                self._open[question.id] = question
                self._tell()
            asked(question)
            with self._changed:
                while question.id not in self._answers and not budget.ended:
                    self._changed.wait(budget.remaining_s())
                return self._answers.get(question.id)
        finally:
            forget()
            with self._changed:
                self._open.pop(question.id, None)
                self._answers.pop(question.id, None)
                self._tell()

    def answer(self, question_id: str, yes: bool, who: str) -> str:
        """Answer an open question; return what is wrong with the answer, empty if it was taken.

        The first answer counts.
        """
        if not who.strip():
            return 'who: is empty; say who answers (--who NAME)'
        with self._changed:
            if question_id not in self._open or question_id in self._answers:
                return f'id: there is no open question {question_id!r}; it may be too late for it'
            self._answers[question_id] = Answer(yes, who.strip())
            self._changed.notify_all()
        return ''

    def _tell(self) -> None:
        waiting = [q for q in self._open.values() if q.id not in self._answers]
        self._announce(tuple(waiting))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
