"""``nemotron demo``: a simulated robot obeys ten commands; physics says what truly happened."""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from rich.console import Console
from rich.table import Table

from nemotron_ros.bringup import Process, config_path, headless_robot, nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolSpec
from nemotron_ros.cli.ask import status_name
from nemotron_ros.sim.referee import (
    STILL_M,
    Reported,
    Truth,
    disagreements,
    distance_m,
    turned_rad,
)
from nemotron_ros.sim.world import flat
from nemotron_ros.tools.tool_file import load
from nemotron_ros.tools.validate import Validator

START_S = 180.0
COMMAND_S = 90.0
ENOUGH = 8
SPEED_LIMIT_MPS = 0.3


@dataclass(frozen=True)
class Case:
    """A command, and how to see in the physics that it was obeyed."""

    command: str
    obeyed: Callable[[Truth, Truth, Any], bool]
    then: str = ''
    """A second command, said while the first one is moving the robot."""


@dataclass(frozen=True)
class Run:
    """How one command went."""

    case: Case
    before: Truth
    after: Truth
    result: Any
    first_word_s: float | None = None
    first_motion_s: float | None = None
    total_s: float = 0.0
    lies: tuple[str, ...] = ()
    obeyed: bool = False


def _drove(way_m: float) -> Callable[[Truth, Truth, Any], bool]:
    return lambda before, after, _: abs(distance_m(before, after) - way_m) < 0.12


def _turned(degrees: float) -> Callable[[Truth, Truth, Any], bool]:
    def obeyed(before: Truth, after: Truth, _: Any) -> bool:
        off = math.remainder(turned_rad(before, after) - math.radians(degrees), math.tau)
        return abs(off) < math.radians(8) and distance_m(before, after) < 0.1

    return obeyed


def _is_at(name: str) -> Callable[[Truth, Truth, Any], bool]:
    place = flat().places[name]
    return lambda before, after, _: math.hypot(after.x - place.x, after.y - place.y) < 0.3


def _turned_then_drove(degrees: float, way_m: float) -> Callable[[Truth, Truth, Any], bool]:
    def obeyed(before: Truth, after: Truth, _: Any) -> bool:
        off = math.remainder(turned_rad(before, after) - math.radians(degrees), math.tau)
        # Along the final heading: forward is positive.
        along_m = (after.x - before.x) * math.cos(after.yaw) + (after.y - before.y) * math.sin(
            after.yaw
        )
        return abs(off) < math.radians(8) and abs(along_m - way_m) < 0.12

    return obeyed


def _still(before: Truth, after: Truth) -> bool:
    return distance_m(before, after) < STILL_M and abs(turned_rad(before, after)) < 0.05


CASES = (
    Case('drive 1.2 metres forward', _drove(1.2)),
    Case('turn left by ninety degrees', _turned(90)),
    Case('go to the kitchen', _is_at('kitchen')),
    Case('pick up the cup', lambda before, after, _: after.holding == 'cup'),
    Case(
        'say good morning everyone',
        lambda before, after, _: 'good morning' in ' '.join(after.heard[-1:]).lower(),
    ),
    Case(
        'how full is your battery?',
        lambda before, after, result: (
            _still(before, after) and str(round(after.battery * 100)) in result.text
        ),
    ),
    Case('turn right 60 degrees and then reverse 40 cm', _turned_then_drove(-60, -0.4)),
    Case(
        'what is the capital of France?',
        lambda before, after, result: 'Paris' in result.text and _still(before, after),
    ),
    Case(
        'drive 50 metres straight ahead',
        lambda before, after, result: result.status != 1 and _still(before, after),
    ),
    Case(
        'drive forward 2.5 metres',
        lambda before, after, result: (
            status_name(result) == 'stopped' and 0.02 < distance_m(before, after) < 1.5
        ),
        then='stop!',
    ),
)


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('demo', help='a simulated robot obeys ten commands in words')
    parser.add_argument(
        '--model', default='qwen2.5-coder-0.5b', help='model name, or path of a GGUF file'
    )
    parser.add_argument('--output', default='out', help='folder for the picture and the logs')
    parser.add_argument('--json', default='', help='also write the measurements to this file')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if the reports were true, the bounds kept, and 8 of 10 obeyed."""
    from nemotron_ros.cli.model import fetch_or_smaller_with_bar
    from nemotron_ros.engine.protocol import EngineError

    console = Console(highlight=False)
    began_s = time.monotonic()
    try:
        model, instead = fetch_or_smaller_with_bar(arguments.model)
    except EngineError as error:
        print(f'nemotron demo: {error}', file=sys.stderr)
        return 1
    if instead:
        console.print(instead, style='yellow', markup=False)
    console.print(f'model: {model.name}', markup=False)
    output = Path(arguments.output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    picture = output / 'demo.png'
    tool_file = config_path('tools', 'headless_robot.yaml')
    processes = (
        headless_robot(top_view_path=str(picture)),
        nemotron(tool_file, model=str(model)),
    )
    from nemotron_ros.cli.client import CommandError
    from nemotron_ros.spinning import spinning

    try:
        places = load(tool_file).tables['places']
        with started(processes, output) as alive, spinning('nemotron_demo') as node:
            robot = Robot(node, alive, places)
            robot.wait_ready()
            console.print(f'ready after {time.monotonic() - began_s:.1f} s\n')
            runs = []
            for case in CASES:
                one = robot.obey(case)
                runs.append(one)
                console.print(_line(len(runs), one), markup=False)
            robot.draw()
            wrong = robot.breaches()
    except (CommandError, DemoError) as error:
        print(f'nemotron demo: {error} (logs in {output})', file=sys.stderr)
        return 1
    console.print()
    console.print(_table(runs))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([_as_json(one) for one in runs], indent=2))
    return _verdict(console, runs, wrong, picture)


class DemoError(Exception):
    """The demo could not be carried through."""


@contextmanager
def started(processes: Sequence[Process], output: Path) -> Iterator[Callable[[], None]]:
    """Run processes with their logs in ``output``; yields a check that they are all alive."""
    with ExitStack() as stack:
        running = []
        for process in processes:
            log = stack.enter_context((output / f'{process.name}.log').open('w'))
            child = process.start(log)
            stack.callback(_end, child)
            running.append((process, child))

        def alive() -> None:
            for process, child in running:
                if child.poll() is not None:
                    raise DemoError(f'{process.name} ended with code {child.returncode}')

        yield alive


def _end(child: Any) -> None:
    child.terminate()
    try:
        child.wait(10.0)
    except TimeoutExpired:
        child.kill()
        child.wait()


class Robot:
    """The simulated robot and the node that commands it, from outside."""

    def __init__(self, node: Any, alive: Callable[[], None], places: Any) -> None:
        from geometry_msgs.msg import Twist
        from nav_msgs.msg import Odometry
        from nemotron_msgs.msg import EngineStatus
        from nemotron_msgs.srv import ListTools
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from std_srvs.srv import Trigger

        from nemotron_ros.bridge.waiting import until_done, until_true
        from nemotron_ros.cli.client import CommandClient

        self._until_done, self._until_true = until_done, until_true
        self._alive = alive
        self._places = places
        self._commands = CommandClient(node)
        self._truth_client = node.create_client(Trigger, 'sim/truth')
        self._draw_client = node.create_client(Trigger, 'sim/top_view')
        self._list_client = node.create_client(ListTools, 'nemotron/list_tools')
        self._status: Any = None
        self._moved_at_s = 0.0
        self._fastest = 0.0
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(EngineStatus, 'nemotron/engine_status', self._engine, latched)
        node.create_subscription(Odometry, 'odom', self._odom, 10)
        node.create_subscription(Twist, 'cmd_vel', self._velocity, 10)
        self._invalid: list[str] = []
        self._validators: dict[str, Validator] = {}

    def wait_ready(self) -> None:
        """Wait until the model is loaded and the node takes commands."""
        from nemotron_msgs.msg import EngineStatus

        budget = CancelToken(START_S)
        while self._status is None or self._status.state != EngineStatus.STATE_READY:
            self._alive()
            if self._status is not None and self._status.state == EngineStatus.STATE_FAILED:
                raise DemoError(self._status.message)
            if budget.wait(0.05):
                raise DemoError(f'the model was not loaded within {START_S:g} s')
        self._commands.wait_ready(10.0)
        self.truth()
        for tool in self._ask(self._list_client).tools:
            spec = ToolSpec(tool.name, tool.description, json.loads(tool.parameters))
            self._validators[tool.name] = Validator(spec)

    def obey(self, case: Case) -> Run:
        """Give one command, and hold its account against the physics."""
        before = self.truth()
        began_s = time.monotonic()
        first_word: list[float] = []
        moving = threading.Event()

        def on_event(event: Any) -> None:
            if (event.text_delta or event.call) and not first_word:
                first_word.append(time.monotonic() - began_s)

        self._moved_at_s = 0.0
        second: list[Any] = []

        def interrupt() -> None:
            budget = CancelToken(COMMAND_S)
            while not self._moved_at_s and not budget.wait(0.02):
                pass
            budget.wait(1.0)
            second.append(self._send(case.then, lambda _: None))
            moving.set()

        if case.then:
            threading.Thread(target=interrupt, daemon=True).start()
        result = self._send(case.command, on_event)
        if case.then and not moving.wait(COMMAND_S):
            raise DemoError(f'{case.then!r} was never said')
        total_s = time.monotonic() - began_s
        after = self._settled()
        calls = [
            _reported(call) for call in (*result.calls, *(c for r in second for c in r.calls))
        ]
        for call in calls:
            if call.sent:
                problems = self._validators[call.name].check(dict(call.arguments))
                self._invalid += [f'{call.name}: {problem}' for problem in problems]
        return Run(
            case,
            before,
            after,
            result,
            first_word[0] if first_word else None,
            self._moved_at_s - began_s if self._moved_at_s else None,
            total_s,
            tuple(disagreements(before, after, calls, self._places)),
            case.obeyed(before, after, result),
        )

    def truth(self) -> Truth:
        """Ask the physics."""
        return Truth.parse(self._ask(self._truth_client).message)

    def draw(self) -> None:
        """Have the path drawn."""
        self._ask(self._draw_client)

    def breaches(self) -> list[str]:
        """Return each call that reached ROS though it broke its schema, and each overspeed."""
        wrong = list(self._invalid)
        if self._fastest > SPEED_LIMIT_MPS:
            wrong.append(f'cmd_vel asked for {self._fastest:.2f} m/s')
        return wrong

    def _send(self, command: str, on_event: Callable[[Any], None]) -> Any:
        from nemotron_msgs.action import ExecuteCommand

        self._alive()
        goal = ExecuteCommand.Goal(command=command, timeout_s=COMMAND_S)
        return self._commands.send(goal, on_event, CancelToken(COMMAND_S + 10))

    def _settled(self) -> Truth:
        """Return the truth a moment after the end, when the base has come to rest."""
        CancelToken().wait(0.6)
        return self.truth()

    def _ask(self, client: Any) -> Any:
        budget = CancelToken(20.0)
        if not self._until_true(client.service_is_ready, 20.0, budget):
            raise DemoError(f'{client.srv_name} is not there')
        future = client.call_async(client.srv_type.Request())
        if not self._until_done(future, 20.0, budget):
            raise DemoError(f'{client.srv_name} has not answered')
        return future.result()

    def _engine(self, status: Any) -> None:
        self._status = status

    def _odom(self, odom: Any) -> None:
        twist = odom.twist.twist
        if not self._moved_at_s and (abs(twist.linear.x) > 0.02 or abs(twist.angular.z) > 0.05):
            self._moved_at_s = time.monotonic()

    def _velocity(self, twist: Any) -> None:
        self._fastest = max(self._fastest, abs(twist.linear.x))


def _reported(call: Any) -> Reported:
    result = call.result
    unsent = (
        result.STATUS_INVALID,
        result.STATUS_DENIED,
        result.STATUS_NOT_RUN,
        result.STATUS_PENDING,
    )
    return Reported(
        call.name,
        json.loads(call.arguments),
        result.status == result.STATUS_SUCCEEDED,
        result.status not in unsent,
    )


def _words(one: Run) -> str:
    calls = [f'{call.name}({_arguments(call.arguments)})' for call in one.result.calls]
    return '; '.join(calls) or f'"{one.result.text}"'


def _arguments(text: str) -> str:
    return ', '.join(str(value) for value in json.loads(text).values())


def _moved(one: Run) -> str:
    parts = []
    way_m = distance_m(one.before, one.after)
    if way_m > STILL_M:
        parts.append(f'{way_m:.2f} m')
    angle = math.degrees(turned_rad(one.before, one.after))
    if abs(angle) > 2:
        parts.append(f'{abs(angle):.0f}° {"left" if angle > 0 else "right"}')
    if one.after.holding != one.before.holding:
        parts.append(f'holds {one.after.holding or "nothing"}')
    if len(one.after.heard) > len(one.before.heard):
        parts.append(f'said "{one.after.heard[-1]}"')
    return ', '.join(parts) or 'not at all'


def _seconds(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'


def _line(number: int, one: Run) -> str:
    command = one.case.command + (f' … {one.case.then}' if one.case.then else '')
    mark = '✓' if one.obeyed else '✗'
    return f'{number:2} {mark} {command}  →  {_words(one)}'


def _table(runs: Sequence[Run]) -> Table:
    table = Table(title='What was said, what was called, what truly happened')
    for column in ('#', 'command', 'calls or answer', 'outcome', 'how it truly moved'):
        table.add_column(column, overflow='fold')
    for column in ('first word s', 'first motion s', 'end s'):
        table.add_column(column, justify='right')
    table.add_column('obeyed')
    for number, one in enumerate(runs, 1):
        command = one.case.command + (f' … {one.case.then}' if one.case.then else '')
        table.add_row(
            str(number),
            command,
            _words(one),
            status_name(one.result),
            _moved(one),
            _seconds(one.first_word_s),
            _seconds(one.first_motion_s),
            _seconds(one.total_s),
            'yes' if one.obeyed else 'no',
        )
    return table


def _verdict(console: Console, runs: Sequence[Run], wrong: Sequence[str], picture: Path) -> int:
    lies = [f'{one.case.command}: {lie}' for one in runs for lie in one.lies]
    obeyed = sum(one.obeyed for one in runs)
    console.print(f'{obeyed} of {len(runs)} commands were obeyed')
    console.print(f'{len(lies)} reports contradict the physics')
    console.print(f'{len(wrong)} calls outside their bounds reached the robot')
    for line in (*lies, *wrong):
        console.print(f'  {line}', style='red', markup=False)
    console.print(f'path driven: {picture}', markup=False)
    return 0 if obeyed >= ENOUGH and not lies and not wrong else 1


def _as_json(one: Run) -> dict[str, object]:
    return {
        'command': one.case.command,
        'then': one.case.then,
        'calls': [
            {'name': c.name, 'arguments': json.loads(c.arguments), 'status': status_name(c.result)}
            for c in one.result.calls
        ],
        'text': one.result.text,
        'outcome': status_name(one.result),
        'error': one.result.error,
        'moved': _moved(one),
        'first_word_s': one.first_word_s,
        'first_motion_s': one.first_motion_s,
        'total_s': one.total_s,
        'obeyed': one.obeyed,
        'contradictions': list(one.lies),
    }
