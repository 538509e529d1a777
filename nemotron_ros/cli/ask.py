"""``nemotron ask``: give a command and watch it being carried out."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from nemotron_ros.cancel import CancelToken

EXIT_INTERRUPTED = 130


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('ask', help='give the robot a command in words')
    parser.add_argument('command', nargs='+', help='what to do')
    parser.add_argument('--node', default='nemotron', help='name of the nemotron node')
    parser.add_argument('--session', default='', help='go on with this session')
    parser.add_argument(
        '--tools', default=None, help='tools it may use, separated by commas (default: all)'
    )
    parser.add_argument('--timeout', type=float, default=120.0, help='seconds for everything')
    parser.add_argument('--dry-run', action='store_true', help='check the calls, send none')
    parser.add_argument('--json', action='store_true', help='print JSON lines: events, result')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the command; Ctrl-C cancels it, and the robot stops."""
    from nemotron_msgs.action import ExecuteCommand

    from nemotron_ros.client import CommandClient, CommandError
    from nemotron_ros.spinning import spinning

    goal = ExecuteCommand.Goal(
        command=' '.join(arguments.command),
        session_id=arguments.session,
        timeout_s=arguments.timeout,
        mode=ExecuteCommand.Goal.MODE_DRY_RUN if arguments.dry_run else 0,
    )
    if arguments.tools is not None:
        goal.allowed_tools = [name for name in arguments.tools.split(',') if name]
    # The node keeps the time; this side only listens a little longer.
    cancel = CancelToken()
    before = signal.signal(signal.SIGINT, lambda *_: cancel.cancel())
    show: Callable[[Any], None] = _print_json if arguments.json else _Screen().show
    try:
        with spinning('nemotron_ask') as node:
            client = CommandClient(node, arguments.node)
            client.wait_ready(10.0)
            result = client.send(goal, show, cancel)
            client.close()
    except CommandError as error:
        print(f'nemotron ask: {error}', file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, before)
    if arguments.json:
        _print_json(result)
    else:
        _print_result(result)
    if cancel.ended:
        return EXIT_INTERRUPTED
    return 0 if result.status == ExecuteCommand.Result.STATUS_SUCCEEDED else 1


class _Screen:
    """Shows events as they come: words, calls, results."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._in_text = False

    def show(self, event: Any) -> None:
        """Print one event."""
        if event.text_delta or event.reasoning_delta:
            style = 'dim' if event.reasoning_delta else 'bold'
            self._console.print(
                event.text_delta or event.reasoning_delta,
                end='',
                style=style,
                markup=False,
                soft_wrap=True,
            )
            self._in_text = True
            return
        if self._in_text and event.phase != event.PHASE_GENERATING:
            self._console.print()
            self._in_text = False
        if event.phase == event.PHASE_CALLING:
            call = event.call[0]
            self._console.print(f'→ {call.name} {call.arguments}', style='cyan', markup=False)
        elif event.phase == event.PHASE_RESULT:
            self._result(event.call[0])

    def _result(self, call: Any) -> None:
        from nemotron_ros.client import status_name

        result = call.result
        good = result.status == result.STATUS_SUCCEEDED
        mark, style = ('✓', 'green') if good else ('✗', 'red')
        words = ' '.join(part for part in (result.value, result.error) if part)
        self._console.print(
            f'{mark} {call.name} {status_name(result)} in {result.duration_s:.1f} s {words}',
            style=style,
            markup=False,
        )


def _print_result(result: Any) -> None:
    from nemotron_ros.client import status_name

    console = Console(highlight=False)
    good = result.status == result.STATUS_SUCCEEDED
    console.print(
        f'{status_name(result)}{": " + result.error if result.error else ""}'
        f' ({result.usage.total_s:.1f} s, session {result.session_id})',
        style='green' if good else 'red',
        markup=False,
    )


def _print_json(message: Any) -> None:
    from nemotron_ros.bridge.convert import to_json

    print(json.dumps(to_json(message), ensure_ascii=False), flush=True)
