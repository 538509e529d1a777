"""The ``nemotron`` command, one file per verb."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nemotron_ros.cli import ask, demo, model, tools


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit code: 0 done, 1 not done, 2 wrong use, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog='nemotron', description='Give a robot commands in natural language.'
    )
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    for verb in (ask, tools, model, demo):
        verb.add_parser(verbs)
    chosen = parser.parse_args(arguments)
    try:
        code: int = chosen.run(chosen)
    except KeyboardInterrupt:
        return 130
    return code
