"""Calls of one exclusive group wait for each other."""

from __future__ import annotations

import threading
import time

from threads import in_thread

from nemotron_ros.agent.groups import Groups
from nemotron_ros.cancel import CancelToken

SOON_S = 5.0


def test_one_at_a_time_in_the_order_in_which_they_came() -> None:
    groups, ran, waited = Groups(), [], []
    release = threading.Event()

    def run(name: str) -> None:
        with groups.turn('motion', CancelToken(SOON_S), lambda: waited.append(name)):
            ran.append(name)
            release.wait(SOON_S)

    results = []
    for name in 'abc':
        results.append(in_thread(lambda name=name: run(name)))
        deadline_s = time.monotonic() + SOON_S
        while len(ran) + len(waited) < len(results) and time.monotonic() < deadline_s:
            time.sleep(0.001)
    assert (ran, waited) == (['a'], ['b', 'c'])
    release.set()
    for result in results:
        result()
    assert ran == ['a', 'b', 'c']


def test_other_groups_and_none_do_not_wait() -> None:
    groups = Groups()
    token = CancelToken(SOON_S)
    with groups.turn('motion', token, never), groups.turn('arm', token, never):
        for _ in range(2):
            with groups.turn(None, token, never), groups.turn(None, token, never):
                pass


def test_who_waits_leaves_with_its_token_and_who_holds_stays() -> None:
    groups, holder = Groups(), CancelToken(SOON_S)
    with groups.turn('motion', holder, never):
        holder.cancel()
        began_s = time.monotonic()
        with groups.turn('motion', CancelToken(0.1), lambda: None):
            assert time.monotonic() - began_s >= 0.1, 'who has ended, but is not out, still holds'
    with groups.turn('motion', CancelToken(SOON_S), never):
        pass


def never() -> None:
    raise AssertionError('there was nobody to wait for')
