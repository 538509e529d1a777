"""The way of a call: nothing reaches the robot unchecked, and a result is always owed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from any_calls import GOOD, calls, names
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder import ROBOT, Act, Recorder, dispatcher, until_canceled

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.guard import Denied
from nemotron_ros.tools.result import Status, ToolResult

ALL = frozenset(ROBOT.tools)
SOON_S, LONG_S = 0.02, 10.0


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall('call_1', name, arguments)


DRIVE = call('drive', distance_m=1.0)


def test_a_valid_call_is_run_complete() -> None:
    recorder, told = Recorder(lambda *_: ToolResult(Status.SUCCEEDED, {'x': 1})), []
    before = time.time()
    result = dispatcher(recorder).run(DRIVE, ALL, CancelToken(), told.append)
    assert recorder.calls == [('drive', {'distance_m': 1.0, 'direction': 'forward'})]
    assert (result.status, result.value, result.error) == (Status.SUCCEEDED, {'x': 1}, '')
    assert before <= result.start_time_s <= time.time()
    assert 0 <= result.duration_s < LONG_S
    assert told == [{'began': 'drive'}]


def test_the_duration_is_that_of_the_call() -> None:
    def slow(name: str, cancel: CancelToken) -> ToolResult:
        cancel.wait(SOON_S)
        return ToolResult(Status.FAILED, None, 'stuck')

    result = dispatcher(Recorder(slow)).run(DRIVE, ALL, CancelToken())
    assert result.duration_s >= SOON_S
    assert (result.status, result.error) == (Status.FAILED, 'stuck')


@pytest.mark.parametrize(
    ('made', 'allowed', 'status', 'rule', 'error'),
    [
        (call('fly'), ALL, Status.INVALID, 'unknown', "there is no tool named 'fly'; there is dr"),
        (call('fly'), ALL | {'fly'}, Status.INVALID, 'unknown', 'there is no tool named'),
        (call('/drive', distance_m=1), ALL, Status.INVALID, 'unknown', 'there is no tool named'),
        (call('drive', distance_m=3), ALL, Status.INVALID, 'schema', 'distance_m: '),
        (call('drive', distance_m=float('nan')), ALL, Status.INVALID, 'schema', 'distance_m: ex'),
        (call('drive'), ALL, Status.INVALID, 'schema', ''),
        (DRIVE, frozenset(), Status.DENIED, 'allowed', 'allowed: drive is not among the tools'),
        (DRIVE, ALL - {'drive'}, Status.DENIED, 'allowed', 'allowed: '),
        (ToolCall('1', 'drive', ['distance_m']), ALL, Status.FAILED, '', ''),  # type: ignore[arg-type]
        (ToolCall('1', ['drive'], {}), ALL, Status.FAILED, '', 'TypeError: '),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize('dry_run', [False, True])
def test_what_is_wrong_never_reaches_the_robot(
    made: ToolCall, allowed: frozenset[str], status: Status, rule: str, error: str, dry_run: bool
) -> None:
    recorder = Recorder()
    result = dispatcher(recorder).run(made, allowed, CancelToken(), dry_run=dry_run)
    assert (result.status, result.rule, recorder.calls) == (status, rule, [])
    assert result.error.startswith(error)


@pytest.mark.parametrize(
    ('cause', 'status'),
    [
        (Cause.CANCELED, Status.CANCELED),
        (Cause.STOPPED, Status.CANCELED),
        (Cause.DEADLINE, Status.TIMED_OUT),
    ],
)
def test_a_call_of_a_command_that_has_ended_is_not_begun(cause: Cause, status: Status) -> None:
    recorder, token = Recorder(), CancelToken(LONG_S)
    token.cancel(cause)
    result = dispatcher(recorder).run(DRIVE, ALL, token)
    assert (result.status, result.rule, recorder.calls) == (status, 'ended', [])


@pytest.mark.parametrize('error', [RuntimeError('broken'), RecursionError(), Denied('a', 'b')])
def test_a_result_is_owed_when_the_robot_raises(error: Exception) -> None:
    def broken(name: str, cancel: CancelToken) -> ToolResult:
        raise error

    run = dispatcher(recorder := Recorder(broken)).run
    for _ in range(2):  # the group is free again
        result = run(DRIVE, ALL, CancelToken())
        assert result.status in (Status.FAILED, Status.DENIED)
        assert str(error) in result.error
    assert len(recorder.calls) == 2


def test_a_progress_that_raises_costs_no_result() -> None:
    def broken(detail: object) -> None:
        raise RuntimeError('broken')

    result = dispatcher(Recorder()).run(DRIVE, ALL, CancelToken(), broken)
    assert (result.status, result.error) == (Status.FAILED, 'RuntimeError: broken')


def test_a_dry_run_sends_nothing_and_counts_nothing() -> None:
    run = dispatcher(recorder := Recorder()).run
    say = call('say', text='hi')
    for _ in range(5):
        result = run(say, ALL, CancelToken(), dry_run=True)
        assert (result.status, result.rule, recorder.calls) == (Status.NOT_RUN, '', [])
    results = [run(say, ALL, CancelToken()).status for _ in range(3)]
    assert results == [Status.SUCCEEDED, Status.SUCCEEDED, Status.DENIED]


class Background:
    """Calls in threads of their own, begun before the test goes on."""

    def __init__(self, act: Act = until_canceled) -> None:
        self._act = act
        self._began = threading.Semaphore(0)
        self.recorder = Recorder(self._announce)
        self.dispatcher = dispatcher(self.recorder)
        self._pool = ThreadPoolExecutor()

    def _announce(self, name: str, cancel: CancelToken) -> ToolResult:
        self._began.release()
        return self._act(name, cancel)

    def run(self, made: ToolCall, token: CancelToken | None = None) -> Callable[[], ToolResult]:
        """Begin a call; the answer waits for its result."""
        future = self._pool.submit(self.dispatcher.run, made, ALL, token or CancelToken(LONG_S))
        assert self._began.acquire(timeout=LONG_S)
        return lambda: future.result(LONG_S)


def test_a_stop_cancels_what_runs_and_waits_for_it() -> None:
    robot = Background()
    drive, say = robot.run(DRIVE), robot.run(call('say', text='hi'))
    assert robot.dispatcher.stop('fire', LONG_S) is True
    assert robot.dispatcher._ledger._running == set()
    assert (drive().status, say().status) == (Status.CANCELED, Status.CANCELED)


def test_a_stop_tells_the_robot_why() -> None:
    causes = []

    def wait(name: str, cancel: CancelToken) -> ToolResult:
        until_canceled(name, cancel)
        causes.append(cancel.cause)
        return ToolResult(Status.CANCELED)

    robot = Background(wait)
    token = CancelToken(LONG_S)
    drive = robot.run(DRIVE, token)
    robot.dispatcher.stop('fire', LONG_S)
    drive()
    assert (causes, token.cause) == ([Cause.STOPPED], None)


def test_after_a_stop_nothing_runs_until_it_is_cleared() -> None:
    it = dispatcher(recorder := Recorder())
    assert it.stop('fire', SOON_S) is True
    result = it.run(call('get_battery'), ALL, CancelToken())
    assert (result.status, recorder.calls) == (Status.DENIED, [])
    assert result.error == 'stop: a stop is latched (fire); clear it first'
    it.resume()
    assert it.run(call('get_battery'), ALL, CancelToken()).status is Status.SUCCEEDED


def test_a_stop_says_when_something_has_not_ended() -> None:
    ended = threading.Event()

    def deaf(name: str, cancel: CancelToken) -> ToolResult:
        ended.wait(LONG_S)
        return ToolResult(Status.SUCCEEDED)

    robot = Background(deaf)
    drive = robot.run(DRIVE)
    assert robot.dispatcher.stop('fire', SOON_S) is False
    ended.set()
    assert drive().status is Status.SUCCEEDED  # it was too late, and is told as it was
    assert robot.dispatcher.stop('fire', LONG_S) is True


def test_a_stop_reaches_every_call_though_they_make_trouble() -> None:
    def touchy(name: str, cancel: CancelToken) -> ToolResult:
        cancel.on_cancel(lambda: 1 / 0)
        return until_canceled(name, cancel)

    robot = Background(touchy)
    runs = [robot.run(made) for made in (DRIVE, call('say', text='hi'), call('get_battery'))]
    with pytest.raises(ZeroDivisionError):
        robot.dispatcher.stop('fire', LONG_S)
    assert [run().status for run in runs] == [Status.CANCELED] * 3


def test_a_second_motion_waits_for_nobody() -> None:
    robot = Background()
    drive = robot.run(DRIVE)
    second = robot.dispatcher.run(call('turn', angle_deg=90), ALL, CancelToken())
    assert second.status is Status.DENIED
    assert second.error.startswith('exclusive: drive is running')
    robot.dispatcher.stop('', LONG_S)
    assert drive().status is Status.CANCELED


def test_a_cancel_ends_its_own_call_alone() -> None:
    robot = Background()
    token = CancelToken(LONG_S)
    drive, say = robot.run(DRIVE, token), robot.run(call('say', text='hi'))
    token.cancel()
    assert drive().status is Status.CANCELED
    assert robot.dispatcher.stop('', LONG_S) is True
    assert say().status is Status.CANCELED


# No sequence of calls reaches the robot unless each is in the file, allowed and valid.


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(calls, st.booleans()), max_size=8),
    st.sets(st.sampled_from(sorted(ALL)) | names, max_size=8),
)
def test_nothing_reaches_the_robot_that_is_not_known_allowed_and_valid(
    asked: list[tuple[tuple[str, dict[str, Any]], bool]], allowed: set[str]
) -> None:
    run = dispatcher(recorder := Recorder()).run
    for (name, arguments), dry_run in asked:
        sent = len(recorder.calls)
        result = run(
            ToolCall('1', name, arguments), frozenset(allowed), CancelToken(), dry_run=dry_run
        )
        good = name in ALL and name in allowed and GOOD[name](arguments)
        if not good:
            assert result.status in (Status.INVALID, Status.DENIED)
        reached = result.status is Status.SUCCEEDED
        assert len(recorder.calls) - sent == reached
        assert not reached or (good and not dry_run)
        if good and name not in ('say', 'turn'):  # they have a rate
            assert result.status is (Status.NOT_RUN if dry_run else Status.SUCCEEDED)
    assert sum(name == 'say' for name, _ in recorder.calls) <= 2
    assert sum(name == 'turn' for name, _ in recorder.calls) <= 3
