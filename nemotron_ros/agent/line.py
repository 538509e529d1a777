"""Where commands wait their turn: some run, some wait, the others are turned away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nemotron_ros.agent.command import Priority
from nemotron_ros.cancel import CancelToken, Cause


class BusyError(Exception):
    """No more commands are taken now. The message says what runs and what to do."""


@dataclass(eq=False)
class Place:
    """One command's place in the line.

    ``ahead`` counts those that were before it when it came. ``preempted_by`` is the text of the
    operator's command that has ended this one; empty if none has.
    """

    what: str
    session_id: str
    priority: Priority
    cancel: CancelToken
    ahead: int = 0
    runs: bool = False
    preempted_by: str = ''


class Line:
    """The commands that run and wait. Safe from any thread.

    Higher priority goes first, then who came first. Commands of one session run one after the
    other: each goes on from what the one before has said. An operator's command runs when every
    normal one has ended, and none begins before it has: nothing else moves the robot meanwhile.

    :param max_running: commands at once.
    :param max_waiting: commands beside these; one operator's command may wait in any case.
    """

    def __init__(self, max_running: int = 1, max_waiting: int = 0) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._places: list[Place] = []

    @contextmanager
    def place(
        self, what: str, session_id: str, priority: Priority, cancel: CancelToken
    ) -> Iterator[Place]:
        """Hold a place while the block runs; :meth:`wait` for the turn inside it.

        An operator's command ends those of lower priority that run.

        :param what: the command's text, for those who are told of it.
        :raise BusyError: if neither a turn nor a place to wait is free.
        """
        place = Place(what, session_id, priority, cancel)
        with self._changed:
            preempted = self._take_in(place)
        forget = cancel.on_cancel(self._wake)
        try:
            for other in preempted:  # without the lock: what a cancel calls may want it
                other.cancel.cancel(Cause.STOPPED)
            yield place
        finally:
            forget()
            with self._changed:
                self._places.remove(place)
                self._move_up()

    def wait(self, place: Place) -> bool:
        """Wait for the turn; False if the command's token ends first."""
        with self._changed:
            while not place.runs and not place.cancel.ended:
                self._changed.wait(min(place.cancel.remaining_s(), threading.TIMEOUT_MAX))
            return place.runs

    def _take_in(self, place: Place) -> list[Place]:
        """Give the place its position; return the commands that it ends."""
        running = [other for other in self._places if other.runs]
        waiting = [other for other in self._places if not other.runs]
        place.ahead = len(running) + sum(o.priority >= place.priority for o in waiting)
        self._places.append(place)
        self._move_up()
        if place.runs or place.cancel.ended:  # one that has ended already waits for nothing
            return []
        lower = [other for other in running if other.priority < place.priority]
        first = bool(lower) and not any(other.priority >= place.priority for other in waiting)
        if len(waiting) >= self._max_waiting and not first:
            self._places.remove(place)
            raise BusyError(self._refusal(running, waiting))
        preempted = [other for other in lower if not other.cancel.ended]
        for other in preempted:
            other.preempted_by = place.what
        return preempted

    def _move_up(self) -> None:
        """Let those run whose turn it is."""
        waiting = [p for p in self._places if not p.runs and not p.cancel.ended]
        for place in sorted(waiting, key=lambda place: -place.priority):  # of equals the earliest
            running = [other for other in self._places if other.runs]
            others = any(other.priority != place.priority for other in running)
            if len(running) >= self._max_running or others:
                break
            place.runs = all(other.session_id != place.session_id for other in running)
        self._changed.notify_all()

    def _refusal(self, running: list[Place], waiting: list[Place]) -> str:
        what = ', '.join(f'{place.what!r:.80}' for place in running)
        more = f' and {len(waiting)} waiting' if waiting else ''
        return f'busy with {what}{more}; wait for it, cancel it or say stop'

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
