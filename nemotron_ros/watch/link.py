"""The watcher's side of ROS: what a node tells is heard, its stop and its questions answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from diagnostic_msgs.msg import DiagnosticArray
from nemotron_msgs.msg import Confirmations, EngineStatus, Event, StopStatus, ToolManifest
from nemotron_msgs.srv import Confirm
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from nemotron_ros.bridge.heard import event_of, questions_of
from nemotron_ros.bridge.qos import EVENTS
from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.watch.news import (
    EngineTold,
    HealthTold,
    KeyTold,
    News,
    QuestionsTold,
    RobotTold,
    SeenInGraph,
    StopTold,
)

LOOK_S = 0.5
"""How often the node is looked for."""
STOP_S = 5.0
"""How long a stop is asked for, again and again, until it is answered."""
ASK_AGAIN_S = 1.0
ANSWER_S = 5.0
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_ENGINE_STATES = {
    EngineStatus.STATE_CLOSED: 'closed',
    EngineStatus.STATE_LOADING: 'loading',
    EngineStatus.STATE_READY: 'ready',
    EngineStatus.STATE_RESTARTING: 'restarting',
    EngineStatus.STATE_FAILED: 'failed',
}


class Link:
    """Hears one nemotron node and speaks to it. Safe from any thread; nothing here waits.

    :param node: is spun by a thread of its own.
    :param server: name of the nemotron node.
    :param who: says yes or no; kept with a call's result.
    :param hear: is told everything, from several threads.
    """

    def __init__(self, node: Node, server: str, who: str, hear: Callable[[News], None]) -> None:
        self._node = node
        self._server = server
        self._who = who
        self._hear = hear
        self._stopping = threading.Lock()
        self._stop: Any = node.create_client(Trigger, f'{server}/stop')
        self._confirm: Any = node.create_client(Confirm, f'{server}/confirm')
        for kind, name, take, qos in (
            (Event, f'{server}/events', self._take_event, EVENTS),
            (EngineStatus, f'{server}/engine_status', self._take_engine, _LATCHED),
            (StopStatus, f'{server}/stop_status', self._take_stop, _LATCHED),
            (ToolManifest, f'{server}/tools', self._take_tools, _LATCHED),
            (Confirmations, f'{server}/confirmations', self._take_questions, _LATCHED),
            (DiagnosticArray, '/diagnostics', self._take_diagnostics, QoSProfile(depth=10)),
        ):
            node.create_subscription(kind, name, take, qos)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(LOOK_S, self._look, clock=steady)

    def stop(self) -> None:
        """Ask for a stop, in a thread; what came of it is heard."""
        if self._stopping.acquire(blocking=False):  # one is enough until it is answered
            self._hear(KeyTold('stop: asked for'))
            threading.Thread(target=self._ask_to_stop, daemon=True).start()

    def answer(self, question_id: str, yes: bool) -> None:
        """Answer a question, in a thread; what came of it is heard."""
        threading.Thread(target=self._answer, args=(question_id, yes), daemon=True).start()

    def _ask_to_stop(self) -> None:
        try:
            budget = CancelToken(STOP_S)
            # Again: a node that does not know this client yet loses its answer.
            while until_true(self._stop.service_is_ready, STOP_S, budget):
                future = self._stop.call_async(Trigger.Request())
                if until_done(future, ASK_AGAIN_S, budget):
                    answer = future.result()
                    self._hear(KeyTold(f'stop: {answer.message}', bool(answer.success)))
                    return
                self._stop.remove_pending_request(future)
            self._hear(
                KeyTold(
                    f"stop: {self._server} has not answered: use the robot's own emergency stop",
                    good=False,
                )
            )
        finally:
            self._stopping.release()

    def _answer(self, question_id: str, yes: bool) -> None:
        said = 'yes' if yes else 'no'
        budget = CancelToken(ANSWER_S)
        if not until_true(self._confirm.service_is_ready, ANSWER_S, budget):
            self._hear(KeyTold(f'{said}: nobody serves {self._server}/confirm', good=False))
            return
        request = Confirm.Request(id=question_id, yes=yes, who=self._who)
        future = self._confirm.call_async(request)
        if until_done(future, ANSWER_S, budget):
            answer = future.result()
            self._hear(KeyTold(f'{said}: {answer.message}', bool(answer.success)))
            return
        self._confirm.remove_pending_request(future)
        why = f'no answer within {ANSWER_S:g} s; whether it was taken is not known'
        self._hear(KeyTold(f'{said}: {why}', good=False))

    # What the node tells

    def _take_event(self, message: Event) -> None:
        try:
            self._hear(event_of(message))
        except ValueError as error:
            self._hear(KeyTold(f'an event that could not be read: {error}', good=False))

    def _take_questions(self, message: Confirmations) -> None:
        try:
            self._hear(QuestionsTold(questions_of(message)))
        except ValueError as error:
            self._hear(QuestionsTold(()))  # what can't be read is not said yes to
            self._hear(KeyTold(f'a question that could not be read: {error}', good=False))

    def _take_engine(self, message: EngineStatus) -> None:
        state = _ENGINE_STATES.get(message.state, f'state {message.state}')
        told = EngineTold(
            state, message.engine, message.model, message.message, float(message.progress)
        )
        self._hear(told)

    def _take_tools(self, message: ToolManifest) -> None:
        self._hear(RobotTold(message.robot, len(message.tools)))

    def _take_stop(self, message: StopStatus) -> None:
        self._hear(StopTold(', '.join(message.reasons) or 'stop' if message.latched else ''))

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        health = health_of(message.status, self._server.lstrip('/'))
        if health is not None:
            self._hear(health)

    def _look(self) -> None:
        there = self._node.count_publishers(f'{self._server}/events') > 0
        self._hear(SeenInGraph(there))


class _Status(Protocol):
    """As ``diagnostic_msgs/msg/DiagnosticStatus`` is."""

    name: str
    values: Iterable[Any]


def health_of(statuses: Iterable[_Status], node: str) -> HealthTold | None:
    """Return how a node is, by its part of ``/diagnostics``; None if it is not in there.

    :param node: its name with the namespace, without the first slash.
    """
    parts = {
        status.name.partition(': ')[2]: {pair.key: pair.value for pair in status.values}
        for status in statuses
        if status.name.startswith(f'{node}: ')
    }
    try:
        engine, commands = parts['engine'], parts['commands']
        return HealthTold(
            active=commands['active'] == 'true',
            running=int(commands['running']),
            queued=int(commands['queued']),
            tokens_per_s=float(engine['tokens_per_s']),
            first_token_s=float(engine['first_token_s']),
            memory_mb=int(engine['memory_mb']),
        )
    except (KeyError, ValueError):  # another node's, of the same name
        return None
