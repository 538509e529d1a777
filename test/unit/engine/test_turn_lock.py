"""One at a time, and nobody waits longer than their token."""

from __future__ import annotations

import threading
import time

import pytest

from nemotron_ros.cancel import CancelToken
from nemotron_ros.engine.turn_lock import TurnLock


def test_the_second_waits_for_the_first() -> None:
    lock, order = TurnLock(), list[str]()

    def second() -> None:
        with lock.turn(CancelToken(10.0)) as mine:
            order.append(f'second {mine}')

    with lock.turn(CancelToken(10.0)) as mine:
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.05)
        order.append(f'first {mine}')
    thread.join(5.0)
    assert order == ['first True', 'second True']


def test_a_cancel_ends_the_wait() -> None:
    lock, waiting = TurnLock(), CancelToken()
    with lock.turn(CancelToken()):
        threading.Timer(0.05, waiting.cancel).start()
        begun = time.monotonic()
        with lock.turn(waiting) as mine:
            assert not mine
        assert time.monotonic() - begun < 0.5


def test_a_deadline_ends_the_wait() -> None:
    lock = TurnLock()
    with lock.turn(CancelToken()), lock.turn(CancelToken(0.05)) as mine:
        assert not mine


def test_a_turn_that_was_not_had_is_not_given_back() -> None:
    lock = TurnLock()
    with lock.turn(CancelToken()):
        with lock.turn(CancelToken(0.01)):
            pass
        with lock.turn(CancelToken(0.01)) as mine:
            assert not mine


def test_an_error_gives_the_turn_back() -> None:
    lock = TurnLock()
    try:
        with lock.turn(CancelToken()):
            raise ValueError
    except ValueError:
        pass
    with lock.turn(CancelToken(0.5)) as mine:
        assert mine


def test_many_pass_and_none_is_forgotten() -> None:
    lock, inside, passed = TurnLock(), list[int](), list[bool]()

    def pass_through(number: int) -> None:
        patient = number % 3 != 0
        with lock.turn(CancelToken(10.0 if patient else 0.002)) as mine:
            if mine and patient:
                inside.append(number)
                time.sleep(0.002)
                passed.append(inside == [number])
                inside.remove(number)

    threads = [threading.Thread(target=pass_through, args=(n,)) for n in range(30)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert passed == [True] * 20
    assert time.monotonic() - begun < 5.0


@pytest.mark.parametrize('timeout_s', [None, 0.1])
def test_a_turn_ends_with_its_token(timeout_s: float | None) -> None:
    """Nobody has to be there to give it back."""
    lock, first = TurnLock(), CancelToken(timeout_s)
    held = lock.turn(first)
    with held:
        if timeout_s is None:
            threading.Timer(0.05, first.cancel).start()
        begun = time.monotonic()
        with lock.turn(CancelToken(5.0)) as mine:
            assert mine
            assert time.monotonic() - begun < 0.5
            with lock.turn(CancelToken(0.01)) as another:
                assert not another


def test_who_comes_back_late_does_not_take_the_turn_from_the_next() -> None:
    lock, first, second = TurnLock(), CancelToken(), CancelToken()
    late = lock.turn(first)
    late.__enter__()
    first.cancel()
    with lock.turn(second) as mine:
        assert mine
        late.__exit__(None, None, None)
        with lock.turn(CancelToken(0.01)) as another:
            assert not another
