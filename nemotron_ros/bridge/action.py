"""Tools that send an action goal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from action_msgs.msg import GoalStatus

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.convert import to_message
from nemotron_ros.bridge.interfaces import load_action
from nemotron_ros.bridge.motion_limits import check_motion
from nemotron_ros.bridge.values import fields_of, plain
from nemotron_ros.bridge.waiting import DISCOVERY_S, POLL_S, until_done, until_true
from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.tools.model import SendGoal
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.templates import evaluate

CANCEL_S = 5.0
"""How long a cancelled goal is given to reach its terminal state."""
FEEDBACK_S = 0.2
"""Feedback is passed on at most this often."""


def send_goal(
    clients: Clients,
    binding: SendGoal,
    variables: Mapping[str, Any],
    cancel: CancelToken,
    progress: Callable[[object], None],
) -> ToolResult:
    """Send a goal and wait for its terminal state; a timeout cancels it first."""
    action_class: Any = load_action(binding.type)
    goal = to_message(action_class.Goal, evaluate(binding.goal, variables), binding.name)
    check_motion(goal, clients.limits, binding.name)
    client = clients.action(binding.name, binding.type)
    budget = cancel.child(binding.timeout_s)
    if not until_true(client.server_is_ready, DISCOVERY_S, budget):
        return ToolResult(Status.FAILED, None, f'the action server {binding.name} is not there')
    sent = client.send_goal_async(goal, feedback_callback=_throttled(progress))
    if not until_done(sent, DISCOVERY_S, budget):
        # An answer that comes later still finds a goal to cancel.
        sent.add_done_callback(_cancel_late)
        return ToolResult(
            Status.UNKNOWN,
            None,
            f'{binding.name} has not said whether it takes the goal; if it does, it is cancelled',
        )
    handle = sent.result()
    if not handle.accepted:
        return ToolResult(Status.FAILED, None, f'{binding.name} rejected the goal')
    finished = handle.get_result_async()
    missed = 0
    while not until_done(finished, 10 * POLL_S, budget):
        if budget.ended:
            break
        missed = 0 if client.server_is_ready() else missed + 1
        if missed >= 5:
            return ToolResult(
                Status.UNKNOWN, None, f'{binding.name} went away; how it ended is not known'
            )
    if not finished.done():
        handle.cancel_goal_async()
        # The command's budget is spent: the wait for the truth has one of its own.
        if not until_done(finished, CANCEL_S, CancelToken(CANCEL_S)):
            return ToolResult(
                Status.UNKNOWN,
                None,
                f'{binding.name} was asked to cancel and has not ended after {CANCEL_S:g} s',
            )
    return _judge(binding, finished.result(), variables, cancel)


def _judge(
    binding: SendGoal, response: Any, variables: Mapping[str, Any], cancel: CancelToken
) -> ToolResult:
    """Turn the terminal state into a result: what happened, not what was wanted."""
    seen = fields_of(response.result)
    if response.status == GoalStatus.STATUS_SUCCEEDED:
        if binding.value is None:
            return ToolResult(Status.SUCCEEDED, plain(response.result))
        value = plain(evaluate(binding.value, {**seen, **variables}))
        return ToolResult(Status.SUCCEEDED, value)
    if response.status == GoalStatus.STATUS_CANCELED:
        by_client = cancel.cause in (Cause.CANCELED, Cause.STOPPED)
        status = Status.CANCELED if by_client else Status.TIMED_OUT
        return ToolResult(status, plain(response.result), f'{binding.name} was cancelled')
    return ToolResult(Status.FAILED, plain(response.result), f'{binding.name} aborted the goal')


def _throttled(progress: Callable[[object], None]) -> Callable[[Any], None]:
    told_s = 0.0

    def tell(message: Any) -> None:
        nonlocal told_s
        now = time.monotonic()
        if now - told_s >= FEEDBACK_S:
            told_s = now
            progress(plain(message.feedback))

    return tell


def _cancel_late(sent: Any) -> None:
    handle = sent.result()
    if handle is not None and handle.accepted:
        handle.cancel_goal_async()
