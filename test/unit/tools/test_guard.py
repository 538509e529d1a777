"""The guard: what it refuses, in which order, and what it remembers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from recorder import ROBOT

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.tools.conditions import Condition
from nemotron_ros.tools.confirmation import Confirmations, Question
from nemotron_ros.tools.guard import (
    MAX_IN_FLIGHT,
    WINDOW_S,
    Denied,
    EndedAtGateError,
    Guard,
    Request,
)
from nemotron_ros.tools.tool_file import load

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
    assert {name: len(times) for name, times in guard.ledger.times.items() if times} == {'say': 2}


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


# Quotas, calls in flight, preconditions, confirmation


GUARDED = """
robot: guarded
conditions:
  charged: {topic: battery, type: sensor_msgs/msg/BatteryState, value: "{{ percentage }}",
            minimum: 0.2, max_age_s: 5}
  upright: {topic: tilt, type: std_msgs/msg/Bool, value: "{{ not data }}"}
tools:
  push:
    description: Push.
    topic: {name: push, type: std_msgs/msg/Empty}
    guard: {max_per_command: 2, max_in_flight: 1, max_per_minute: 4}
  climb:
    description: Climb.
    topic: {name: climb, type: std_msgs/msg/Empty}
    guard: {requires: [charged, upright], max_per_minute: 1, max_per_command: 1, exclusive: motion}
  open:
    description: Open the door.
    parameters: {wide: {type: boolean}}
    topic: {name: door, type: std_msgs/msg/Empty}
    guard: {confirm: true, confirm_within_s: 5, exclusive: motion, max_per_minute: 3}
  cross:
    description: Cross.
    topic: {name: cross, type: std_msgs/msg/Empty}
    guard: {confirm: true, requires: [charged]}
"""


class Site:
    """A guard with a robot whose conditions, and an operator whose answers, the test says."""

    def __init__(self, path: Path) -> None:
        path.write_text(GUARDED)
        self.file = load(path)
        self.all = frozenset(self.file.tools)
        self.unmet: dict[str, str] = {}
        self.checked: list[str] = []
        self.said: bool | None = True
        self.asked: list[Question] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.confirmations = Confirmations(self._take)
        self.guard = Guard(self.file, unmet=self._look, ask=self.confirmations.ask)

    def _look(self, condition: Condition, cancel: CancelToken) -> str:
        self.checked.append(condition.name)
        return self.unmet.get(condition.name, '')

    def _take(self, questions: tuple[Question, ...]) -> None:
        new = [question for question in questions if question not in self.asked]
        self.asked += new
        for question in new:
            threading.Thread(target=self._answer, args=(question,), daemon=True).start()

    def _answer(self, question: Question) -> None:
        self.meanwhile()
        if self.said is not None:
            self.confirmations.answer(question.id, self.said, 'Ann')

    def ask(self, name: str, **fields: object) -> tuple[str, str]:
        """The rule that refuses, and why; nothing, and who confirmed, if it is let through."""
        request = Request(name, self.all, **fields)
        try:
            with self.guard.admit(request) as who:
                return '', who
        except Denied as denied:
            return denied.rule, str(denied)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / 'tools.yaml')


def test_a_command_has_a_quota_of_its_own(site: Site) -> None:
    tally: Counter[str] = Counter()
    answers = [site.ask('push', tally=tally)[0] for _ in range(3)]
    assert answers == ['', '', 'quota']
    assert site.ask('push', tally=Counter())[0] == ''


def test_what_is_in_flight_is_bounded(site: Site) -> None:
    with site.guard.admit(Request('push', site.all)):
        assert site.ask('push')[0] == 'in_flight'
        assert site.ask('push', dry_run=True)[0] == 'in_flight'
    assert site.ask('push')[0] == ''


def test_all_that_is_in_flight_is_bounded() -> None:
    guard = Guard(ROBOT)
    with ExitStack() as stack:
        for _ in range(MAX_IN_FLIGHT):
            stack.enter_context(guard.admit(Request('get_battery', ALL)))
        assert ask(guard, 'drive') == 'in_flight'
    assert ask(guard, 'drive') == ''


def test_each_condition_must_hold(site: Site) -> None:
    site.unmet = {'upright': 'is False, and must be True'}
    tally: Counter[str] = Counter()
    assert site.ask('climb', tally=tally) == ('requires', 'upright: is False, and must be True')
    assert site.checked == ['charged', 'upright']
    site.unmet = {}
    # What was refused had used up no rate, quota or group.
    assert site.ask('climb', tally=tally)[0] == ''
    assert site.ask('climb')[0] == 'rate'


def test_conditions_are_asked_after_what_is_known_at_once(site: Site) -> None:
    site.guard.latch('fire')
    assert site.ask('climb')[0] == 'stop'
    assert site.checked == []


def test_conditions_that_nobody_can_check_do_not_hold(site: Site) -> None:
    site.guard = Guard(site.file, ask=site.confirmations.ask)
    assert site.ask('climb') == ('requires', 'charged: can not be checked here')


def test_a_check_that_raises_lets_nothing_through(site: Site) -> None:
    def broken(condition: Condition, cancel: CancelToken) -> str:
        raise RuntimeError('no wire')

    site.guard = Guard(site.file, unmet=broken)
    for _ in range(2):
        with pytest.raises(RuntimeError), site.guard.admit(Request('climb', site.all)):
            pytest.fail('was let through')


def test_yes_lets_it_run_and_is_kept(site: Site) -> None:
    assert site.ask('open', arguments={'wide': True}) == ('', 'Ann')
    assert [(q.tool, q.arguments) for q in site.asked] == [('open', {'wide': True})]


def test_no_does_not(site: Site) -> None:
    site.said = False
    assert site.ask('open') == ('confirmation', 'Ann said no')


def test_no_answer_means_no(site: Site) -> None:
    site.said = None
    tool = site.file.tools['open']
    soon = replace(tool, rules=replace(tool.rules, confirm_within_s=0.02))
    site.guard = Guard(replace(site.file, tools={'open': soon}), ask=site.confirmations.ask)
    assert site.ask('open') == ('confirmation', 'nobody said yes within 0.02 s')


def test_nobody_to_ask_means_no(site: Site) -> None:
    site.guard = Guard(site.file)
    assert site.ask('open')[0] == 'confirmation'


def test_an_operator_is_asked_no_more_often_than_the_tool_may_run(site: Site) -> None:
    site.said = False
    assert [site.ask('open')[0] for _ in range(5)] == ['confirmation'] * 3 + ['rate'] * 2
    assert len(site.asked) == 3


def test_a_dry_run_asks_nobody(site: Site) -> None:
    assert site.ask('open', dry_run=True) == ('', '')
    assert site.asked == []


def test_what_waits_for_a_yes_holds_its_place(site: Site) -> None:
    seen = []
    site.meanwhile = lambda: seen.append(site.ask('climb')[0])
    assert site.ask('open') == ('', 'Ann')
    assert seen == ['exclusive']


def test_a_stop_while_it_waits_is_not_overruled_by_a_yes(site: Site) -> None:
    site.meanwhile = lambda: site.guard.latch('fire')
    assert site.ask('open')[0] == 'stop'


def test_conditions_must_hold_after_the_wait_as_well(site: Site) -> None:
    site.meanwhile = lambda: site.unmet.update(charged='is 0.1, and must be at least 0.2')
    assert site.ask('cross')[0] == 'requires'
    assert len(site.asked) == 1


@pytest.mark.parametrize('cause', [Cause.CANCELED, Cause.STOPPED])
def test_a_cancel_while_it_waits_ends_it(site: Site, cause: Cause) -> None:
    cancel = CancelToken()
    site.said = None
    site.meanwhile = lambda: cancel.cancel(cause)
    with (
        pytest.raises(EndedAtGateError),
        site.guard.admit(Request('open', site.all, cancel=cancel)),
    ):
        pytest.fail('was let through')
    assert site.ask('climb')[0] == ''  # the group is free


def test_a_yes_that_comes_with_the_cancel_lets_nothing_run(site: Site) -> None:
    cancel = CancelToken()
    site.meanwhile = cancel.cancel
    with (
        pytest.raises(EndedAtGateError),
        site.guard.admit(Request('open', site.all, cancel=cancel)),
    ):
        pytest.fail('was let through')
