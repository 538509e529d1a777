"""``nemotron confirm``: list the calls that wait for an operator, and answer one."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nemotron_ros.cancel import CancelToken
from nemotron_ros.cli.arguments import node_name, user_name, words
from nemotron_ros.tools.confirmation import Question

ANSWER_S = 10.0


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        'confirm', help='list the calls that wait for your yes, and answer one'
    )
    parser.add_argument(
        'id', nargs='?', default='', type=words, help='the call; may be left out if one waits'
    )
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument('--yes', action='store_true', help='let it run')
    answer.add_argument('--no', action='store_true', help='do not let it run')
    parser.add_argument(
        '--who', type=words, help='who answers; kept with the result. Default: your user name'
    )
    parser.add_argument(
        '--node', type=node_name, default='nemotron', help='name of the nemotron node'
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List the open questions, or answer one."""
    if arguments.id and not (arguments.yes or arguments.no):
        print('nemotron confirm: say --yes or --no', file=sys.stderr)
        return 2
    from nemotron_ros.spinning import spinning

    with spinning('nemotron_confirm') as node:
        questions = _open_questions(node, arguments.node)
        if questions is None:
            print(
                f'nemotron confirm: nobody publishes {arguments.node}/confirmations; is the '
                'nemotron node running?',
                file=sys.stderr,
            )
            return 1
        if not (arguments.yes or arguments.no):
            _list(questions)
            return 0
        question_id = arguments.id
        if not question_id:
            if len(questions) != 1:
                _list(questions)
                print('nemotron confirm: say the id of the one you mean', file=sys.stderr)
                return 1
            question_id = questions[0].id
        return _answer(node, arguments, question_id)


def _open_questions(node: Any, server: str) -> tuple[Question, ...] | None:
    """Return the questions that are open now; None if nobody tells."""
    from nemotron_msgs.msg import Confirmations
    from rclpy.qos import DurabilityPolicy, QoSProfile

    from nemotron_ros.bridge.heard import questions_of
    from nemotron_ros.bridge.waiting import until_true

    heard: list[Any] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    subscription = node.create_subscription(
        Confirmations, f'{server}/confirmations', heard.append, latched
    )
    try:
        if not until_true(lambda: bool(heard), ANSWER_S, CancelToken(ANSWER_S)):
            return None
        return questions_of(heard[-1])
    finally:
        node.destroy_subscription(subscription)


def _answer(node: Any, arguments: argparse.Namespace, question_id: str) -> int:
    from nemotron_msgs.srv import Confirm

    from nemotron_ros.bridge.waiting import until_done, until_true

    name = f'{arguments.node}/confirm'
    client = node.create_client(Confirm, name)
    budget = CancelToken(ANSWER_S)
    if not until_true(client.service_is_ready, ANSWER_S, budget):
        print(f'nemotron confirm: nobody serves {name}', file=sys.stderr)
        return 1
    who = user_name() if arguments.who is None else arguments.who
    future = client.call_async(Confirm.Request(id=question_id, yes=arguments.yes, who=who))
    if not until_done(future, ANSWER_S, budget):
        print(
            f'nemotron confirm: {name} has not answered within {ANSWER_S:g} s; whether it took '
            'the answer is not known',
            file=sys.stderr,
        )
        return 1
    answer: Any = future.result()
    print(answer.message, file=sys.stdout if answer.success else sys.stderr)
    return 0 if answer.success else 1


def _list(questions: Sequence[Question]) -> None:
    if not questions:
        print('nothing waits for a yes')
        return
    table = Table()
    for column in ('id', 'tool', 'arguments', 'what it does', 'time left'):
        table.add_column(column)
    for question in questions:
        left_s = question.deadline_time_s - time.time()
        shown = ', '.join(f'{name}: {value}' for name, value in question.arguments.items())
        row = (
            question.id,
            question.tool,
            shown,
            question.description,
            f'{max(0.0, left_s):.0f} s',
        )
        table.add_row(*map(Text, row))
    Console().print(table)
