"""The ``nemotron`` command, one file per verb."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from nemotron_ros.cli import (
    ask,
    confirm,
    dataset,
    demo,
    device,
    doctor,
    engine,
    evaluate,
    mcp,
    model,
    tools,
    trace,
    watch,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit code: 0 done, 1 not done, 2 wrong use, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog='nemotron', description='Give a robot commands in natural language.'
    )
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    verbs_in_order = (
        ask,
        watch,
        confirm,
        tools,
        trace,
        mcp,
        model,
        device,
        doctor,
        engine,
        evaluate,
        dataset,
        demo,
    )
    for verb in verbs_in_order:
        verb.add_parser(verbs)
    chosen = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors='replace')  # whatever the model writes can be shown
    try:
        code: int = chosen.run(chosen)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads on; what is left would be written to the pipe once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
