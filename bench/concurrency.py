"""Goals at once: throughput against one goal, and against the bare engine asked as often.

A node in another process carries out commands that are answered in words; 1, 2, 4 and 8 clients
send them over DDS. The bare engine is asked for the same answers by as many threads. Without
``--engine`` it is the scripted one, whose answers take their time but no computing: what is
measured then is the node. With a server it is the server's batch too::

    . scripts/env.bash
    python bench/concurrency.py
    python bench/concurrency.py --engine vllm --url http://127.0.0.1:8000

Exit code 1 if the node has less than ``LEAST_SHARE`` of the bare engine's throughput.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from nemotron_msgs.action import ExecuteCommand

from nemotron_ros.bringup import config_path, nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message
from nemotron_ros.chat.prompt import opening
from nemotron_ros.client import CommandClient
from nemotron_ros.deployment import Wanted, engine_settings
from nemotron_ros.device.detect import detect
from nemotron_ros.device.profile import load_profiles
from nemotron_ros.edge_llm.cache import engines_folder
from nemotron_ros.engine.factory import make_engine
from nemotron_ros.engine.model_files import load_catalogue
from nemotron_ros.engine.protocol import ChatRequest, Engine
from nemotron_ros.spinning import spinning
from nemotron_ros.tools.tool_file import load

AT_ONCE = (1, 2, 4, 8)
LEAST_SHARE = 0.75
START_S = 120.0
GOAL_S = 60.0
COMMAND = 'Say hello in one short sentence.'
TOOLS = """
robot: talker
tools:
  beep: {description: Beep., topic: {name: beep, type: std_msgs/msg/Empty}}
"""
SCRIPT = '- {text: Hello there I am a robot and I am glad to meet you, delay_s: 0.4}\n'


def per_second(work: Callable[[int], None], workers: int, each: int) -> float:
    """Return how often a second ``workers`` threads, with ``each`` turns, get ``work`` done."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for _ in range(each):
                work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - began_s
    if failures:
        raise failures[0]
    return workers * each / took_s


@contextmanager
def clients(count: int) -> Iterator[list[CommandClient]]:
    """Yield clients, each on a node of its own, that have found the node."""
    with ExitStack() as stack:
        found = [
            CommandClient(stack.enter_context(spinning(f'client_{number}')))
            for number in range(count)
        ]
        for client in found:
            client.wait_ready(START_S)
        yield found


def goals_per_second(parameters: dict[str, Any], each: int) -> dict[int, float]:
    """Measure the node, in a process of its own."""
    with nemotron(**parameters, max_goals=max(AT_ONCE)).start() as process:
        try:
            with clients(max(AT_ONCE)) as ready:

                def send(number: int) -> None:
                    goal = ExecuteCommand.Goal(command=COMMAND, timeout_s=GOAL_S)
                    result = ready[number].send(goal, lambda _: None, CancelToken(GOAL_S))
                    if result.status != result.STATUS_ANSWERED:
                        raise RuntimeError(f'not answered: {result.error or result.text}')

                per_second(send, len(ready), 1)  # to warm up
                return {count: per_second(send, count, each) for count in AT_ONCE}
        finally:
            process.terminate()


def answers_per_second(engine: Engine, request: ChatRequest, each: int) -> dict[int, float]:
    """Measure the engine alone."""

    def answer(_: int) -> None:
        collections.deque(engine.stream(request, CancelToken(GOAL_S)), maxlen=0)

    per_second(answer, max(AT_ONCE), 1)
    return {count: per_second(answer, count, each) for count in AT_ONCE}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--engine', default='scripted')
    parser.add_argument('--url', default='', help='of a server that runs already')
    parser.add_argument('--model', default='')
    parser.add_argument('--each', type=int, default=10, help='commands of each client')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tool_path, script = Path(folder, 'tools.yaml'), Path(folder, 'script.yaml')
        tool_path.write_text(TOOLS)
        script.write_text(SCRIPT)
        chosen = {
            'engine': arguments.engine,
            'url': arguments.url,
            'model': arguments.model,
            'script': str(script) if arguments.engine == 'scripted' else '',
        }
        chosen = {key: value for key, value in chosen.items() if value}
        goals = goals_per_second({**chosen, 'tool_file': str(tool_path)}, arguments.each)
        catalogue = load_catalogue(config_path('models.yaml'))
        settings = engine_settings(
            Wanted('cpu', **chosen),
            load_profiles(config_path('devices')),
            detect,
            catalogue,
            engines_folder(),
        )
        tools = load(str(tool_path))
        specs = tuple(tool.spec for tool in tools.tools.values())
        warm = ChatRequest(opening(specs, tools.examples), specs, max_tokens=384)
        request = ChatRequest((*warm.messages, Message('user', COMMAND)), specs, max_tokens=384)
        with closing(make_engine(settings, catalogue, lambda *_: None)) as engine:
            engine.open(warm, lambda *_: None)
            bare = answers_per_second(engine, request, arguments.each)
    print('at once   goals/s   of one   bare answers/s   share of bare')
    for count in AT_ONCE:
        print(
            f'{count:7}   {goals[count]:7.2f}   {goals[count] / goals[1]:5.2f}x'
            f'   {bare[count]:14.2f}   {goals[count] / bare[count]:12.0%}'
        )
    return 0 if min(goals[count] / bare[count] for count in AT_ONCE) >= LEAST_SHARE else 1


if __name__ == '__main__':
    sys.exit(main())
