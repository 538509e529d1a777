"""``nemotron ask``: give a command and watch it being carried out."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from nemotron_ros.cancel import CancelToken
from nemotron_ros.cli.arguments import node_name, seconds, words

EXIT_ANSWERED = 3
"""The model has answered in words, and nothing was done on the robot."""
EXIT_INTERRUPTED = 130
READY_S = 10.0
"""How long the node is waited for."""
LISTEN_S = 15.0
"""How much longer than the command may take its outcome is waited for."""
THINKING = {None: 0, False: 1, True: 2}
"""As the goal's field counts: as the node says, off, on."""
CONTROL = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f]')


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('ask', help='give the robot a command in words')
    parser.add_argument('command', nargs='+', type=words, help='what to do')
    parser.add_argument(
        '--node', type=node_name, default='nemotron', help='name of the nemotron node'
    )
    parser.add_argument('--session', type=words, default='', help='go on with this session')
    parser.add_argument(
        '--tools',
        type=words,
        default=None,
        help='tools it may use, separated by commas (default: all)',
    )
    parser.add_argument(
        '--timeout', type=seconds, default=120.0, help='seconds for everything (default: 120)'
    )
    parser.add_argument('--dry-run', action='store_true', help='check the calls, send none')
    parser.add_argument(
        '--think',
        action=argparse.BooleanOptionalAction,
        default=None,
        help='let the model reason first, or not (default: as the node says)',
    )
    parser.add_argument(
        '--operator', action='store_true', help='end the commands that run, and go before others'
    )
    parser.add_argument('--json', action='store_true', help='print JSON lines: events, result')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the command; Ctrl-C cancels it, and the robot stops."""
    interrupt = CancelToken()
    # From here on: ROS, as it is imported and started, would swallow an interrupt.
    with _canceled_by_interrupt(interrupt):
        return _ask(arguments, interrupt)


def _ask(arguments: argparse.Namespace, interrupt: CancelToken) -> int:
    from nemotron_msgs.action import ExecuteCommand

    from nemotron_ros.client import CommandClient, CommandError
    from nemotron_ros.spinning import spinning

    goal = ExecuteCommand.Goal(
        command=' '.join(arguments.command),
        session_id=arguments.session,
        timeout_s=arguments.timeout,
        mode=ExecuteCommand.Goal.MODE_DRY_RUN if arguments.dry_run else 0,
        thinking=THINKING[arguments.think],
        priority=ExecuteCommand.Goal.PRIORITY_OPERATOR if arguments.operator else 0,
    )
    if arguments.tools is not None:
        goal.allowed_tools = [name for name in arguments.tools.split(',') if name]
    screen = _Screen()
    show: Callable[[Any], None] = _print_json if arguments.json else screen.show
    try:
        with spinning('nemotron_ask') as node:
            client = CommandClient(node, arguments.node)
            if not client.wait_ready(READY_S, interrupt):
                return EXIT_INTERRUPTED
            # The node keeps the time; this side only listens a little longer.
            result = client.send(goal, show, interrupt.child(arguments.timeout + LISTEN_S))
            client.close()
    except CommandError as error:
        print(f'nemotron ask: {error}', file=sys.stderr)
        return 1
    if arguments.json:
        _print_json(result)
    else:
        screen.outcome(result)
    if interrupt.ended:
        return EXIT_INTERRUPTED
    codes = {result.STATUS_SUCCEEDED: 0, result.STATUS_ANSWERED: EXIT_ANSWERED}
    return codes.get(result.status, 1)


@contextmanager
def _canceled_by_interrupt(cancel: CancelToken) -> Iterator[None]:
    def interrupted(*_: object) -> None:
        # Once is enough, and the outcome is waited for: it tells whether the robot stands.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # In a thread: the one that was interrupted may hold a lock of the token.
        threading.Thread(target=cancel.cancel, daemon=True).start()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        if not cancel.ended:
            signal.signal(signal.SIGINT, before)


class _Screen:
    """Shows events as they come: words, calls, results; at the end the outcome."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._in_text = False

    def show(self, event: Any) -> None:
        """Print one event."""
        said = event.text_delta or event.reasoning_delta
        if said:
            self._print(said, 'dim' if event.reasoning_delta else 'bold', end='')
            self._in_text = True
            return
        if self._in_text and event.phase != event.PHASE_GENERATING:
            self._print('')
            self._in_text = False
        if event.phase == event.PHASE_QUEUED:
            self._print(f'waiting for others: {event.detail}', 'dim')
        elif event.phase == event.PHASE_CALLING and event.detail:
            self._print(f'… {event.call[0].name} waits: {event.detail}', 'yellow')
        elif event.phase == event.PHASE_CALLING:
            call = event.call[0]
            self._print(f'→ {call.name} {call.arguments}', 'cyan')
        elif event.phase == event.PHASE_RESULT:
            self._result(event.call[0])

    def outcome(self, result: Any) -> None:
        """Print how the command ended."""
        from nemotron_ros.client import status_name

        self._print(
            f'{status_name(result)}{": " + result.error if result.error else ""}'
            f' ({result.usage.total_s:.1f} s, session {result.session_id})',
            {result.STATUS_SUCCEEDED: 'green', result.STATUS_ANSWERED: 'yellow'}.get(
                result.status, 'red'
            ),
        )

    def _result(self, call: Any) -> None:
        from nemotron_ros.client import status_name

        result = call.result
        good = result.status == result.STATUS_SUCCEEDED
        mark, style = ('✓', 'green') if good else ('✗', 'red')
        clamped = f'with {result.clamped}' if result.clamped else ''
        told = ' '.join(part for part in (clamped, result.value, result.error) if part)
        self._print(
            f'{mark} {call.name} {status_name(result)} in {result.duration_s:.1f} s {told}', style
        )

    def _print(self, text: str, style: str = '', end: str = '\n') -> None:
        # Without control characters: what a model writes gives no orders to the terminal.
        plain = CONTROL.sub('', text)
        self._console.print(plain, style=style, end=end, markup=False, soft_wrap=True)


def _print_json(message: Any) -> None:
    from nemotron_ros.bridge.convert import to_json

    print(json.dumps(to_json(message), ensure_ascii=False), flush=True)
