"""The example of an action client: feedback, outcome, cancel."""

from __future__ import annotations

import signal
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy, ROS 2 itself, is not here')

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken


def test_it_shows_what_happens_and_how_it_ended(base: Any, run: Any) -> None:
    child = run('action_client.py', 'please drive a little')
    said, _ = child.communicate(timeout=30)
    assert child.returncode == 0, said
    assert 'drive {"seconds": 0.3}: ' in said
    assert said.splitlines()[-1] == 'Done. (status 1)'
    assert 0.2 in base.speeds


@pytest.mark.parametrize('by_signal', [True, False])
def test_a_cancel_stops_the_robot(base: Any, run: Any, by_signal: bool) -> None:
    options = () if by_signal else ('--cancel-after', '1.5')
    child = run('action_client.py', 'please drive far', *options)
    assert until_true(lambda: 0.2 in base.speeds, 20.0, CancelToken())
    if by_signal:
        child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=15)
    assert child.returncode == 1, said
    assert '(status 4)' in said
    assert until_true(lambda: base.speeds[-1] == 0.0, 2.0, CancelToken())


def test_it_says_that_nobody_is_there(run: Any) -> None:
    child = run('action_client.py', '--node', 'nobody', '--wait', '1', 'hello')
    said, _ = child.communicate(timeout=30)
    assert child.returncode == 1
    assert 'nobody serves commands at nobody' in said
