"""``nemotron demo``: a simulated robot obeys ten commands; physics says what truly happened."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from nemotron_ros.bringup import config_path, headless_robot, nemotron
from nemotron_ros.cli.model import fetch_or_smaller_with_bar
from nemotron_ros.engine.protocol import EngineError
from nemotron_ros.tools.tool_file import load

if TYPE_CHECKING:
    from nemotron_ros.demo.trial import Run

ENOUGH = 8


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser('demo', help='a simulated robot obeys ten commands in words')
    parser.add_argument(
        '--model', default='qwen2.5-coder-0.5b', help='model name, or path of a GGUF file'
    )
    parser.add_argument('--output', default='out', help='folder for picture, data and logs')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if the reports were true, the bounds kept, and 8 of 10 obeyed."""
    from nemotron_ros.client import CommandError
    from nemotron_ros.demo.trial import TrialError

    console = Console(highlight=False)
    began_s = time.monotonic()
    try:
        model, instead = fetch_or_smaller_with_bar(arguments.model)
    except EngineError as error:
        print(f'nemotron demo: {error}', file=sys.stderr)
        return 1
    if instead:
        console.print(instead, style='yellow', markup=False)
    console.print(f'model: {model.name}', markup=False)
    folder = Path(arguments.output).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _try(console, model, folder, began_s)
    except (CommandError, TrialError, OSError) as error:
        print(f'nemotron demo: {error} (logs in {folder})', file=sys.stderr)
        return 1


def _try(console: Console, model: Path, folder: Path, began_s: float) -> int:
    from nemotron_ros.demo import report
    from nemotron_ros.demo.cases import CASES
    from nemotron_ros.demo.film import write_films
    from nemotron_ros.demo.recording import Recording
    from nemotron_ros.demo.trial import Trial, started
    from nemotron_ros.spinning import spinning

    picture = folder / 'demo.png'
    tool_file = config_path('tools', 'headless_robot.yaml')
    processes = (
        headless_robot(top_view_path=str(picture)),
        nemotron(tool_file, model=str(model)),
    )
    places: Any = load(tool_file).tables['places']
    runs = []
    with started(processes, folder) as alive, spinning('nemotron_demo') as node:
        trial = Trial(node, alive, places)
        trial.wait_ready()
        console.print(f'ready after {time.monotonic() - began_s:.1f} s\n')
        with Recording(trial.truth) as recording:
            for number, case in enumerate(CASES, 1):
                runs.append(trial.run(case, recording.tell))
                console.print(report.line(number, runs[-1]), markup=False)
        trial.draw()
        breaches = trial.breaches()
    console.print()
    console.print(report.table(runs))
    data = folder / 'demo.json'
    data.write_text(json.dumps([report.as_data(one) for one in runs], indent=2))
    lies = [f'{one.case.words}: {lie}' for one in runs for lie in one.lies]
    console.print(f'{sum(one.obeyed for one in runs)} of {len(runs)} commands were obeyed')
    console.print(f'{len(lies)} reports contradict the physics')
    console.print(f'{len(breaches)} calls outside their bounds reached the robot')
    for line in (*lies, *breaches):
        console.print(f'  {line}', style='red', markup=False)
    console.print(f'path driven: {picture}\nmeasurements: {data}', markup=False)
    for line in write_films(folder, recording.moments, model.stem):
        console.print(line, markup=False)
    return 0 if verdict(runs, breaches) else 1


def verdict(runs: Sequence[Run], breaches: Sequence[str]) -> bool:
    """Whether every report was true, every bound kept, and enough of the commands obeyed."""
    true = not any(run.lies for run in runs)
    return true and not breaches and sum(run.obeyed for run in runs) >= ENOUGH
