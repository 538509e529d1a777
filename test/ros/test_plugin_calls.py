"""Functions of an installed package as tools: how they end, and how they are ended."""

from __future__ import annotations

import importlib
import re
import time
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist
from plugin_package import install
from servers import VelocityLog
from threads import in_thread

from nemotron_ros.bridge import plugin
from nemotron_ros.bridge.check import check
from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

THEN = 'then: {topic: cmd_vel, type: geometry_msgs/msg/Twist, message: {}}'
TOOLS = """
robot: bench
tools:
  wave:
    description: Wave.
    parameters: {times: {type: integer, minimum: 1, maximum: 3}}
    plugin: {use: wave, timeout_s: 2}
"""
USES = ('fails', 'exits', 'returns_nan', 'returns_object', 'returns_much', 'obeys', 'ignores')


@pytest.fixture
def run(ros, tmp_path, monkeypatch):
    """Give a function that runs one call and returns its result."""
    install(monkeypatch, tmp_path / 'site')
    path = tmp_path / 'tools.yaml'
    extra = [
        f'  {use}: {{description: d, plugin: {{use: {use}, timeout_s: 0.3, {THEN}}}}}'
        for use in USES
    ]
    path.write_text(TOOLS + '\n'.join(extra))
    tool_file = load(path)
    assert check(tool_file) == []
    executor = RosExecutor(ros.node('bridge'), tool_file)
    dispatcher = Dispatcher(tool_file, Guard(tool_file), executor)

    def call(name: str, cancel: CancelToken | None = None, **arguments: object):
        token = cancel or CancelToken(10.0)
        return dispatcher.run(ToolCall('1', name, arguments), frozenset(tool_file.tools), token)

    yield call
    executor.close()


def test_gets_a_node_and_the_arguments_and_returns_a_value(run):
    result = run('wave', times=2)
    assert (result.status, result.value) == (Status.SUCCEEDED, {'waved': 2})
    assert importlib.import_module('bench_plugins').seen == [('bridge_tools', {'times': 2})]


def test_arguments_that_break_the_schema_do_not_reach_it(run):
    assert run('wave', times=4).status is Status.INVALID
    assert importlib.import_module('bench_plugins').seen == []


@pytest.mark.parametrize(
    ('name', 'word'),
    [
        ('fails', 'fails: the arm is stuck'),
        ('exits', 'exits: 3'),
        ('returns_nan', 'no JSON'),
        ('returns_object', 'no JSON'),
        ('returns_much', 'too long'),
    ],
)
def test_what_goes_wrong_is_told(ros, run, name, word):
    VelocityLog(ros.node('base'))
    result = run(name)
    assert result.status is Status.FAILED
    assert word in result.error


def test_deadline_ends_it_and_its_motion(ros, run, eventually):
    log = VelocityLog(ros.node('base'))
    result = run('obeys')
    assert (result.status, result.value) == (Status.TIMED_OUT, 'half done')
    eventually(lambda: log.speeds == [0.0])


def test_cancel_ends_it(ros, run):
    VelocityLog(ros.node('base'))
    cancel = CancelToken(10.0)
    result = in_thread(lambda: run('obeys', cancel))
    CancelToken().wait(0.2)
    cancel.cancel()
    assert result().status is Status.CANCELED


def test_one_that_ignores_its_deadline_is_unknown_and_not_run_again(
    ros, run, eventually, monkeypatch
):
    log = VelocityLog(ros.node('base'))
    monkeypatch.setattr(plugin, 'END_S', 0.2)
    began_s = time.monotonic()
    result = run('ignores')
    assert result.status is Status.UNKNOWN
    assert time.monotonic() - began_s < 2.0
    assert 'may still be going on' in result.error
    eventually(lambda: log.speeds == [0.0])
    again = run('ignores')
    assert again.status is Status.FAILED
    assert 'has not returned from an earlier call' in again.error


def test_motion_that_nobody_could_end_is_not_begun(run):
    result = run('obeys', CancelToken(1.0))
    assert result.status is Status.FAILED
    assert 'nobody subscribes to cmd_vel' in result.error


def test_missing_plugin_is_found_when_the_file_is_checked(tmp_path):
    path = tmp_path / 'tools.yaml'
    path.write_text(TOOLS)
    (problem,) = check(load(path))
    assert problem.startswith(f'{path}:7: tools.wave.plugin.use: no installed package offers')


def test_closing_message_is_checked_like_any_other(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / 'site')
    path = tmp_path / 'tools.yaml'
    wrong = THEN.replace('message: {}', 'message: {speed: 0}')
    path.write_text(TOOLS.replace('timeout_s: 2', f'timeout_s: 2, {wrong}'))
    (problem,) = check(load(path))
    assert 'tools.wave.plugin.then.message.speed' in problem


def test_the_page_that_tells_how_to_write_one_is_right(ros, tmp_path, monkeypatch, eventually):
    page = (Path(__file__).resolve().parents[2] / 'docs/plugins.md').read_text()
    code = re.search(r'^```python\n(.*?)^```', page, re.DOTALL | re.MULTILINE)[1]
    tools = re.search(r'^```yaml\n(.*?)^```', page, re.DOTALL | re.MULTILINE)[1]
    install(monkeypatch, tmp_path / 'site', 'my_robot_tools', code, ('nod',))
    path = tmp_path / 'tools.yaml'
    path.write_text(f'robot: r\ntools:\n{tools}')
    tool_file = load(path)
    assert check(tool_file) == []
    executor = RosExecutor(ros.node('bridge'), tool_file)
    heard: list[float] = []
    ros.node('head').create_subscription(
        Twist, 'head/cmd_vel', lambda message: heard.append(message.angular.y), 10
    )
    dispatcher = Dispatcher(tool_file, Guard(tool_file), executor)
    call = ToolCall('1', 'nod', {'times': 1})
    result = dispatcher.run(call, frozenset({'nod'}), CancelToken(10.0))
    assert (result.status, result.value) == (Status.SUCCEEDED, {'nods': 1})
    eventually(lambda: heard == [0.5, -0.5, 0.0])
    executor.close()
