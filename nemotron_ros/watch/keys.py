"""What a key means, by what the person who presses it has seen."""

from __future__ import annotations

from dataclasses import dataclass

from nemotron_ros.watch.view import QuestionSeen, View

STOP_KEYS = 's '
QUIT_KEYS = 'q'
READ_S = 0.7
"""A question is answered by a key only after it has been shown for so long: what is pressed
sooner was meant for something else."""


@dataclass(frozen=True)
class Stop:
    """End everything that runs and moves."""


@dataclass(frozen=True)
class Answer:
    """Let a call run, or not."""

    question_id: str
    yes: bool


@dataclass(frozen=True)
class Quit:
    """Watch no longer; what runs goes on."""


@dataclass(frozen=True)
class Refused:
    """Nothing is done, and why."""

    why: str


Meaning = Stop | Answer | Quit | Refused


@dataclass(frozen=True)
class Shown:
    """What the person sees, and since when the oldest question.

    :param whole: whether that question is shown from its beginning to its end.
    """

    view: View
    whole: bool = True
    since_s: float = 0.0

    @property
    def asked(self) -> QuestionSeen | None:
        """The question that a key answers."""
        return self.view.questions[0] if self.view.questions else None

    def then(self, view: View, whole: bool, now_s: float) -> Shown:
        """Return what the person sees once another view is drawn."""
        next_one = Shown(view, whole, now_s)
        if self.asked is None or next_one.asked is None or self.whole != whole:
            return next_one
        if self.asked.question.id != next_one.asked.question.id:
            return next_one
        return Shown(view, whole, self.since_s)


def meaning(pressed: str, shown: Shown, now_s: float) -> Meaning | None:
    """Return what is meant; None if the key means nothing.

    :param pressed: what came at once. Several characters are a paste, or keys that were hit in
        haste: a stop among them is one, and they never say yes.
    """
    if any(key in pressed for key in STOP_KEYS):
        return Stop()
    if len(pressed) != 1:
        return None
    if pressed in QUIT_KEYS:
        return Quit()
    if pressed not in 'yn':
        return None
    if shown.asked is None:
        return Refused('nothing waits for a yes')
    if pressed == 'n':
        return Answer(shown.asked.question.id, False)
    if not shown.whole:
        return Refused(
            'the question does not fit into this window: make it larger, or use nemotron confirm'
        )
    if now_s - shown.since_s < READ_S:
        return Refused('the question has just come: read it, then say yes')
    return Answer(shown.asked.question.id, True)
