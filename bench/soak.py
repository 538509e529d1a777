"""Two thousand commands, cancels and faults, and nothing that is left over of them.

A node in a process of its own, with a scripted engine, gets a shuffled mix: commands that
succeed, that are cancelled at some moment, that run out of time, that break a schema; servers
that fail, hang and die; stops, and deactivation in mid-command. Each outcome is held against
what it must be, and after each command the base must be at rest. In the end the node's memory,
threads and file handles are held against those of the first commands, and the graph is asked for
nodes and goals. ::

    . scripts/env.bash
    PYTHONPATH=test/fixtures python bench/soak.py
    PYTHONPATH=test/fixtures python bench/soak.py --commands 200

Exit code 1 if an outcome was missed or wrong, if anything is left over, or if the memory has
grown by more than ``MOST_GROWTH`` since the first ``WARM`` commands.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nemotron_msgs.action import ExecuteCommand
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from servers import FibonacciServer, SwitchServer, VelocityLog
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.bringup import nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient, CommandError, status_name
from nemotron_ros.spinning import spinning

WARM = 200
MOST_GROWTH = 0.05
START_S = 60.0
SOON_S = 5.0
SAMPLE_EVERY = 10
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RUNNING = (
    GoalStatus.STATUS_ACCEPTED,
    GoalStatus.STATUS_EXECUTING,
    GoalStatus.STATUS_CANCELING,
)
Goal = ExecuteCommand.Goal

TOOLS = Path(__file__).resolve().parents[1] / 'test/fixtures/tools_faults.yaml'
SCRIPT = """
- {when: drive far, calls: [{name: drive, arguments: {seconds: 10}}]}
- {when: drive a little, calls: [{name: drive, arguments: {seconds: 0.1}}]}
- {when: switch on, calls: [{name: switch, arguments: {'on': true}}]}
- {when: switch off, calls: [{name: switch, arguments: {'on': false}}]}
- {when: count far, calls: [{name: count, arguments: {order: 1000}}]}
- {when: count a little, calls: [{name: count, arguments: {order: 1}}]}
- {when: too far, calls: [{name: drive, arguments: {seconds: 1000}}]}
- {when: unknown tool, calls: [{name: fly, arguments: {}}]}
- {when: think, text: Let me think about that for a while., delay_s: 10}
- {when: '"status"', text: Done.}
- {when: hello, text: Hello.}
"""


@dataclass
class Surroundings:
    """What stands round the node, and the way to it."""

    node: Node
    base: VelocityLog
    switch: SwitchServer
    counter: FibonacciServer
    client: CommandClient
    services: dict[str, Any]

    def send(self, text: str, cancel: CancelToken | None = None, timeout_s: float = 30.0) -> str:
        """Send a command; return the name of its outcome's status."""
        goal = Goal(command=text, timeout_s=timeout_s)
        return status_name(self.client.send(goal, lambda _: None, cancel or CancelToken(60.0)))

    def ask(self, name: str, request: Any) -> Any:
        """Ask one of the node's services."""
        future = self.services[name].call_async(request)
        assert until_done(future, 20.0, CancelToken(20.0)), f'{name} does not answer'
        return future.result()

    def beside(self, text: str, do: Callable[[], object]) -> str:
        """Send a command, do something while it runs, and return its outcome."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                do()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            return self.send(text)
        finally:
            thread.join()
            if failed:
                raise failed[0]

    def moves(self) -> None:
        """Wait until the base is driven."""
        heard = len(self.base.speeds)
        assert until_true(lambda: 0.2 in self.base.speeds[heard:], SOON_S, CancelToken(SOON_S))

    def rests(self) -> bool:
        """Wait until the last velocity that was heard is zero."""
        return until_true(
            lambda: self.base.speeds[-1:] in ([], [0.0]), SOON_S, CancelToken(SOON_S)
        )


Kind = Callable[[Surroundings, random.Random], str]


def plain(text: str, timeout_s: float = 30.0) -> Kind:
    """Return a kind that only sends a command."""
    return lambda around, chance: around.send(text, timeout_s=timeout_s)


def cancelled(text: str) -> Kind:
    """Return a kind that cancels a command at a moment left to chance."""
    return lambda around, chance: around.send(text, CancelToken(chance.uniform(0.001, 0.2)))


def hung(around: Surroundings, chance: random.Random) -> str:
    """Cancel a call of a service that does not answer."""
    around.switch.silent = True
    around.switch.release.clear()
    try:
        return around.send('switch on', CancelToken(0.2))
    finally:
        around.switch.silent = False
        around.switch.release.set()


def died(around: Surroundings, chance: random.Random) -> str:
    """Let an action server die in mid-goal, and come back."""
    counter = around.counter

    def kill() -> None:
        assert until_true(lambda: counter.running == 1, SOON_S, CancelToken(SOON_S))
        counter.server.destroy()
        counter.release.set()

    try:
        return around.beside('count far', kill)
    finally:
        around.counter = FibonacciServer(around.node, period_s=0.01)
        # An action whose server has just come back is found by the next call, or waited for.


def stopped(around: Surroundings, chance: random.Random) -> str:
    """Stop it while it drives, and clear the stop."""

    def stop() -> None:
        around.moves()
        assert around.ask('stop', Trigger.Request()).success

    try:
        return around.beside('drive far', stop)
    finally:
        assert around.ask('clear_stop', Trigger.Request()).success


def deactivated(around: Surroundings, chance: random.Random) -> str:
    """Deactivate the node while it drives, and activate it again."""

    def change(number: int) -> None:
        request = ChangeState.Request(transition=Transition(id=number))
        assert around.ask('change_state', request).success

    def deactivate() -> None:
        around.moves()
        change(Transition.TRANSITION_DEACTIVATE)

    try:
        return around.beside('drive far', deactivate)
    finally:
        change(Transition.TRANSITION_ACTIVATE)


# Each kind of command: what it is, what its outcome must be, and how often it comes.
KINDS: dict[str, tuple[Kind, str, int]] = {
    'answered in words': (plain('hello'), 'answered', 6),
    'drives': (plain('drive a little'), 'succeeded', 4),
    'calls a service': (plain('switch on'), 'succeeded', 4),
    'sends an action goal': (plain('count a little'), 'succeeded', 4),
    'service fails': (plain('switch off'), 'not_done', 2),
    'breaks a schema': (plain('too far'), 'not_done', 2),
    'unknown tool': (plain('unknown tool'), 'not_done', 2),
    'engine fails': (plain('gibberish'), 'engine_failed', 2),
    'rejected': (plain(' '), 'rejected', 2),
    'stop word': (plain('stop'), 'succeeded', 1),
    'out of time': (plain('drive far', timeout_s=0.2), 'timed_out', 2),
    'cancelled, generating': (cancelled('think'), 'canceled', 4),
    'cancelled, driving': (cancelled('drive far'), 'canceled', 4),
    'cancelled, in an action': (cancelled('count far'), 'canceled', 4),
    'cancelled, service hangs': (hung, 'canceled', 2),
    'action server dies': (died, 'not_done', 1),
    'stop service': (stopped, 'stopped', 1),
    'deactivated': (deactivated, 'stopped', 1),
}


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    memory_mb: float
    threads: int
    handles: int


def held(pid: int) -> Held:
    """Return what a process holds now."""
    status = Path(f'/proc/{pid}/status').read_text()
    lines = dict(line.split(':', 1) for line in status.splitlines())
    return Held(
        int(lines['VmRSS'].split()[0]) / 1024,
        int(lines['Threads']),
        len(os.listdir(f'/proc/{pid}/fd')),
    )


@dataclass
class Account:
    """What was seen in a soak."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    samples: list[Held] = field(default_factory=list)
    warm: int = 0
    took_s: float = 0.0

    def memory_mb(self, begin: int, end: int | None = None) -> float:
        """Return the median of some of the samples."""
        return statistics.median(sample.memory_mb for sample in self.samples[begin:end])

    @property
    def growth(self) -> float:
        """By how much the memory has grown after the warm-up, as a share."""
        few = 3
        at = max(self.warm // SAMPLE_EVERY, few)
        return self.memory_mb(-few) / self.memory_mb(at - few, at) - 1

    @property
    def good(self) -> bool:
        """Whether all is as it must be."""
        return not self.wrong and not self.left and self.growth <= MOST_GROWTH


def soak(around: Surroundings, pid: int, commands: int, chance: random.Random) -> Account:
    """Send the commands; return what was seen."""
    account = Account(warm=min(WARM, commands // 2))
    statuses: list[GoalStatusArray] = []
    around.node.create_subscription(
        GoalStatusArray, 'nemotron/execute_command/_action/status', statuses.append, LATCHED
    )
    names, weights = list(KINDS), [weight for _, _, weight in KINDS.values()]
    mix = [*names, *chance.choices(names, weights, k=max(0, commands - len(names)))]
    began_s = time.monotonic()
    before, nodes = None, Counter[str]()
    for number, name in enumerate(mix):
        if number == account.warm:
            time.sleep(1.0)
            before, nodes = held(pid), Counter(around.node.get_node_names())
        if number % SAMPLE_EVERY == 0:
            account.samples.append(held(pid))
        run, wanted, _ = KINDS[name]
        account.done[name] += 1
        try:
            got = run(around, chance)
        except (CommandError, AssertionError) as error:
            got = f'missed: {error}'
        if got != wanted:
            account.wrong.append(f'{number}: {name}: {wanted} expected, got {got}')
        if not around.rests():
            account.wrong.append(f'{number}: {name}: the base is not at rest')
    account.took_s = time.monotonic() - began_s
    account.samples.append(held(pid))
    assert before is not None

    def over() -> list[str]:
        now = held(pid)
        found = []
        if now.threads > before.threads:
            found.append(f'threads: {before.threads} before, {now.threads} now')
        if now.handles > before.handles:
            found.append(f'file handles: {before.handles} before, {now.handles} now')
        # One that was there before and is gone is of those that a test before this one killed.
        more = Counter(around.node.get_node_names()) - nodes
        if more:
            found.append(f'nodes: {", ".join(sorted(more))} more than before')
        running = [s for s in statuses[-1].status_list if s.status in RUNNING]
        if running:
            found.append(f'{len(running)} goals')
        return found

    until_true(lambda: not over(), 15.0, CancelToken(15.0))
    account.left = over()
    return account


def run(commands: int, seed: int) -> Account:
    """Start a node and what stands round it; return what was seen."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as end:
        script = Path(folder, 'script.yaml')
        script.write_text(SCRIPT)
        log = end.enter_context(Path(folder, 'node.log').open('w'))
        child = nemotron(TOOLS, engine='scripted', script=str(script)).start(log)
        end.callback(child.wait)
        end.callback(child.terminate)
        node = end.enter_context(spinning('soak'))
        servers = end.enter_context(spinning('soak_servers'))
        base = end.enter_context(spinning('soak_base'))
        client = CommandClient(node)
        client.wait_ready(START_S)
        kinds = {'stop': Trigger, 'clear_stop': Trigger, 'change_state': ChangeState}
        services: dict[str, Any] = {
            name: node.create_client(kind, f'nemotron/{name}') for name, kind in kinds.items()
        }
        assert until_true(
            lambda: all(service.service_is_ready() for service in services.values()),
            SOON_S,
            CancelToken(SOON_S),
        )
        counter = FibonacciServer(servers, period_s=0.01)
        around = Surroundings(
            servers, VelocityLog(base), SwitchServer(servers), counter, client, services
        )
        account = soak(around, child.pid, commands, random.Random(seed))
        if child.poll() is not None:
            account.wrong.append(f'the node has ended with code {child.returncode}')
        return account


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--commands', type=int, default=2000)
    parser.add_argument('--seed', type=int, default=1)
    arguments = parser.parse_args()
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    account = run(max(arguments.commands, 4 * len(KINDS)), arguments.seed)
    for name, count in account.done.items():
        print(f'{name:28}{count:6}   {KINDS[name][1]}')
    for line in (*account.wrong, *account.left):
        print(f'WRONG  {line}')
    first, last = account.samples[account.warm // SAMPLE_EVERY], account.samples[-1]
    print(f'{"":28}{"warm":>8}{"end":>8}')
    for what in ('memory_mb', 'threads', 'handles'):
        print(f'{what:28}{getattr(first, what):8.0f}{getattr(last, what):8.0f}')
    total = sum(account.done.values())
    print(
        f'{total} commands in {account.took_s:.0f} s, {len(account.wrong)} wrong, '
        f'{len(account.left)} left over, memory {account.growth:+.1%} since command {account.warm}'
    )
    return 0 if account.good else 1


if __name__ == '__main__':
    sys.exit(main())
