"""Who runs, who waits, who is turned away, and who is ended for an operator."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from threads import in_thread

from nemotron_ros.agent.command import Priority
from nemotron_ros.agent.line import BusyError, Line, Place
from nemotron_ros.cancel import CancelToken, Cause

NORMAL, OPERATOR = Priority.NORMAL, Priority.OPERATOR
SOON_S = 5.0


class Commands:
    """Commands in a line, each in a thread of its own, that run until they are let go."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._release: dict[str, threading.Event] = {}
        self._came = threading.Semaphore(0)
        self.began: list[str] = []
        self.tokens: dict[str, CancelToken] = {}
        self.places: dict[str, Place] = {}

    def come(
        self,
        name: str,
        priority: Priority = NORMAL,
        timeout_s: float = SOON_S,
        session_id: str = '',
    ) -> Callable[[], bool]:
        """Let a command come; the answer waits for whether it ran."""
        self._release[name] = threading.Event()
        token = self.tokens[name] = CancelToken(timeout_s)

        def run() -> bool:
            try:
                with self._line.place(name, session_id or name, priority, token) as place:
                    self.places[name] = place
                    self._came.release()
                    if not self._line.wait(place):
                        return False
                    self.began.append(name)
                    # One that is ended takes its time: nobody may begin before it is out.
                    self._release[name].wait(SOON_S)
                    return True
            except BusyError:
                self._came.release()
                raise

        result = in_thread(run)
        assert self._came.acquire(timeout=SOON_S)
        return result

    def let_go(self, *names: str) -> None:
        for name in names:
            self._release[name].set()

    def until_began(self, *names: str) -> None:
        deadline_s = time.monotonic() + SOON_S
        while self.began != list(names):
            assert time.monotonic() < deadline_s, self.began
            time.sleep(0.001)


def commands(max_running: int = 1, max_waiting: int = 0) -> Commands:
    return Commands(Line(max_running, max_waiting))


def test_one_runs_and_the_next_is_turned_away_by_name() -> None:
    line = commands()
    first = line.come('drive on')
    with pytest.raises(BusyError, match="busy with 'drive on'; wait for it, cancel it or say sto"):
        line.come('hello')()
    line.let_go('drive on')
    assert first()
    second = line.come('hello')
    line.let_go('hello')
    assert second()


def test_they_wait_in_the_order_in_which_they_came() -> None:
    line = commands(max_waiting=3)
    results = [line.come(name) for name in 'abcd']
    assert [line.places[name].ahead for name in 'abcd'] == [0, 1, 2, 3]
    with pytest.raises(BusyError, match="'a' and 3 waiting"):
        line.come('e')()
    line.until_began('a')
    line.let_go(*'dcba')
    assert [result() for result in results] == [True] * 4
    assert line.began == list('abcd')


def test_several_run_at_once_and_no_more() -> None:
    line = commands(max_running=2, max_waiting=1)
    results = [line.come(name) for name in 'abc']
    line.until_began('a', 'b')
    line.let_go('b')
    line.until_began('a', 'b', 'c')
    line.let_go('a', 'c')
    assert [result() for result in results] == [True] * 3


@pytest.mark.parametrize('cause', [Cause.CANCELED, Cause.STOPPED])
def test_one_that_waits_can_be_cancelled_and_leaves_its_place(cause: Cause) -> None:
    line = commands(max_waiting=1)
    first, second = line.come('a'), line.come('b')
    line.tokens['b'].cancel(cause)
    assert second() is False
    third = line.come('c')
    line.let_go('a', 'c')
    assert (first(), third(), line.began) == (True, True, ['a', 'c'])


def test_one_that_waits_has_its_own_deadline() -> None:
    line = commands(max_waiting=1)
    first = line.come('a')
    began_s = time.monotonic()
    assert line.come('b', timeout_s=0.1)() is False
    assert 0.1 <= time.monotonic() - began_s < 1.0
    line.let_go('a')
    assert first()


def test_an_operator_ends_what_runs_and_begins_when_it_has_ended() -> None:
    line = commands()
    first = line.come('a')
    operator = line.come('to the dock', OPERATOR)
    assert line.tokens['a'].cause is Cause.STOPPED
    assert line.places['a'].preempted_by == 'to the dock'
    time.sleep(0.05)
    assert line.began == ['a'], 'it must not begin before the other is out'
    line.let_go('a', 'to the dock')
    assert (first(), operator(), line.began) == (True, True, ['a', 'to the dock'])


def test_an_operator_waits_for_every_other_one_also_where_there_is_room() -> None:
    line = commands(max_running=3)
    results = [line.come('a'), line.come('b'), line.come('o', OPERATOR)]
    assert all(line.tokens[name].ended for name in 'ab')
    line.let_go('a')
    assert results[0]()
    time.sleep(0.05)
    assert line.began == ['a', 'b']
    line.let_go('b', 'o')
    assert [result() for result in results] == [True] * 3


def test_an_operator_goes_before_those_who_wait() -> None:
    line = commands(max_waiting=2)
    results = [line.come('a'), line.come('b'), line.come('o', OPERATOR)]
    assert not line.tokens['b'].ended
    line.let_go('a', 'b', 'o')
    assert [result() for result in results] == [True] * 3
    assert line.began == ['a', 'o', 'b']


def test_operators_do_not_end_each_other_nor_flood_the_line() -> None:
    line = commands()
    first = line.come('a')
    operator = line.come('o', OPERATOR)
    with pytest.raises(BusyError):
        line.come('p', OPERATOR)()
    line.let_go('a', 'o')
    line.until_began('a', 'o')
    assert first()
    assert operator()
    running = line.come('o', OPERATOR)
    with pytest.raises(BusyError):
        line.come('p', OPERATOR)()
    assert not line.tokens['o'].ended
    line.let_go('o')
    assert running()


def test_commands_of_one_session_run_one_after_the_other_and_hold_up_no_other() -> None:
    line = commands(max_running=3, max_waiting=3)
    results = [line.come(name, session_id='s') for name in 'ab']
    results.append(line.come('c'))
    line.until_began('a', 'c')
    line.let_go('a')
    line.until_began('a', 'c', 'b')
    line.let_go('b', 'c')
    assert [result() for result in results] == [True] * 3


def test_an_operator_who_waits_for_his_own_session_is_overtaken_by_nobody() -> None:
    line = commands(max_running=3, max_waiting=3)
    results = [line.come(name, OPERATOR, session_id='s') for name in 'op']
    results.append(line.come('a'))
    line.let_go('p', 'a')
    time.sleep(0.05)
    assert line.began == ['o']
    line.let_go('o')
    assert [result() for result in results] == [True] * 3
    assert line.began == ['o', 'p', 'a']


def test_one_that_had_ended_before_it_came_is_no_refusal() -> None:
    line = Line()
    ended = CancelToken()
    ended.cancel()
    with held(line), line.place('late', '', NORMAL, ended) as place:
        assert line.wait(place) is False


@contextmanager
def held(line: Line) -> Iterator[None]:
    with ExitStack() as stack:
        place = stack.enter_context(line.place('first', 'a', NORMAL, CancelToken(SOON_S)))
        assert line.wait(place)
        yield


def test_a_hundred_that_come_at_once_each_run_once() -> None:
    line = Line(3, 100)
    lock, now, most, ran = threading.Lock(), 0, 0, 0

    def run(number: int) -> None:
        nonlocal now, most, ran
        with line.place('x', str(number), NORMAL, CancelToken(SOON_S)) as place:
            assert line.wait(place)
            with lock:
                now, ran = now + 1, ran + 1
                most = max(most, now)
            time.sleep(0.001)
            with lock:
                now -= 1

    results = [in_thread(lambda n=n: run(n)) for n in range(100)]
    for result in results:
        result()
    assert (ran, now) == (100, 0)
    assert most <= 3


def test_whatever_comes_and_goes_the_rules_hold_and_nobody_is_left() -> None:
    line, dice, lock = Line(3, 4), random.Random(7), threading.Lock()
    running: list[Place] = []
    tally: Counter[str] = Counter()

    def run(priority: Priority, session_id: str, timeout_s: float, takes_s: float) -> None:
        token = CancelToken(timeout_s)
        try:
            with line.place('x', session_id, priority, token) as place:
                if not line.wait(place):
                    tally['ended'] += 1
                    return
                with lock:
                    running.append(place)
                    assert len(running) <= 3
                    assert len({other.priority for other in running}) == 1
                    assert len({other.session_id for other in running}) == len(running)
                token.wait(takes_s)
                time.sleep(0.001)  # it is slow to get out
                with lock:
                    running.remove(place)
                tally['preempted' if place.preempted_by else 'ran'] += 1
        except BusyError:
            tally['rejected'] += 1

    results = []
    for _ in range(300):
        arguments = (
            OPERATOR if dice.random() < 0.1 else NORMAL,
            str(dice.randrange(8)),
            dice.uniform(0.001, 0.1),
            dice.uniform(0, 0.01),
        )
        results.append(in_thread(lambda arguments=arguments: (run(*arguments), True)[1]))
        time.sleep(dice.uniform(0, 0.003))
    assert all(result() for result in results)
    assert (sum(tally.values()), line._places, running) == (300, [], [])
    assert {'ran', 'ended', 'rejected'} <= set(tally), 'each of them was tried'
