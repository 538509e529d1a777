"""Tools that send an action goal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from action_msgs.msg import GoalStatus
from action_msgs.srv import CancelGoal

from nemotron_ros.bridge.action_server_watch import ActionServerWatch
from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.convert import to_message
from nemotron_ros.bridge.ending import cut_short, succeeded
from nemotron_ros.bridge.interfaces import load_action
from nemotron_ros.bridge.motion_limits import check_motion
from nemotron_ros.bridge.values import fields_of, plain
from nemotron_ros.bridge.waiting import DISCOVERY_S, POLL_S, until_done, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import SendGoal
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.templates import evaluate

CANCEL_S = 5.0
"""How long a cancelled goal is given to reach its terminal state."""
FEEDBACK_S = 0.2
"""Feedback is passed on at most this often."""
PLAIN = (bool, int, float, str)
REASONS = ('error_msg', 'error_string', 'message')
"""Fields of a result that say why, by the names that action types have for them."""


def send_goal(
    clients: Clients,
    binding: SendGoal,
    variables: Mapping[str, Any],
    cancel: CancelToken,
    progress: Callable[[object], None],
) -> ToolResult:
    """Send a goal and wait for its terminal state; a timeout cancels it first.

    What is told is what was found: a goal that succeeds although it was cancelled has
    succeeded, and one whose end nobody tells is *unknown*.
    """
    action_class: Any = load_action(binding.type)
    goal = to_message(action_class.Goal, evaluate(binding.goal, variables), binding.name)
    check_motion(goal, clients.limits, binding.name)
    client = clients.action(binding.name, binding.type)
    budget = cancel.child(binding.timeout_s)
    if not until_true(client.server_is_ready, DISCOVERY_S, budget):
        return ToolResult(Status.FAILED, None, f'the action server {binding.name} is not there')
    if budget.ended:
        return ToolResult(cut_short(cancel), None, 'ended before the goal was sent')
    server = clients.action_server(binding.name)
    feedback = _Feedback(progress)
    sent = client.send_goal_async(goal, feedback_callback=feedback)
    try:
        in_time = until_done(sent, DISCOVERY_S, budget)
        # A cancel may come before the server has said that it takes the goal. Then the goal
        # is cancelled as soon as it has.
        if not in_time and not until_done(sent, CANCEL_S, CancelToken(CANCEL_S)):
            sent.add_done_callback(_cancel_late)
            why = 'has not said whether it takes the goal; if it does, it is cancelled'
            return ToolResult(Status.UNKNOWN, None, f'{binding.name} {why}')
        handle = sent.result()
        if not handle.accepted:
            return ToolResult(Status.FAILED, None, f'{binding.name} rejected the goal')
        finished = handle.get_result_async()
        if in_time and not _wait(finished, server, budget):
            why = 'went away; whether it still acts, and how it ended, is not known'
            return ToolResult(Status.UNKNOWN, None, f'{binding.name} {why}')
        if not finished.done():
            answer = handle.cancel_goal_async()
            # The command's budget is spent: the wait for the truth has one of its own.
            if not until_done(finished, CANCEL_S, CancelToken(CANCEL_S)):
                why = f'{_refusal(answer)} and has not ended after {CANCEL_S:g} s'
                return ToolResult(Status.UNKNOWN, None, f'{binding.name} {why}')
        result = _judge(binding, finished.result(), variables, cancel)
        if result.status is Status.SUCCEEDED:
            return result
        return replace(result, error=f'{result.error}{feedback.last()}')
    finally:
        feedback.over = True


def _wait(finished: Any, server: ActionServerWatch, budget: CancelToken) -> bool:
    """Wait for the result or the budget's end; False if the server has gone away before."""
    while not until_done(finished, 10 * POLL_S, budget):
        if budget.ended:
            return True
        if server.gone():
            return bool(finished.done())
    return True


def _refusal(answer: Any) -> str:
    """Say what the server answered to a cancel."""
    if not answer.done():
        return 'was asked to cancel'
    response = answer.result()
    if response.return_code == CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID:
        return 'does not know the goal any more'
    # Some servers refuse by a code, some by naming no goal that they cancel.
    return 'was asked to cancel' if response.goals_canceling else 'refused to cancel the goal'


def _judge(
    binding: SendGoal, response: Any, variables: Mapping[str, Any], cancel: CancelToken
) -> ToolResult:
    """Turn the terminal state into a result: what happened, not what was wanted."""
    result = response.result
    if response.status == GoalStatus.STATUS_SUCCEEDED:
        return succeeded(binding.name, result, binding.value, variables)
    if response.status == GoalStatus.STATUS_CANCELED:
        return ToolResult(cut_short(cancel), plain(result), f'{binding.name} was cancelled')
    if response.status == GoalStatus.STATUS_ABORTED:
        why = f'{binding.name} aborted the goal{_reason(result)}'
        return ToolResult(Status.FAILED, plain(result), why)
    # A server that was started anew answers so for a goal of the one before it.
    why = f'{binding.name} does not know the goal any more; how it ended is not known'
    return ToolResult(Status.UNKNOWN, None, why)


def _reason(result: Any) -> str:
    said = (getattr(result, name, '') for name in REASONS)
    reason = next((text for text in said if isinstance(text, str) and text), '')
    return f': {reason}' if reason else ''


class _Feedback:
    """Passes feedback on, not too often and not after the end."""

    def __init__(self, progress: Callable[[object], None]) -> None:
        self._progress = progress
        self._told_s = 0.0
        self._message: Any = None
        self.over = False

    def __call__(self, message: Any) -> None:
        self._message = message
        now = time.monotonic()
        if not self.over and now - self._told_s >= FEEDBACK_S:
            self._told_s = now
            self._progress(plain(message.feedback))

    def last(self) -> str:
        """Return, in words, the plain values of the newest feedback: how far it had come."""
        seen = {} if self._message is None else fields_of(self._message.feedback)
        said = [f'{key} {value}' for key, value in seen.items() if isinstance(value, PLAIN)]
        return f'; last feedback: {", ".join(said)}' if said else ''


def _cancel_late(sent: Any) -> None:
    handle = sent.result()
    if handle is not None and handle.accepted:
        handle.cancel_goal_async()
