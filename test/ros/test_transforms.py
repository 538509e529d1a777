"""What listens to transforms: age, waiting, and what it is given by the topics."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import String
from threads import in_thread

from nemotron_ros.bridge import transforms
from nemotron_ros.bridge.transform_tree import TransformError
from nemotron_ros.bridge.transforms import Transforms
from nemotron_ros.cancel import CancelToken


@pytest.fixture
def listener(ros, monkeypatch):
    """Give one whose topics are of a type that is installed everywhere."""
    monkeypatch.setattr(transforms, 'load_message', lambda name: String)
    it = Transforms(ros.node('ears'), lambda name: name)
    yield it
    it.close()


def message(parent: str, child: str, x: float) -> SimpleNamespace:
    """Return what a TFMessage holds."""
    stamped = TransformStamped(child_frame_id=child)
    stamped.header.frame_id = parent
    stamped.transform.translation.x = x
    return SimpleNamespace(transforms=[stamped])


def look_up(listener, timeout_s: float = 0.0, cancel: CancelToken | None = None):
    return listener.look_up('map', 'base', 0.2, timeout_s, cancel or CancelToken(5.0))


def test_what_moves_grows_old_and_what_is_fixed_does_not(listener):
    listener.take(message('map', 'base', 1.0))
    assert look_up(listener).translation == (1.0, 0.0, 0.0)
    CancelToken().wait(0.25)
    with pytest.raises(TransformError, match='base in map was last told'):
        look_up(listener)
    listener.take_fixed(message('map', 'base', 2.0))
    assert look_up(listener).received_s == math.inf


def test_waits_for_what_is_not_known_yet(listener):
    found = in_thread(lambda: look_up(listener, 5.0))
    CancelToken().wait(0.1)
    listener.take(message('map', 'odom', 1.0))
    listener.take(message('odom', 'base', 1.0))
    assert found().translation == (2.0, 0.0, 0.0)


def test_a_cancel_ends_the_wait(listener):
    cancel = CancelToken(10.0)
    began_s = time.monotonic()
    found = in_thread(lambda: look_up(listener, 8.0, cancel))
    CancelToken().wait(0.1)
    cancel.cancel()
    with pytest.raises(TransformError, match='nobody tells where the frame'):
        found()
    assert time.monotonic() - began_s < 2.0
