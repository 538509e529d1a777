"""The leaf of a behaviour tree follows its command, and takes it back when the tree goes on."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy, ROS 2 itself, is not here')
pytest.importorskip('py_trees', reason='py_trees is not here: pip install py_trees')

from py_trees.common import Status

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken

EXAMPLE = Path(__file__).resolve().parents[2] / 'examples/behaviour_tree.py'


def leaf(base: Any, command: str, server: str = 'nemotron') -> Any:
    return runpy.run_path(str(EXAMPLE))['Obey']('leaf', base.node, command, server)


def ticked(one: Any, timeout_s: float = 20.0) -> Status:
    def ended() -> bool:
        one.tick_once()
        return bool(one.status != Status.RUNNING)

    until_true(ended, timeout_s, CancelToken())
    return one.status


@pytest.mark.parametrize(
    ('command', 'status'),
    [
        ('drive a little', Status.SUCCESS),
        ('go too fast', Status.FAILURE),
        ('hello', Status.FAILURE),  # words alone, whatever they say
    ],
)
def test_its_status_is_that_of_the_command(base: Any, command: str, status: Status) -> None:
    one = leaf(base, command)
    assert ticked(one) == status
    assert one.feedback_message


def test_it_can_run_again(base: Any) -> None:
    one = leaf(base, 'drive a little')
    assert [ticked(one), ticked(one)] == [Status.SUCCESS] * 2


def test_a_tree_that_goes_elsewhere_stops_the_robot(base: Any) -> None:
    one = leaf(base, 'please drive far')
    assert until_true(lambda: one.tick_once() or 0.2 in base.speeds, 20.0, CancelToken())
    one.stop(Status.INVALID)
    assert until_true(lambda: base.speeds[-1] == 0.0, 5.0, CancelToken())


def test_it_waits_for_somebody_who_serves(base: Any) -> None:
    one = leaf(base, 'hello', 'nobody')
    assert ticked(one, 1.0) == Status.RUNNING
    assert one.feedback_message == 'nobody serves commands'


def test_the_program(base: Any, run: Any) -> None:
    child = run('behaviour_tree.py', 'drive a little', 'please drive a little')
    said, _ = child.communicate(timeout=30)
    assert (child.returncode, said) == (0, 'success: Done.\n')
