"""``nemotron tools``: write and check a tool file, list the tools of a running robot."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nemotron_ros.cancel import CancelToken
from nemotron_ros.cli import tool_check, tool_scaffold
from nemotron_ros.cli.arguments import node_name


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        'tools', help='write or check a tool file, or list the tools of a robot'
    )
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    tool_check.add_parser(actions)
    tool_scaffold.add_parser(actions)
    listing = actions.add_parser('list', help='list the tools of a running node')
    listing.add_argument(
        '--node', type=node_name, default='nemotron', help='name of the nemotron node'
    )
    listing.add_argument('--json', action='store_true', help='print JSON')
    listing.set_defaults(run=run_list)


def run_list(arguments: argparse.Namespace) -> int:
    """Print the tools of a running node."""
    from nemotron_msgs.srv import ListTools

    from nemotron_ros.bridge.waiting import until_done, until_true
    from nemotron_ros.spinning import spinning

    with spinning('nemotron_tools') as node:
        name = f'{arguments.node}/list_tools'
        client = node.create_client(ListTools, name)
        budget = CancelToken(10.0)
        if not until_true(client.service_is_ready, 10.0, budget):
            print(
                f'nemotron tools: nobody serves {name}; is the nemotron node running?',
                file=sys.stderr,
            )
            return 1
        future = client.call_async(ListTools.Request())
        if not until_done(future, 10.0, budget):
            print(f'nemotron tools: {name} has not answered within 10 s', file=sys.stderr)
            return 1
        answer: Any = future.result()
    if arguments.json:
        print(json.dumps([_as_json(tool) for tool in answer.tools], ensure_ascii=False, indent=2))
        return 0
    table = Table(title=Text(answer.tool_file), title_justify='left')
    for column in ('tool', 'arguments', 'what it does', 'reaches'):
        table.add_column(column)
    for tool in answer.tools:
        names = ', '.join(json.loads(tool.parameters).get('properties', {}))
        row = (tool.name, names, tool.description, f'{tool.kind} {tool.interface}')
        table.add_row(*map(Text, row))
    Console().print(table)
    return 0


def _as_json(tool: Any) -> dict[str, object]:
    return {
        'name': tool.name,
        'description': tool.description,
        'parameters': json.loads(tool.parameters),
        'kind': tool.kind,
        'interface': tool.interface,
        'rules': json.loads(tool.rules),
    }
