"""The cancel token: ends once, tells why, and wakes whoever waits."""

from __future__ import annotations

import math
import threading
import time

import pytest

from nemotron_ros.cancel import CancelToken, Cause

SOON_S = 0.1
LONG_S = 10.0


def overdue(timeout_s: float = 1e-6) -> CancelToken:
    """A token whose deadline has passed without anybody looking."""
    token = CancelToken(timeout_s)
    time.sleep(timeout_s + 0.001)
    return token


def test_a_new_token_has_not_ended() -> None:
    token = CancelToken()
    assert (token.cause, token.ended, token.remaining_s()) == (None, False, math.inf)
    assert 0 < CancelToken(LONG_S).remaining_s() <= LONG_S


@pytest.mark.parametrize('timeout_s', [0, -1, math.nan, math.inf, -math.inf])
def test_a_timeout_must_be_a_time(timeout_s: float) -> None:
    with pytest.raises(ValueError, match='timeout_s'):
        CancelToken(timeout_s)


@pytest.mark.parametrize('cause', list(Cause))
def test_the_first_cause_counts(cause: Cause) -> None:
    token = CancelToken()
    token.cancel(cause)
    token.cancel(Cause.CANCELED)
    token.cancel(Cause.STOPPED)
    assert (token.cause, token.ended, token.remaining_s()) == (cause, True, 0.0)


def test_a_deadline_ends_it() -> None:
    token = overdue()
    assert (token.cause, token.ended, token.remaining_s()) == (Cause.DEADLINE, True, 0.0)


def test_a_cancel_after_the_deadline_is_too_late() -> None:
    token = overdue()
    token.cancel(Cause.STOPPED)
    assert token.cause is Cause.DEADLINE


def test_a_cancel_before_the_deadline_counts_for_good() -> None:
    token = CancelToken(SOON_S)
    token.cancel(Cause.STOPPED)
    time.sleep(2 * SOON_S)
    assert token.cause is Cause.STOPPED
    assert token.child().cause is Cause.STOPPED


def test_wait_ends_with_its_time() -> None:
    assert CancelToken(LONG_S).wait(SOON_S) is False
    assert CancelToken().wait(0) is False
    assert CancelToken().wait(-1) is False


def test_wait_ends_with_the_deadline() -> None:
    began_s = time.monotonic()
    assert CancelToken(SOON_S).wait(LONG_S) is True
    assert CancelToken(SOON_S).wait(math.inf) is True
    assert time.monotonic() - began_s < LONG_S / 2


def test_wait_ends_with_a_cancel_from_another_thread() -> None:
    token = CancelToken()
    began_s = time.monotonic()
    timer = threading.Timer(SOON_S, token.child().cancel)  # a child's end is its own
    timer.start()
    threading.Timer(2 * SOON_S, token.cancel, (Cause.STOPPED,)).start()
    assert token.wait(LONG_S) is True
    assert token.cause is Cause.STOPPED
    assert time.monotonic() - began_s < LONG_S / 2


def test_callbacks_run_once_in_order() -> None:
    token, said = CancelToken(), []
    for i in range(3):
        token.on_cancel(lambda i=i: said.append(i))  # type: ignore[misc]
    token.cancel()
    token.cancel()
    assert said == [0, 1, 2]


def test_a_callback_sees_why() -> None:
    token, said = CancelToken(), []
    token.on_cancel(lambda: said.append(token.cause))
    token.cancel(Cause.STOPPED)
    assert said == [Cause.STOPPED]


def test_a_callback_taken_back_does_not_run() -> None:
    token, said = CancelToken(), []
    forget = token.on_cancel(lambda: said.append(1))
    forget()
    forget()
    token.cancel()
    assert said == []


def test_a_callback_of_an_ended_token_runs_at_once() -> None:
    for token in (CancelToken(), overdue()):
        said: list[int] = []
        if not token.ended:
            token.cancel()
        forget = token.on_cancel(lambda said=said: said.append(1))  # type: ignore[misc]
        forget()
        assert said == [1]


def test_a_deadline_that_nobody_saw_is_seen_by_a_callback() -> None:
    said: list[int] = []
    overdue().on_cancel(lambda: said.append(1))
    assert said == [1]


def test_a_callback_runs_when_the_deadline_is_noticed() -> None:
    token, said = CancelToken(SOON_S), []
    token.on_cancel(lambda: said.append(1))
    token.wait(LONG_S)
    assert said == [1]


def test_a_callback_that_raises_keeps_no_other_from_running() -> None:
    token, said = CancelToken(), []

    def broken() -> None:
        raise RuntimeError('broken')

    token.on_cancel(lambda: said.append(1))
    token.on_cancel(broken)
    child = token.child()
    token.on_cancel(lambda: said.append(2))
    with pytest.raises(RuntimeError, match='broken'):
        token.cancel(Cause.STOPPED)
    assert said == [1, 2]
    assert child.cause is Cause.STOPPED


def test_a_callback_may_use_the_token() -> None:
    token = CancelToken()
    token.on_cancel(token.cancel)
    token.on_cancel(lambda: token.on_cancel(token.cancel) and None)
    token.cancel()
    assert token.ended


@pytest.mark.parametrize('cause', list(Cause))
def test_a_child_ends_with_its_parent(cause: Cause) -> None:
    parent = CancelToken(LONG_S)
    before, grandchild = parent.child(), parent.child(LONG_S).child()
    parent.cancel(cause)
    after = parent.child(LONG_S)
    assert [token.cause for token in (before, grandchild, after)] == [cause] * 3


def test_a_child_ends_alone() -> None:
    parent = CancelToken()
    child = parent.child()
    child.cancel(Cause.STOPPED)
    assert (parent.cause, child.cause) == (None, Cause.STOPPED)


def test_a_child_has_the_earlier_deadline() -> None:
    parent = CancelToken(LONG_S)
    assert parent.child(SOON_S).remaining_s() <= SOON_S
    assert parent.child(10 * LONG_S).remaining_s() <= LONG_S
    assert parent.child().remaining_s() <= LONG_S
    assert CancelToken().child().remaining_s() == math.inf


def test_a_child_notices_its_parents_deadline() -> None:
    assert CancelToken(SOON_S).child().wait(LONG_S)
    assert overdue().child().cause is Cause.DEADLINE


def test_many_threads_end_it_once() -> None:
    token, said = CancelToken(), []
    token.on_cancel(lambda: said.append(1))
    start = threading.Barrier(8)

    def cancel(cause: Cause) -> None:
        start.wait()
        token.cancel(cause)

    threads = [threading.Thread(target=cancel, args=(cause,)) for cause in [*Cause] * 2]
    threads += [threading.Thread(target=cancel, args=(Cause.STOPPED,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert said == [1]
    assert token.cause in Cause
