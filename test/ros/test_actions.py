"""Actions and services whose other side is slow, deaf, late, replaced or talks too much."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from action_msgs.msg import GoalStatus
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import BatteryState
from servers import FibonacciServer
from test_msgs.action import Fibonacci
from threads import in_thread

from nemotron_ros import spinning
from nemotron_ros.bridge import action
from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

ACTION = "name: fibonacci, type: test_msgs/action/Fibonacci, goal: {order: '{{ order }}'}"
TOOLS = f"""
robot: bench
tools:
  count:
    description: Count.
    parameters: {{order: {{type: integer, minimum: 1, maximum: 1000}}}}
    action: {{{ACTION}, timeout_s: 20}}
  last:
    description: Count, and tell the number at a place that may not be there.
    parameters: {{order: {{type: integer, minimum: 1, maximum: 1000}}}}
    action: {{{ACTION}, value: '{{{{ sequence[50] }}}}', timeout_s: 20}}
"""


@pytest.fixture
def run(ros, tmp_path: Path):
    """Give a function that runs one call and returns its result."""
    path = tmp_path / 'tools.yaml'
    path.write_text(TOOLS)
    tool_file = load(path)
    executor = RosExecutor(ros.node('bridge'), tool_file)
    dispatcher = Dispatcher(tool_file, Guard(tool_file), executor)

    def call(name: str, order: int, cancel: CancelToken | None = None, progress=lambda _: None):
        token = cancel or CancelToken(20.0)
        tools = frozenset(tool_file.tools)
        return dispatcher.run(ToolCall('1', name, {'order': order}), tools, token, progress)

    yield call
    executor.close()


def test_feedback_is_throttled_and_ends_with_the_call(ros, run):
    FibonacciServer(ros.node('counter'), period_s=0.03)
    told: list[float] = []
    assert run('count', 40, progress=lambda _: told.append(time.monotonic())).status is (
        Status.SUCCEEDED
    )
    assert 3 <= len(told) <= 8
    assert min(b - a for a, b in pairwise(told)) >= action.FEEDBACK_S
    count = len(told)
    CancelToken().wait(0.3)
    assert len(told) == count


def test_feedback_that_comes_after_the_end_is_not_told():
    told: list[object] = []
    feedback = action._Feedback(told.append)
    feedback.over = True
    feedback(SimpleNamespace(feedback=1))
    assert told == []


def test_server_that_appears_late_is_found(ros, run):
    result = in_thread(lambda: run('count', 2))
    CancelToken().wait(0.7)
    FibonacciServer(ros.node('counter'))
    assert result().status is Status.SUCCEEDED


class SlowToAccept:
    """A server that says only after a while that it takes a goal."""

    def __init__(self, node) -> None:
        self._node = node
        self.asked = threading.Event()
        self.ended: list[str] = []
        ActionServer(
            node,
            Fibonacci,
            'fibonacci',
            execute_callback=self._execute,
            goal_callback=self._take,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    def _take(self, goal):
        self.asked.set()
        time.sleep(0.6)
        return GoalResponse.ACCEPT

    async def _execute(self, handle):
        await spinning.in_thread(self._node, lambda: CancelToken().wait(0.5))
        if handle.is_cancel_requested:
            handle.canceled()
            self.ended.append('canceled')
        else:
            handle.succeed()
            self.ended.append('succeeded')
        return Fibonacci.Result()


def test_cancel_before_the_goal_is_taken_is_not_lost(ros, run):
    server = SlowToAccept(ros.node('counter'))
    cancel = CancelToken(20.0)
    result = in_thread(lambda: run('count', 5, cancel))
    assert server.asked.wait(5.0)
    cancel.cancel()
    assert result().status is Status.CANCELED
    assert server.ended == ['canceled']


def test_goal_that_is_cancelled_before_it_is_sent_is_not_sent(ros, run, monkeypatch):
    server = FibonacciServer(ros.node('counter'))
    assert run('count', 1).status is Status.SUCCEEDED
    cancel = CancelToken(20.0)
    checked = action.check_motion
    # The last thing before it is sent.
    monkeypatch.setattr(action, 'check_motion', lambda *given: (checked(*given), cancel.cancel()))
    assert run('count', 1000, cancel).status is Status.CANCELED
    CancelToken().wait(0.2)
    assert server.running == 0


def test_server_that_is_started_anew_is_noticed_at_once(ros, run, eventually):
    node = ros.node('counter')
    first = FibonacciServer(node)
    result = in_thread(lambda: run('count', 1000))
    eventually(lambda: first.running == 1)
    first.server.destroy()
    FibonacciServer(ros.node('counter_2'))
    began_s = time.monotonic()
    ended = result()
    assert ended.status is Status.UNKNOWN
    assert 'went away' in ended.error
    assert time.monotonic() - began_s < 4.0
    first.release.set()
    assert run('count', 2).status is Status.SUCCEEDED


def test_server_that_refuses_to_cancel_is_named(ros, run, eventually, monkeypatch):
    monkeypatch.setattr(action, 'CANCEL_S', 0.5)
    server = FibonacciServer(ros.node('counter'), 'deaf')
    cancel = CancelToken(20.0)
    result = in_thread(lambda: run('count', 100, cancel))
    eventually(lambda: server.running == 1)
    cancel.cancel()
    ended = result()
    server.release.set()
    assert ended.status is Status.UNKNOWN
    assert 'refused to cancel the goal' in ended.error


def test_value_that_can_not_be_told_does_not_hide_that_it_succeeded(ros, run):
    FibonacciServer(ros.node('counter'))
    result = run('last', 2)
    assert result.status is Status.FAILED
    assert 'fibonacci succeeded, but what it returned could not be told' in result.error
    assert result.value == {'sequence': [0, 1, 1, 2]}


def test_how_far_it_had_come_is_told():
    feedback = action._Feedback(lambda _: None)
    assert feedback.last() == ''
    feedback(SimpleNamespace(feedback=BatteryState(percentage=0.5, location='dock')))
    assert '; last feedback: ' in feedback.last()
    assert 'percentage 0.5' in feedback.last()
    assert 'header' not in feedback.last()  # only what is a plain value


@pytest.mark.parametrize(
    ('fields', 'told'),
    [
        ({'error_msg': 'no path to the goal'}, ': no path to the goal'),
        ({'error_string': '', 'message': 'stuck'}, ': stuck'),
        ({'message': 7}, ''),
        ({}, ''),
    ],
)
def test_reason_of_an_abort_is_told(fields, told):
    assert action._reason(SimpleNamespace(**fields)) == told


def test_goal_that_the_server_does_not_know_is_unknown():
    response = SimpleNamespace(status=GoalStatus.STATUS_UNKNOWN, result=Fibonacci.Result())
    binding = SimpleNamespace(name='fibonacci', value=None)
    assert action._judge(binding, response, {}, CancelToken()).status is Status.UNKNOWN
