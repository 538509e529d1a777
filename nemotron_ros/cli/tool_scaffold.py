"""``nemotron tools scaffold``: look at the running robot, and write a first tool file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from nemotron_ros.bringup import config_path
from nemotron_ros.cancel import CancelToken

DISCOVERY_S = 6.0


def add_parser(actions: Any) -> None:
    """Add the action to ``nemotron tools``."""
    parser = actions.add_parser(
        'scaffold', help='write a first tool file for what runs on ROS now; what acts is disabled'
    )
    parser.add_argument(
        '--output', type=Path, metavar='FILE', help='a new file to write; else it is printed'
    )
    parser.add_argument('--robot', default='my_robot', help='name of the robot')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write a tool file; an existing one is left as it is."""
    from nemotron_ros.bridge.graph import settled
    from nemotron_ros.bridge.scaffold import scaffold
    from nemotron_ros.spinning import spinning

    output: Path | None = arguments.output
    if output is not None and output.exists():
        return _not_done(f'--output: {output} is there already; name a new file')
    with spinning('nemotron_tools_scaffold') as node:
        graph = settled(node, DISCOVERY_S, CancelToken(2 * DISCOVERY_S))
    written = scaffold(graph, arguments.robot, str(config_path('tool_file.schema.json')))
    if not written.tools:
        domain = os.environ.get('ROS_DOMAIN_ID', '0')
        return _not_done(
            f'nothing was found on ROS that could be a tool (ROS_DOMAIN_ID={domain}); '
            'is the robot running?'
        )
    if output is None:
        print(written.text, end='')
        return 0
    try:
        with output.open('x', encoding='utf-8') as file:
            file.write(written.text)
    except OSError as error:
        return _not_done(f'--output: {error}')
    print(f'{output}: {written.tools} tools, {len(written.left_out)} interfaces left out')
    return 0


def _not_done(why: str) -> int:
    print(f'nemotron tools scaffold: {why}', file=sys.stderr)
    return 1
