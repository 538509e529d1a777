"""The voice front end: heard, obeyed, answered; and stopped whatever it does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy, ROS 2 itself, is not here')

from std_msgs.msg import String

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken

Say = Callable[[str, str], None]


@pytest.fixture
def say(base: Any, run: Any) -> Iterator[Say]:
    """Say something, and hear the answer."""
    answers: list[str] = []
    base.node.create_subscription(String, 'answer', lambda text: answers.append(text.data), 10)
    heard = base.node.create_publisher(String, 'heard', 10)
    child = run('voice.py')
    assert until_true(lambda: heard.get_subscription_count() > 0, 20.0, CancelToken())
    assert until_true(lambda: base.node.count_publishers('answer') > 0, 20.0, CancelToken())

    def speak(words: str, answer: str) -> None:
        def answered() -> bool:
            if answer and answer not in answers and 'I can not hear commands yet.' in answers:
                answers.clear()
                heard.publish(String(data=words))
            return not answer or answer in answers

        answers.clear()
        heard.publish(String(data=words))
        assert until_true(answered, 15.0, CancelToken()), answers

    yield speak
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 0


def test_what_is_heard_is_obeyed_and_answered(base: Any, say: Say) -> None:
    say('hello', 'Hello.')
    say('  please drive   a little ', 'Done.')
    assert 0.2 in base.speeds


def test_stop_is_heard_while_it_drives(base: Any, say: Say) -> None:
    say('hello', 'Hello.')
    say('please drive far', '')
    assert until_true(lambda: 0.2 in base.speeds, 10.0, CancelToken())
    say('and drive a little', 'I am still busy. Say stop to end that.')
    say('Stop!', 'I stop.')
    assert until_true(lambda: base.speeds[-1] == 0.0, 2.0, CancelToken())
    moved = len(base.speeds)
    say('please drive a little', '')
    CancelToken().wait(1.0)
    assert not any(base.speeds[moved:])
    say('go on', 'Ready.')
    say('please drive a little', 'Done.')
