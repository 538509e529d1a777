"""How long a stop takes: from the request to the last zero on ``cmd_vel``.

A node of its own, in a process of its own, is stopped while it is idle, while the model
generates, while it drives, and while it drives on a machine whose cores are all busy; by the
stop service, by the e-stop topic, and by a stop word. Measured is what a base would hear: the
time until the first zero velocity after which nothing but zeros comes. Where that is allowed, the
node and the base go first, as the node does as a service of systemd. ::

    . scripts/env.bash
    python bench/stop.py
    python bench/stop.py --model smollm2-135m     # generate with a real model on this machine

Exit code 1 if a stop was not seen within ``LOST_S``, if anything moved after it, or if the
99th percentile of a row is over ``MOST_S``, or ``MOST_BUSY_S`` where the cores are busy.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event
from nemotron_msgs.srv import CallTool
from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.bringup import nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient
from nemotron_ros.spinning import spinning

MOST_S, MOST_BUSY_S = 0.02, 0.25
NICENESS = -5
"""That of config/systemd/nemotron.service."""
LOST_S = 5.0
SETTLE_S = 0.3
START_S = 120.0
WAYS = ('stop service', 'e-stop topic', 'stop word')
STATES = ('idle', 'generating', 'driving', 'driving, busy cores')

TOOLS = """
robot: bench
limits: {max_linear_mps: 0.5}
estop: {topic: e_stop}
tools:
  drive:
    description: Drive.
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,
            message: {linear: {x: 0.2}}, for_s: 60, then: {}}
    guard: {exclusive: motion}
"""
SCRIPT = """
- when: story
  text: Once upon a time there was a robot that looked for its charger in the dark, all night.
  delay_s: 60
"""


class Wire:
    """What a base hears on ``cmd_vel``, with the time that it came."""

    def __init__(self, node: Node) -> None:
        self._changed = threading.Condition()
        self._heard: list[tuple[float, bool]] = []
        node.create_subscription(Twist, 'cmd_vel', self._take, 100)

    def _take(self, twist: Twist) -> None:
        with self._changed:
            self._heard.append((time.monotonic(), twist == Twist()))
            self._changed.notify_all()

    def wait_for(self, zero: bool, since_s: float, timeout_s: float) -> bool:
        """Wait until a velocity that is zero, or is not, has come since then."""

        def there() -> bool:
            return any(at_s >= since_s and is_zero == zero for at_s, is_zero in self._heard)

        with self._changed:
            return self._changed.wait_for(there, timeout_s)

    def stopped_at_s(self, since_s: float) -> float:
        """Return when the zero came after which there are only zeros; inf if none did."""
        with self._changed:
            heard = [entry for entry in self._heard if entry[0] >= since_s]
        last = max((i for i, (_, is_zero) in enumerate(heard) if not is_zero), default=-1)
        return heard[last + 1][0] if last + 1 < len(heard) else math.inf


class Bench:
    """The node under test from outside."""

    def __init__(self, node: Node, hearing: Node) -> None:
        self.wire = Wire(hearing)
        self._commands = CommandClient(node)
        self._button = node.create_publisher(Bool, 'e_stop', 10)
        self._call: Any = node.create_client(CallTool, 'nemotron/call_tool')
        self._stop: Any = node.create_client(Trigger, 'nemotron/stop')
        self._clear: Any = node.create_client(Trigger, 'nemotron/clear_stop')
        self._commands.wait_ready(START_S)
        ready = until_true(self._found, 10.0, CancelToken(10.0))
        assert ready, 'the node was not found'
        # Until its publisher knows the base as well: before that, nobody hears what it sends.
        assert until_true(self._is_heard, 20.0, CancelToken(20.0)), 'nobody publishes cmd_vel'

    def _found(self) -> bool:
        clients = (self._call, self._stop, self._clear)
        return bool(
            all(client.service_is_ready() for client in clients)
            and self._button.get_subscription_count()
        )

    def _is_heard(self) -> bool:
        asked_s = self.stop('stop service')
        heard = self.wire.wait_for(True, asked_s, 0.5)
        self.release()
        return heard

    def begin(self, state: str) -> Callable[[], object]:
        """Bring the node into a state; return what waits for the end of it."""
        if state == 'idle':
            return lambda: None
        if state == 'generating':
            return self._generate()
        began_s = time.monotonic()
        future = self._call.call_async(CallTool.Request(name='drive', timeout_s=60.0))
        assert self.wire.wait_for(False, began_s, LOST_S), 'it does not drive'
        return lambda: until_done(future, LOST_S, CancelToken(LOST_S))

    def _generate(self) -> Callable[[], object]:
        generating = threading.Event()
        busy = (Event.PHASE_PROMPTING, Event.PHASE_GENERATING)

        def hear(event: Event) -> None:
            if event.phase in busy:
                generating.set()

        goal = ExecuteCommand.Goal(command='Tell me a long story.', timeout_s=100.0)
        thread = threading.Thread(
            target=self._commands.send, args=(goal, hear, CancelToken(100.0)), daemon=True
        )
        thread.start()
        assert generating.wait(LOST_S), 'it does not generate'
        time.sleep(0.2)
        return lambda: thread.join(LOST_S)

    def stop(self, way: str) -> float:
        """Ask for a stop; return when it was asked."""
        asked_s = time.monotonic()
        if way == 'stop service':
            self._stop.call_async(Trigger.Request())
        elif way == 'e-stop topic':
            self._button.publish(Bool(data=True))
        else:
            goal = ExecuteCommand.Goal(command='stop!', timeout_s=10.0)
            self._commands.send(goal, lambda _: None, CancelToken(10.0))
        return asked_s

    def release(self) -> None:
        """Release the e-stop and clear what is latched."""
        self._button.publish(Bool(data=False))
        deadline_s = time.monotonic() + LOST_S
        while time.monotonic() < deadline_s:
            future = self._clear.call_async(Trigger.Request())
            if until_done(future, LOST_S, CancelToken(LOST_S)) and future.result().success:
                return
            time.sleep(0.05)
        raise AssertionError('the stop was not cleared')


def measured(bench: Bench, state: str, way: str) -> float:
    """Stop once; return the seconds from the request to standing, inf if that was not seen."""
    wait = bench.begin(state)
    asked_s = bench.stop(way)
    bench.wire.wait_for(True, asked_s, LOST_S)
    wait()
    time.sleep(SETTLE_S)
    took_s = bench.wire.stopped_at_s(asked_s) - asked_s
    bench.release()
    return took_s


@contextmanager
def busy_cores(is_busy: bool) -> Iterator[None]:
    """Keep two processes busy on each core, as nice as processes are by themselves."""
    command = [sys.executable, '-c', 'while True: sum(range(10_000))']
    command = ['nice', '-n', str(-os.nice(0)), *command]
    burners = [subprocess.Popen(command) for _ in range(2 * (os.cpu_count() or 1) * is_busy)]
    try:
        if burners:
            time.sleep(1.0)
        yield
        assert all(burner.poll() is None for burner in burners), 'the cores were not busy'
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def table(bench: Bench, rounds: int) -> bool:
    """Print a row for each state and way; return whether all are as they must be."""
    print(f'{"while":22}{"by":16}{"median":>9}{"99 %":>9}{"worst":>9}   ms, {rounds} stops each')
    good = True
    for state in STATES:
        with busy_cores('busy' in state):
            for way in WAYS:
                times = sorted(measured(bench, state, way) for _ in range(rounds))
                late = times[math.ceil(0.99 * rounds) - 1]
                most_s = MOST_BUSY_S if 'busy' in state else MOST_S
                good = good and late <= most_s and times[-1] < LOST_S
                numbers = (statistics.median(times), late, times[-1])
                shown = ''.join(f'{1e3 * number:9.1f}' for number in numbers)
                print(f'{state:22}{way:16}{shown}', flush=True)
    return good


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--rounds', type=int, default=100, help='stops for each row')
    parser.add_argument('--model', default='', help='generate with this model, by llama.cpp')
    arguments = parser.parse_args()
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    except PermissionError:
        print('not allowed to go first: busy cores are shared with equals')
    with tempfile.TemporaryDirectory() as folder, ExitStack() as end:
        tool_file, script = Path(folder, 'tools.yaml'), Path(folder, 'script.yaml')
        tool_file.write_text(TOOLS)
        script.write_text(SCRIPT)
        engine = (
            {'engine': 'llama_cpp', 'model': arguments.model}
            if arguments.model
            else {'engine': 'scripted', 'script': str(script)}
        )
        log = end.enter_context(Path(folder, 'node.log').open('w'))
        child = nemotron(tool_file, max_tokens=2000, **engine).start(log)
        end.callback(child.wait)
        end.callback(child.terminate)
        node = end.enter_context(spinning('stop_bench'))
        hearing = end.enter_context(spinning('stop_bench_base'))
        return 0 if table(Bench(node, hearing), arguments.rounds) else 1


if __name__ == '__main__':
    sys.exit(main())
