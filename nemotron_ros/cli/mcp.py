"""``nemotron mcp``: the robot's tools for assistants that speak MCP."""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib.util import find_spec
from typing import Any

from nemotron_ros.cli.arguments import node_name, port, seconds


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('mcp', help="serve the robot's tools to an assistant (MCP)")
    parser.add_argument(
        '--node', type=node_name, default='nemotron', help='name of the nemotron node'
    )
    parser.add_argument(
        '--http',
        type=port,
        metavar='PORT',
        help='serve at http://127.0.0.1:PORT/mcp (default: over stdin and stdout)',
    )
    parser.add_argument(
        '--timeout', type=seconds, default=120.0, help='seconds for each call (default: 120)'
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until the client leaves, or Ctrl-C; what still runs then is cancelled."""
    if find_spec('mcp') is None or find_spec('mcp_types') is None:
        print(
            "nemotron mcp: needs the package mcp, 2.0 or newer: pip install 'mcp>=2'",
            file=sys.stderr,
        )
        return 1
    from nemotron_ros.mcp.robot import Robot
    from nemotron_ros.mcp.serve import LOOPBACK, listen, serve_http, serve_stdio
    from nemotron_ros.mcp.server import make_server
    from nemotron_ros.spinning import spinning

    listener = None
    if arguments.http is not None:
        try:
            listener = listen(arguments.http)
        except OSError as error:
            where = f'{LOOPBACK}:{arguments.http}'
            print(f'nemotron mcp: can not listen at {where}: {error}', file=sys.stderr)
            return 1
        where = f'http://{LOOPBACK}:{arguments.http}/mcp'
        print(f'nemotron mcp: serving at {where}', file=sys.stderr, flush=True)

    with spinning('nemotron_mcp') as node:

        async def serve() -> None:
            server = make_server(Robot(node, arguments.node), arguments.timeout)
            if listener is None:
                await serve_stdio(server)
            else:
                await serve_http(server, listener)

        asyncio.run(serve())
    return 0
