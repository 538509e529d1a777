"""``nemotron watch``: what a node does, live, with keys that stop it and answer its questions."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console

from nemotron_ros.cli.arguments import node_name, user_name, words

EXIT_INTERRUPTED = 130


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        'watch', help='see live what a node does; keys stop it and answer its questions'
    )
    parser.add_argument(
        '--node', type=node_name, default='nemotron', help='name of the nemotron node'
    )
    parser.add_argument('--who', type=words, help='who says yes or no. Default: your user name')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Watch until a key or Ctrl-C ends it; what runs goes on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(
            'nemotron watch: needs a terminal; for programs there are nemotron ask --json and '
            f'ros2 topic echo /{arguments.node.lstrip("/")}/events',
            file=sys.stderr,
        )
        return 2
    from nemotron_ros.spinning import spinning
    from nemotron_ros.watch.link import Link
    from nemotron_ros.watch.terminal import Watcher
    from nemotron_ros.watch.terminal import run as show

    watcher = Watcher(arguments.node)
    who = user_name() if arguments.who is None else arguments.who
    with spinning('nemotron_watch') as node:
        link = Link(node, arguments.node, who, watcher.hear)
        show(watcher, link, sys.stdin.fileno(), Console(highlight=False))
    return EXIT_INTERRUPTED if watcher.interrupted else 0
