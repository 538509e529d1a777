"""The guard: the one gate that every call passes. It fails closed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.conditions import Unmet
from nemotron_ros.tools.confirmation import Ask, Question
from nemotron_ros.tools.latches import Latches
from nemotron_ros.tools.ledger import Ledger
from nemotron_ros.tools.model import Rules, Tool, ToolFile

WINDOW_S = 60.0
MAX_IN_FLIGHT = 32
"""So many calls run or wait at once at most, whatever they are."""


class Denied(Exception):
    """A call may not run. ``rule`` names the rule that decided."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class EndedAtGateError(Exception):
    """The command was cancelled, stopped or out of time before the call began."""


@dataclass(frozen=True)
class Request:
    """A call that asks to be let through.

    :param allowed: the tools that its command may use.
    :param tally: how often its command has run each tool; counted on here.
    :param cancel: ends when the command does.
    :param dry_run: ask only: nothing is counted or held, and no operator is asked.
    :param waiting: is told the question that an operator is asked.
    """

    tool: str
    allowed: frozenset[str]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tally: Counter[str] = field(default_factory=Counter)
    cancel: CancelToken = field(default_factory=CancelToken)
    dry_run: bool = False
    waiting: Callable[[Question], None] = lambda _: None


class Guard:
    """Decides for every call. Safe from any thread.

    The order: a stop is latched · the tool is known · the goal allows it · quota of the
    command · rate · in flight · exclusive group · preconditions · an operator's yes ·
    and once more, when the call has waited: preconditions, stop, time that is left.

    While a call waits it holds its place, so that another one can't overtake it.

    :param unmet: checks preconditions; without it, tools that have some are refused.
    :param ask: asks the operator; without it, tools that need a yes are refused.
    :param latches: the stops, where they outlive the guard.
    :param ledger: what runs and has run, where it outlives the guard.
    """

    def __init__(
        self,
        tool_file: ToolFile,
        clock: Callable[[], float] = time.monotonic,
        unmet: Unmet | None = None,
        ask: Ask | None = None,
        latches: Latches | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._tools: Mapping[str, Tool] = dict(tool_file.tools)
        self._conditions = dict(tool_file.conditions)
        self._clock = clock
        self._unmet = unmet
        self._ask = ask
        self._latches = latches or Latches()
        self.ledger = ledger or Ledger()

    @property
    def latched(self) -> str:
        """Why nothing may run; empty if calls may."""
        return self._latches.told

    def latch(self, reason: str) -> None:
        """Let nothing run until :meth:`clear`."""
        self._latches.latch(reason)

    def clear(self, reason: str = '') -> None:
        """Take back what was latched for ``reason``, or everything; other latches stay."""
        self._latches.clear(reason)

    @contextmanager
    def admit(self, request: Request) -> Iterator[str]:
        """Hold the call's place while the block runs; yield who confirmed it, if anybody.

        It may wait: for the first message of a precondition, and for the operator.

        :raise Denied: with the rule and the reason.
        :raise EndedAtGateError: if the command ended while the call waited.
        """
        with self.ledger.lock:
            rules = self._decide(request)
            stamp_s = self._clock()
            if not request.dry_run:
                self._take(request, rules, stamp_s)
        try:
            self._check_conditions(request, rules)
        except BaseException:
            if not request.dry_run:
                with self.ledger.lock:  # nothing ran and nobody was asked: it does not count
                    if stamp_s in self.ledger.times[request.tool]:
                        self.ledger.times[request.tool].remove(stamp_s)
                    request.tally[request.tool] -= 1
                    self._give_back(request, rules)
            raise
        try:
            who = '' if request.dry_run else self._confirm(request, rules)
            self._look_again(request)
            yield who
        finally:
            if not request.dry_run:
                with self.ledger.lock:
                    self._give_back(request, rules)

    # What is decided at once, with the lock held

    def _decide(self, request: Request) -> Rules:
        self._check_latches()
        name = request.tool
        if name not in self._tools:
            raise Denied('unknown', f'there is no tool named {name!r}')
        if name not in request.allowed:
            raise Denied('allowed', f'{name} is not among the tools that this goal allows')
        rules = self._tools[name].rules
        most = rules.max_per_command
        if most is not None and request.tally[name] >= most:
            raise Denied('quota', f'{name} may run {most} times in one command, and has')
        if rules.max_per_minute is not None:
            times = self.ledger.times[name]
            while times and self._clock() - times[0] >= WINDOW_S:
                times.popleft()
            if len(times) >= rules.max_per_minute:
                raise Denied(
                    'rate', f'{name} ran {len(times)} times within a minute; that is its limit'
                )
        self._check_in_flight(name, rules)
        if rules.exclusive is not None and rules.exclusive in self.ledger.holders:
            holder = self.ledger.holders[rules.exclusive]
            raise Denied(
                'exclusive', f'{holder} is running, and only one {rules.exclusive} tool may'
            )
        return rules

    def _check_latches(self) -> None:
        why = self._latches.told
        if why:
            raise Denied('stop', f'a stop is latched ({why}); clear it first')

    def _check_in_flight(self, name: str, rules: Rules) -> None:
        if rules.max_in_flight is not None and self.ledger.in_flight[name] >= rules.max_in_flight:
            raise Denied(
                'in_flight', f'{name} is running {self.ledger.in_flight[name]} times already'
            )
        if self.ledger.in_flight.total() >= MAX_IN_FLIGHT:
            raise Denied('in_flight', f'{MAX_IN_FLIGHT} calls are running already')

    def _take(self, request: Request, rules: Rules, stamp_s: float) -> None:
        if rules.max_per_minute is not None:
            self.ledger.times[request.tool].append(stamp_s)
        request.tally[request.tool] += 1
        self.ledger.in_flight[request.tool] += 1
        if rules.exclusive is not None:
            self.ledger.holders[rules.exclusive] = request.tool

    def _give_back(self, request: Request, rules: Rules) -> None:
        self.ledger.in_flight[request.tool] -= 1
        if rules.exclusive is not None:
            del self.ledger.holders[rules.exclusive]

    # What may take time, without the lock

    def _check_conditions(self, request: Request, rules: Rules) -> None:
        for name in rules.requires:
            if self._unmet is None:
                reason = 'can not be checked here'
            else:
                reason = self._unmet(self._conditions[name], request.cancel)
            if request.cancel.ended:
                raise EndedAtGateError
            if reason:
                raise Denied('requires', f'{name}: {reason}')

    def _confirm(self, request: Request, rules: Rules) -> str:
        """Return who said yes; empty where nobody need be asked."""
        if rules.confirm_within_s is None:
            return ''
        if self._ask is None:
            raise Denied('confirmation', f'{request.tool} needs a yes, and nobody can be asked')
        answer = self._ask(
            request.tool,
            self._tools[request.tool].spec.description,
            request.arguments,
            rules.confirm_within_s,
            request.cancel,
            request.waiting,
        )
        if request.cancel.ended:
            raise EndedAtGateError
        if answer is None:
            raise Denied('confirmation', f'nobody said yes within {rules.confirm_within_s:g} s')
        if not answer.yes:
            raise Denied('confirmation', f'{answer.who} said no')
        self._check_conditions(request, rules)  # they held before the wait
        return answer.who

    def _look_again(self, request: Request) -> None:
        self._check_latches()
        if request.cancel.ended:
            raise EndedAtGateError
