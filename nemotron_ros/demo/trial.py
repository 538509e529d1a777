"""Gives commands to the simulated robot, and holds each account against the physics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import EngineStatus, ToolResult
from nemotron_msgs.srv import ListTools
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.bringup import Process
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolSpec
from nemotron_ros.client import CommandClient
from nemotron_ros.demo.cases import Case
from nemotron_ros.demo.words import Tell, Telling
from nemotron_ros.sim.referee import Reported, Truth, disagreements
from nemotron_ros.tools.validate import Validator

START_S = 180.0
COMMAND_S = 90.0
ANSWER_S = 20.0
END_S = 10.0
SETTLE_S = 0.6
DRIVE_FIRST_S = 1.0
"""How long the robot moves before the second command of a case is said."""
SPEED_LIMIT_MPS = 0.3
NOT_SENT = (
    ToolResult.STATUS_INVALID,
    ToolResult.STATUS_DENIED,
    ToolResult.STATUS_NOT_RUN,
    ToolResult.STATUS_PENDING,
)


class TrialError(Exception):
    """The trial could not be carried through; nothing is known of the commands."""


@dataclass(frozen=True)
class Run:
    """How one command went. Times are in seconds from the moment it was sent.

    ``lies`` are where its account and the physics contradict each other.
    """

    case: Case
    before: Truth
    after: Truth
    result: ExecuteCommand.Result
    first_word_s: float | None
    first_motion_s: float | None
    total_s: float
    lies: tuple[str, ...]
    obeyed: bool


@contextmanager
def started(processes: Sequence[Process], folder: Path) -> Iterator[Callable[[], None]]:
    """Run processes with their logs in ``folder``; yields a check that they are all alive."""
    with ExitStack() as stack:
        running = []
        for process in processes:
            log = stack.enter_context((folder / f'{process.name}.log').open('w'))
            child = process.start(log)
            stack.callback(_end, child)
            running.append((process, child))

        def check() -> None:
            for process, child in running:
                if child.poll() is not None:
                    raise TrialError(f'{process.name} ended with code {child.returncode}')

        yield check


class Trial:
    """The simulated robot and the node that commands it, from outside.

    :param alive: raises when one of the two has ended.
    :param places: the named places of the tool file.
    """

    def __init__(
        self,
        node: Node,
        alive: Callable[[], None],
        places: Mapping[str, Mapping[str, float]],
    ) -> None:
        self._alive = alive
        self._places = places
        self._commands = CommandClient(node)
        self._truth = node.create_client(Trigger, 'sim/truth')
        self._top_view = node.create_client(Trigger, 'sim/top_view')
        self._tools = node.create_client(ListTools, 'nemotron/list_tools')
        self._status: EngineStatus | None = None
        self._moved_at_s = 0.0
        self._fastest_mps = 0.0
        self._invalid: list[str] = []
        self._validators: dict[str, Validator] = {}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(
            EngineStatus, 'nemotron/engine_status', self._take_status, latched
        )
        node.create_subscription(Odometry, 'odom', self._take_odometry, 10)
        node.create_subscription(Twist, 'cmd_vel', self._take_velocity, 10)

    def wait_ready(self) -> None:
        """Wait until the model is loaded and the node takes commands.

        :raise TrialError: if that does not come about.
        """
        budget = CancelToken(START_S)
        while self._status is None or self._status.state != EngineStatus.STATE_READY:
            self._alive()
            if self._status is not None and self._status.state == EngineStatus.STATE_FAILED:
                raise TrialError(self._status.message)
            if budget.wait(0.05):
                raise TrialError(f'the model was not loaded within {START_S:g} s')
        self._commands.wait_ready(ANSWER_S)
        self.truth()
        for tool in self._ask(self._tools).tools:
            spec = ToolSpec(tool.name, tool.description, json.loads(tool.parameters))
            self._validators[tool.name] = Validator(spec)

    def run(self, case: Case, tell: Tell = lambda _: None) -> Run:
        """Give one command, and hold its account against the physics.

        :param tell: is told what is to be said of it, whenever that changes.
        """
        before = self.truth()
        self._moved_at_s = 0.0
        first_word_s: list[float] = []
        telling = Telling(case.command, tell)
        began_s = time.monotonic()

        def take(event: Any) -> None:
            if (event.text_delta or event.call) and not first_word_s:
                first_word_s.append(time.monotonic() - began_s)
            telling.take(event)

        def interrupt() -> Any:
            return self._interrupt(case.then, ended, lambda: telling.command(case.words))

        ended = CancelToken()
        interrupted = _Later(interrupt) if case.then else None
        try:
            result = self._send(case.command, take)
        finally:
            ended.cancel()
        second = interrupted.result() if interrupted is not None else None
        total_s = time.monotonic() - began_s
        telling.end(result)
        CancelToken().wait(SETTLE_S)
        after = self.truth()
        calls = [_reported(c) for r in (result, second) if r is not None for c in r.calls]
        self._check(calls)
        obeyed = case.obeyed(before, after, result)
        telling.end(result, obeyed)
        return Run(
            case,
            before,
            after,
            result,
            first_word_s[0] if first_word_s else None,
            self._moved_at_s - began_s if self._moved_at_s else None,
            total_s,
            tuple(disagreements(before, after, calls, self._places)),
            obeyed,
        )

    def truth(self) -> Truth:
        """Ask the physics."""
        return Truth.parse(self._ask(self._truth).message)

    def draw(self) -> None:
        """Have the path drawn.

        :raise TrialError: if it can't be written.
        """
        answer = self._ask(self._top_view)
        if not answer.success:
            raise TrialError(answer.message)

    def breaches(self) -> list[str]:
        """Return each call that reached ROS though it broke its schema, and an overspeed."""
        wrong = list(self._invalid)
        if self._fastest_mps > SPEED_LIMIT_MPS + 1e-6:
            wrong.append(f'cmd_vel asked for {self._fastest_mps:.2f} m/s')
        return wrong

    def _interrupt(self, command: str, ended: CancelToken, when_said: Callable[[], None]) -> Any:
        """Say a command while the one before it moves the robot; None if that has ended first."""
        moves = until_true(lambda: self._moved_at_s > 0, COMMAND_S, ended)
        if not moves or ended.wait(DRIVE_FIRST_S):
            return None
        when_said()
        return self._send(command, lambda _: None)

    def _send(self, command: str, take: Callable[[Any], None]) -> Any:
        self._alive()
        goal = ExecuteCommand.Goal(command=command, timeout_s=COMMAND_S)
        return self._commands.send(goal, take, CancelToken(COMMAND_S + END_S))

    def _check(self, calls: Sequence[Reported]) -> None:
        """Note what reached the robot and should not have."""
        for call in calls:
            if call.sent:
                problems = self._validators[call.name].check(call.arguments)
                self._invalid += [f'{call.name}: {problem}' for problem in problems]

    def _ask(self, client: Any) -> Any:
        budget = CancelToken(ANSWER_S)
        if not until_true(client.service_is_ready, ANSWER_S, budget):
            raise TrialError(f'{client.srv_name} is not there')
        future = client.call_async(client.srv_type.Request())
        if not until_done(future, ANSWER_S, budget):
            raise TrialError(f'{client.srv_name} has not answered')
        return future.result()

    def _take_status(self, status: EngineStatus) -> None:
        self._status = status

    def _take_odometry(self, odometry: Odometry) -> None:
        twist = odometry.twist.twist
        if not self._moved_at_s and (abs(twist.linear.x) > 0.02 or abs(twist.angular.z) > 0.05):
            self._moved_at_s = time.monotonic()

    def _take_velocity(self, twist: Twist) -> None:
        self._fastest_mps = max(self._fastest_mps, abs(twist.linear.x))


class _Later:
    """A function that runs in a thread of its own."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._results: list[Any] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> Any:
        """Wait for what it returns, or raise what it raised."""
        self._thread.join(2 * COMMAND_S)
        if self._error is not None:
            raise self._error
        if not self._results:
            raise TrialError(f'no answer within {2 * COMMAND_S:g} s')
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except Exception as error:
            self._error = error


def _end(child: Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(END_S)
    except TimeoutExpired:
        child.kill()
        child.wait()


def _reported(call: Any) -> Reported:
    status = call.result.status
    return Reported(
        call.name,
        json.loads(call.arguments),
        status == ToolResult.STATUS_SUCCEEDED,
        status not in NOT_SENT,
    )
