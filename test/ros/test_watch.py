"""What `nemotron watch` hears of a running node, and what its keys do there: over real DDS."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nemotron_msgs.action import ExecuteCommand
from ros_context import Ros
from scripted_node import active_node
from servers import VelocityLog
from threads import in_thread

from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient
from nemotron_ros.watch import link as module
from nemotron_ros.watch.link import Link
from nemotron_ros.watch.news import News
from nemotron_ros.watch.view import Stage, View, after

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / 'test/fixtures'
GUARDED = {
    'script': str(FIXTURES / 'script_guarded.yaml'),
    'tool_file': str(FIXTURES / 'tools_guarded.yaml'),
}


@dataclass
class Watching:
    """A link to the node, and all that it has heard."""

    view: View = field(default_factory=lambda: View('nemotron'))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, news: News) -> None:
        with self.lock:
            self.view = after(self.view, news, time.monotonic())


@pytest.fixture
def robot(ros) -> Iterator[SimpleNamespace]:
    """Give an active node, who watches it, and a client in the background."""
    node = active_node(ros, **GUARDED)
    outside = ros.node('outside')
    base = VelocityLog(outside)
    watching = Watching()
    link = Link(ros.node('watcher'), 'nemotron', 'Ann', watching.hear)
    client = CommandClient(outside)
    client.wait_ready(10.0)
    results: list[ExecuteCommand.Result] = []

    def begin(words: str) -> None:
        goal = ExecuteCommand.Goal(command=words, timeout_s=30.0)
        in_thread(lambda: results.append(client.send(goal, lambda _: None, CancelToken(30.0))))

    yield SimpleNamespace(
        node=node, base=base, watching=watching, link=link, begin=begin, results=results
    )
    node.trigger_shutdown()


def test_all_that_the_node_tells_is_heard(robot, eventually):
    watching = robot.watching
    eventually(lambda: watching.view.health is not None, what='diagnostics')
    eventually(lambda: watching.view.engine is not None, what='engine')
    eventually(lambda: watching.view.robot is not None, what='tools')
    eventually(lambda: watching.view.stopped is not None, what='stop')
    view = watching.view
    assert (view.engine.state, view.engine.engine) == ('ready', 'scripted')
    assert (view.robot.robot, view.robot.tools) == ('guarded', 4)
    assert view.health.active
    assert view.health.memory_mb > 10
    assert view.stopped == ''
    assert view.trouble(time.monotonic()) == ''


def stages(robot):
    return [call.stage for call in robot.watching.view.commands[-1].calls]


def test_the_stop_key_stops_what_moves(robot, eventually):
    robot.begin('drive far')
    eventually(lambda: 0.2 in robot.base.speeds)
    eventually(lambda: stages(robot) == [Stage.RUNNING])
    robot.link.stop()
    eventually(lambda: robot.results, what='the command has ended')
    assert robot.results[0].status == ExecuteCommand.Result.STATUS_STOPPED
    eventually(lambda: robot.base.speeds[-1] == 0.0)
    eventually(lambda: robot.watching.view.commands[-1].status == 'STOPPED')
    eventually(lambda: robot.watching.view.key.text.startswith('stop: stopped'))
    eventually(lambda: robot.watching.view.stopped == 'stop')


@pytest.mark.parametrize(
    ('yes', 'decision'), [(True, 'admitted'), (False, 'denied by confirmation')]
)
def test_a_question_is_answered_by_its_id(robot, eventually, yes, decision):
    robot.begin('open the door')
    eventually(lambda: robot.watching.view.questions)
    (seen,) = robot.watching.view.questions
    assert (seen.question.tool, seen.question.arguments) == ('open_door', {'wide': True})
    robot.link.answer(seen.question.id, yes)
    eventually(lambda: not robot.watching.view.questions)
    eventually(lambda: stages(robot) == [Stage.ENDED])
    call = robot.watching.view.commands[-1].calls[0]
    assert call.decision == decision
    assert call.result.confirmed_by == ('Ann' if yes else '')
    said = 'yes: it runs' if yes else 'no: it does not run'
    eventually(lambda: robot.watching.view.key.text == said)


def test_a_node_that_ends_is_missed(ros, eventually, monkeypatch):
    monkeypatch.setattr(module, 'STOP_S', 1.0)
    monkeypatch.setattr(module, 'ANSWER_S', 1.0)
    theirs = Ros()
    active_node(theirs, **GUARDED)
    watching = Watching()
    link = Link(ros.node('watcher'), 'nemotron', 'Ann', watching.hear)
    eventually(lambda: watching.view.health is not None)
    theirs.close()
    eventually(lambda: 'has gone' in watching.view.trouble(time.monotonic()), 10.0)
    link.stop()
    eventually(lambda: 'emergency stop' in watching.view.key.text)
    link.answer('x', True)
    eventually(lambda: 'nobody serves nemotron/confirm' in watching.view.key.text)


# The command itself, on a terminal


class Terminal:
    """`nemotron watch` in a process of its own, on a terminal of 100 columns."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self.child = subprocess.Popen(
            [sys.executable, '-m', 'nemotron_ros.cli', 'watch', '--who', 'Ann'],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, 'TERM': 'xterm-256color', 'COLUMNS': '100', 'LINES': '30'},
        )
        self.theirs = theirs
        self.text = ''

    def shows(self, words: str) -> bool:
        """Whether the words were drawn up to now."""
        while select.select([self.ours], [], [], 0.05)[0]:
            self.text += os.read(self.ours, 65536).decode(errors='replace')
        plain = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', self.text)
        return words in plain

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def end(self, timeout_s: float = 10.0) -> int:
        """Wait for the end, taking what is still drawn; return the exit code."""
        deadline_s = time.monotonic() + timeout_s
        while self.child.poll() is None and time.monotonic() < deadline_s:
            self.shows('')
        return self.child.wait(0.1)

    def close(self) -> None:
        self.child.kill()
        self.child.communicate()
        for descriptor in (self.ours, self.theirs):
            os.close(descriptor)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Give the command on a terminal."""
    it = Terminal()
    yield it
    it.close()


def test_watch_on_a_terminal(robot, terminal, eventually):
    eventually(lambda: terminal.shows('no stop is latched'), 30.0)
    robot.begin('open the door')
    eventually(lambda: terminal.shows('open_door(wide: true)'))
    eventually(lambda: terminal.shows('WAITS FOR YOUR YES'))
    time.sleep(1.0)  # a person reads
    terminal.press('y')
    eventually(lambda: terminal.shows('confirmed by Ann'))
    robot.begin('drive far')
    eventually(lambda: 0.2 in robot.base.speeds)
    terminal.press('s')
    eventually(lambda: robot.base.speeds[-1] == 0.0, what='it stands')
    eventually(lambda: terminal.shows('STOPPED: stop'))
    terminal.press('q')
    assert terminal.end() == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_terminal_back(ros, terminal, eventually, number):
    eventually(lambda: terminal.shows('nobody publishes nemotron/events'), 30.0)
    terminal.child.send_signal(number)
    assert terminal.end() == 130
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_without_a_terminal_there_is_another_way():
    done = subprocess.run(
        [sys.executable, '-m', 'nemotron_ros.cli', 'watch', '--node', 'robot_1/nemotron'],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, '')
    assert 'needs a terminal' in done.stderr
    assert 'ros2 topic echo /robot_1/nemotron/events' in done.stderr
