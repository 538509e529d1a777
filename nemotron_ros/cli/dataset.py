"""``nemotron dataset``: training data, made of scenarios and of what a node has done."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nemotron_ros.bringup import config_path
from nemotron_ros.cli.scenario_files import ToolFiles, scenario_files
from nemotron_ros.engine.model_files import load_catalogue
from nemotron_ros.engine.protocol import EngineError
from nemotron_ros.engine.template_file import read_template
from nemotron_ros.evaluation.dataset import (
    DatasetError,
    Samples,
    from_scenarios,
    from_traces,
    held_out,
    write,
)
from nemotron_ros.evaluation.scenario import ScenarioError, load
from nemotron_ros.tools import tool_file
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.tool_file import ToolFileError
from nemotron_ros.trace.files import read_trace
from nemotron_ros.trace.record import TraceError


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('dataset', help='training data of scenarios and traces')
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    export = actions.add_parser(
        'export', help='write what the model should have written, as JSON lines'
    )
    export.add_argument('file', type=Path, help='the file to write, .jsonl')
    export.add_argument(
        '--scenarios', type=Path, nargs='*', metavar='PATH',
        help="files of scenarios, or folders of them (this package's own)",
    )  # fmt: skip
    export.add_argument(
        '--traces', type=Path, nargs='+', default=(), metavar='FILE',
        help='what nodes have recorded, .jsonl or .mcap',
    )  # fmt: skip
    export.add_argument(
        '--tools', type=Path, metavar='FILE',
        help='tool file for the robot that it names, and for traces (config/tools/ROBOT.yaml)',
    )  # fmt: skip
    export.add_argument(
        '--model', default='',
        help='name, GGUF file, folder or .jinja file: adds the text in its own chat template',
    )  # fmt: skip
    export.add_argument(
        '--examples', action='store_true',
        help="begin each chat with the tool file's examples, as the node's prompts do",
    )  # fmt: skip
    export.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> int:
    """Write the file; 1 if there is nothing to write, or something can't be read."""
    try:
        template = None
        if arguments.model:
            template = read_template(arguments.model, load_catalogue(config_path('models.yaml')))
        found = list(_found(arguments))
        count = write(arguments.file, found, template, arguments.examples)
    except (
        DatasetError, EngineError, OSError, ScenarioError, ToolFileError, TraceError,
    ) as error:  # fmt: skip
        print(f'nemotron dataset: {error}', file=sys.stderr)
        return 1
    left_out: Counter[str] = Counter()
    for _, samples in found:
        left_out.update(samples.left_out)
    for reason, times in left_out.most_common():
        print(f'left out: {reason} ({times})', file=sys.stderr)
    if not count:
        print('nemotron dataset: nothing is left to learn from', file=sys.stderr)
        return 1
    print(f'{count} samples in {arguments.file}')
    return 0


def _found(arguments: argparse.Namespace) -> Iterator[tuple[ToolFile, Samples]]:
    """Yield what can be learned, by tool file."""
    tool_files = ToolFiles(arguments.tools)
    shipped = load(scenario_files(), tool_files.of)
    chosen = shipped
    if arguments.scenarios is not None:
        chosen = load(scenario_files(arguments.scenarios), tool_files.of)
    held = held_out((*shipped, *chosen))
    for robot in dict.fromkeys(scenario.robot for scenario in chosen):
        file = tool_files.of(robot)
        yield file, from_scenarios(chosen, robot, file, held)
    for path in arguments.traces:
        trace = read_trace(path)
        name = trace.origin.tool_file
        if tool_files.given is None and not name:
            raise TraceError(f'{path}: does not name its tool file; say which with --tools FILE')
        file = tool_files.given or tool_file.load(name)
        yield file, from_traces([trace], file, held)
