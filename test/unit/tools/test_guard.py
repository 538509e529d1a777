"""The guard: what it refuses, in which order, and what it remembers."""

from __future__ import annotations

import threading

import pytest
from recorder import ROBOT

from nemotron_ros.tools.guard import WINDOW_S, Denied, Guard, Request

ALL = frozenset(ROBOT.tools)


class Clock:
    """Time as the test tells it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard(ROBOT, clock)


def ask(guard: Guard, name: str, allowed: frozenset[str] = ALL, count: bool = True) -> str:
    """The rule that refuses a call; empty if it is let through."""
    try:
        with guard.admit(Request(name, allowed, dry_run=not count)):
            return ''
    except Denied as denied:
        return denied.rule


@pytest.mark.parametrize('name', sorted(ALL))
def test_a_tool_of_the_file_is_let_through(guard: Guard, name: str) -> None:
    assert ask(guard, name) == ''


@pytest.mark.parametrize(
    'name', ['fly', '', 'Drive', ' drive', 'drive ', '/drive', 'drive\n', 'dr\u0456ve', '*']
)
def test_a_name_is_known_exactly_or_not_at_all(guard: Guard, name: str) -> None:
    assert ask(guard, name, ALL | {name}) == 'unknown'


@pytest.mark.parametrize('allowed', [frozenset(), {'turn'}, {'drive '}, {'*'}])
def test_what_is_not_allowed_is_refused(guard: Guard, allowed: frozenset[str]) -> None:
    assert ask(guard, 'drive', frozenset(allowed)) == 'allowed'


def test_the_rules_have_an_order(guard: Guard) -> None:
    with guard.admit(Request('drive', ALL)):
        ask(guard, 'say')
        ask(guard, 'say')
        assert ask(guard, 'turn') == 'exclusive'
        assert ask(guard, 'say') == 'rate'
        assert ask(guard, 'turn', frozenset()) == 'allowed'
        assert ask(guard, 'say', frozenset()) == 'allowed'
        assert ask(guard, 'fly', frozenset()) == 'unknown'
        guard.latch('')
        for name in ('turn', 'say', 'fly', 'get_battery'):
            assert ask(guard, name, frozenset()) == 'stop'


def test_the_rate_comes_before_the_group(guard: Guard) -> None:
    assert [ask(guard, 'turn') for _ in range(3)] == [''] * 3
    with guard.admit(Request('drive', ALL)):
        assert ask(guard, 'turn') == 'rate'


def test_the_rate_is_that_of_the_last_minute(guard: Guard, clock: Clock) -> None:
    assert ask(guard, 'say') == ''
    clock.now_s += 40
    assert ask(guard, 'say') == ''
    assert ask(guard, 'say') == 'rate'
    clock.now_s += 19.9
    assert ask(guard, 'say') == 'rate'
    clock.now_s += 0.1  # the first one is a minute old
    assert ask(guard, 'say') == ''
    assert ask(guard, 'say') == 'rate'
    clock.now_s += WINDOW_S
    assert [ask(guard, 'say') for _ in range(3)] == ['', '', 'rate']


def test_a_refused_call_does_not_count(guard: Guard, clock: Clock) -> None:
    for _ in range(5):
        assert ask(guard, 'say', frozenset()) == 'allowed'
    assert ask(guard, 'say') == ''
    clock.now_s += 30
    assert ask(guard, 'say') == ''
    for _ in range(5):
        assert ask(guard, 'say') == 'rate'
    clock.now_s += 30
    assert ask(guard, 'say') == ''


def test_a_tool_has_a_rate_of_its_own(guard: Guard) -> None:
    assert [ask(guard, 'say') for _ in range(3)] == ['', '', 'rate']
    assert [ask(guard, 'get_battery') for _ in range(200)] == [''] * 200


def test_nothing_is_remembered_of_a_tool_without_a_rate(guard: Guard) -> None:
    for _ in range(50):
        ask(guard, 'get_battery')
        ask(guard, 'say')
    assert {name: len(times) for name, times in guard._times.items() if times} == {'say': 2}


def test_a_group_lets_one_call_through_at_a_time(guard: Guard) -> None:
    with guard.admit(Request('drive', ALL)):
        assert ask(guard, 'turn') == 'exclusive'
        assert ask(guard, 'drive') == 'exclusive'
        assert ask(guard, 'get_battery') == ''
    assert ask(guard, 'turn') == ''


def test_the_reason_names_who_runs(guard: Guard) -> None:
    with (
        guard.admit(Request('drive', ALL)),
        pytest.raises(Denied, match='drive is running, and only one motion tool may'),
        guard.admit(Request('turn', ALL)),
    ):
        pass


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt, Denied])
def test_a_group_is_free_again_after_an_exception(
    guard: Guard, error: type[BaseException]
) -> None:
    raised = Denied('x', 'y') if error is Denied else error()
    with pytest.raises(error), guard.admit(Request('drive', ALL)):
        raise raised
    assert ask(guard, 'turn') == ''


def test_asking_takes_nothing(guard: Guard) -> None:
    for _ in range(5):
        assert ask(guard, 'say', count=False) == ''
    with guard.admit(Request('drive', ALL, dry_run=True)):
        assert ask(guard, 'turn') == ''
    with guard.admit(Request('drive', ALL)):
        with pytest.raises(Denied), guard.admit(Request('turn', ALL, dry_run=True)):
            pass
        assert ask(guard, 'turn') == 'exclusive'


def test_asking_is_refused_as_a_call_is(guard: Guard) -> None:
    assert ask(guard, 'fly', count=False) == 'unknown'
    assert ask(guard, 'drive', frozenset(), count=False) == 'allowed'
    guard.latch('fire')
    assert ask(guard, 'drive', count=False) == 'stop'


def test_a_stop_stays_until_it_is_cleared(guard: Guard, clock: Clock) -> None:
    assert guard.latched == ''
    guard.latch('somebody fell')
    assert guard.latched == 'somebody fell'
    clock.now_s += 1e6
    with pytest.raises(Denied, match='somebody fell'), guard.admit(Request('get_battery', ALL)):
        pass
    guard.latch('')
    assert guard.latched == 'somebody fell, stop'
    guard.clear('somebody fell')
    assert guard.latched == 'stop'
    with pytest.raises(Denied, match='stop'), guard.admit(Request('get_battery', ALL)):
        pass
    guard.latch('somebody fell')
    guard.clear()
    assert (guard.latched, ask(guard, 'drive')) == ('', '')


def test_many_threads_get_one_group_and_no_more_than_the_rate() -> None:
    guard = Guard(ROBOT)
    start = threading.Barrier(8)
    at_once, said, most = [0], [], [0]

    def call() -> None:
        start.wait()
        for _ in range(50):
            try:
                with guard.admit(Request('drive', ALL)):
                    at_once[0] += 1
                    most[0] = max(most[0], at_once[0])
                    at_once[0] -= 1
            except Denied as denied:
                assert denied.rule == 'exclusive'  # noqa: PT017
            said.append(ask(guard, 'say'))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [1]
    assert said.count('') == 2
    assert len(said) == 400
    assert ask(guard, 'drive') == ''
