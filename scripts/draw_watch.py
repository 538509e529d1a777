"""Draws docs/images/watch.svg: what ``nemotron watch`` shows of a simulated robot that obeys.

::

    . scripts/env.bash && python scripts/draw_watch.py

The robot, its node and the model are real ones. The tool file is that of the demo, but that an
operator must say yes before the robot picks something up.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
import threading
import time
from pathlib import Path

from nemotron_msgs.action import ExecuteCommand
from rich.console import Console

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.bringup import config_path, headless_robot, nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.cli.model import fetch_or_smaller_with_bar
from nemotron_ros.client import CommandClient
from nemotron_ros.demo.trial import started
from nemotron_ros.spinning import spinning
from nemotron_ros.watch.link import Link
from nemotron_ros.watch.news import News
from nemotron_ros.watch.screen import screen
from nemotron_ros.watch.view import View, after

COMMANDS = (
    'drive 1.2 metres forward',
    'how full is your battery?',
    'drive 50 metres straight ahead',
    'turn right 60 degrees and then reverse 40 cm',
)
LAST = 'pick up the cup'
WIDTH, HEIGHT = 104, 26
READY_S, COMMAND_S = 180.0, 90.0


class Hearing:
    """The view of all that was heard."""

    def __init__(self) -> None:
        self.view = View('nemotron')
        self._lock = threading.Lock()

    def hear(self, news: News) -> None:
        """Take note of what is heard."""
        with self._lock:
            self.view = after(self.view, news, time.monotonic())


def main() -> None:
    """Run the commands, and draw what is seen while the last one waits for a yes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default='qwen2.5-coder-0.5b')
    parser.add_argument('--output', type=Path, default=Path('docs/images/watch.svg'))
    arguments = parser.parse_args()
    model, _ = fetch_or_smaller_with_bar(arguments.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tools = folder / 'headless_robot.yaml'
        tools.write_text(with_a_question(config_path('tools', 'headless_robot.yaml').read_text()))
        processes = (
            headless_robot(top_view_path=str(folder / 'view.png')),
            nemotron(tools, model=str(model)),
        )
        with started(processes, folder), spinning('draw_watch') as node:
            hearing = Hearing()
            link = Link(node, 'nemotron', 'Ann', hearing.hear)
            client = CommandClient(node)
            client.wait_ready(READY_S)
            for words in COMMANDS:
                ask(client, words)
            last = threading.Thread(target=ask, args=(client, LAST), daemon=True)
            last.start()
            asked = until_true(
                lambda: bool(hearing.view.questions), COMMAND_S, CancelToken(COMMAND_S)
            )
            if not asked:
                raise SystemExit(f'{LAST}: the model has called nothing that needs a yes')
            time.sleep(1.5)  # the next diagnostics
            draw(hearing.view, arguments.output)
            link.answer(hearing.view.questions[0].question.id, False)
            last.join(COMMAND_S)


def with_a_question(text: str) -> str:
    """Return the tool file with a question before the robot picks something up."""
    before, tool, after_it = text.partition('  pick_up:\n')
    if not tool:
        raise SystemExit('headless_robot.yaml has no pick_up any more')
    return before + tool + after_it.replace('guard: {', 'guard: {confirm: true, ', 1)


def ask(client: CommandClient, words: str) -> None:
    """Give a command and wait for its outcome."""
    goal = ExecuteCommand.Goal(command=words, timeout_s=COMMAND_S)
    client.send(goal, lambda event: None, CancelToken(COMMAND_S))


def draw(view: View, path: Path) -> None:
    """Write a picture that loads nothing from elsewhere."""
    console = Console(width=WIDTH, height=HEIGHT, record=True, file=io.StringIO())
    console.print(screen(view, time.monotonic(), WIDTH, HEIGHT), end='')
    svg = console.export_svg(title='nemotron watch', unique_id='watch')
    svg = re.sub(r'@font-face \{.*?\}', '', svg, flags=re.DOTALL)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{svg.strip()}\n')
    print(f'{path}: {path.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    main()
