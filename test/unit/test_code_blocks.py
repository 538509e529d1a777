"""Each block of code on a page is what it says: it can be read, and names what there is.

What can run in a moment, without a network and a robot, is run; `test/ros/test_code_blocks.py`
runs what needs a node. What can't says why, in `NOT_RUN`.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

pytest.importorskip('rcl_interfaces', reason='ROS is not here')

from launch_arguments import LaunchFile
from pages import PAGES, ROOT, Block, Command, blocks, commands, tokens

from nemotron_ros import cli
from nemotron_ros.evaluation.scenario import load as load_scenarios
from nemotron_ros.tools.tool_file import load

LANGUAGES = {'bash', 'json', 'python', 'text', 'yaml'}
# What a word of a command may begin with, to be a file of this checkout.
FOLDERS = ('bench', 'config', 'docker', 'docs', 'examples', 'launch', 'scripts')
OURS = re.compile(rf'(?:src/nemotron_ros/)?((?:{"|".join(FOLDERS)})/.+)')
ENTRY_POINTS = set(re.findall(r"'(\w+) = nemotron_ros", (ROOT / 'setup.py').read_text()))
TARGETS = set(re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
MAKE_VARIABLES = set(re.findall(r'^(\w+) \?=', (ROOT / 'Makefile').read_text(), re.MULTILINE))

MACHINE = 'it changes the machine'
NETWORK = 'it needs a network'
YOURS = 'it reads what is yours; test_dataset.py runs it'
NODE = 'it needs a node; test/ros/test_code_blocks.py runs it'
BOARD = "it needs NVIDIA's board"
LONG = 'it takes too long'
# What does nothing by itself.
SHELL = {'.', 'cd', 'echo', 'export', 'ln'}
# Why a command is not run here, by how it begins. The longest beginning counts.
NOT_RUN = {
    './headless_robot': 'it serves; test/launch starts it',
    './nemotron_node': 'it serves; test/launch starts it',
    '/opt/edgellm/bin/pip': NETWORK,
    'ament_flake8': 'test_lint.py runs it',
    'ament_pep257': 'test_lint.py runs it',
    'ament_xmllint': 'test_lint.py runs it',
    'cat': BOARD,
    'colcon': 'test_packaging.py builds with it',
    'docker': 'it needs an engine of containers',
    'git': NETWORK,
    'make': LONG,
    'nemotron ask': NODE,
    'nemotron confirm': NODE,
    'nemotron engine build': BOARD,
    'nemotron engine serve': BOARD,
    'nemotron dataset export out/data.jsonl --model': YOURS,
    'nemotron dataset export out/data.jsonl --scenarios': YOURS,
    'nemotron eval': LONG,
    'nemotron mcp': 'it serves; test/ros/test_mcp.py starts it',
    'nemotron model fetch': NETWORK,
    'nemotron tools check --live': NODE,
    'nemotron tools scaffold': NODE,
    'nemotron trace': 'it needs a trace; test/unit/trace makes some',
    'nemotron watch': 'it needs a terminal',
    'pip': NETWORK,
    'python bench': LONG,
    'python scripts': LONG,
    'python examples': 'it needs a robot; test/examples runs it',
    'python -m colcon': 'test_packaging.py builds with it',
    'python3 -m venv': LONG,
    'ros2': 'it needs ros2cli; test/launch starts what it would',
    'rosdep': NETWORK,
    'rviz2': 'it needs a screen',
    'sudo': MACHINE,
    'systemctl': MACHINE,
    'vllm': 'it needs a GPU',
}  # fmt: skip


# Commands

BASH = blocks('bash')
COMMANDS = [command for block in BASH for command in commands(block)]


class Parsed(Exception):
    """What a command line means; nothing has been done yet."""


def check_nemotron(words: tuple[str, ...]) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_leave(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
        raise Parsed(parse(parser, arguments))

    patched = patch.object(argparse.ArgumentParser, 'parse_args', parse_and_leave)
    with patched, pytest.raises(Parsed):
        cli.main(words[1:])


def check_ros2(words: tuple[str, ...]) -> None:
    verb = words[1]
    if verb == 'launch':
        in_package = words[2] == 'nemotron_ros'
        file = ROOT / 'launch' / words[3] if in_package else ROOT / words[2]
        check_launch(file, words[4:] if in_package else words[3:])
    elif verb == 'run':
        assert words[2] == 'nemotron_ros'
        check_node(words[3:])
    elif verb == 'service':
        check_service_call(words[3:])
    else:
        assert verb == 'security'


def check_launch(file: Path, arguments: tuple[str, ...]) -> None:
    known = LaunchFile(file)
    for argument in arguments:
        if argument != '--show-args':
            name, assigned, value = argument.partition(':=')
            assert assigned, f'{argument}: expected name:=value'
            known.check(name, value)


def check_node(words: tuple[str, ...]) -> None:
    assert words[0] in ENTRY_POINTS
    names = {word.partition(':=')[0] for word in words if ':=' in word}
    if words[0] == 'nemotron_node':
        assert names <= {'autostart', *parameters()}


def check_service_call(words: tuple[str, ...]) -> None:
    pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
    from nemotron_ros.bridge.interfaces import load_service
    from nemotron_ros.bridge.mapping import check_mapping

    name, kind, fields = words
    service: Any = load_service(kind)
    assert check_mapping(service.Request, yaml.safe_load(fields), name) == []


def check_make(words: tuple[str, ...]) -> None:
    for word in words[1:]:
        variable, assigned, _ = word.partition('=')
        assert variable in (MAKE_VARIABLES if assigned else TARGETS)


def check_python(words: tuple[str, ...]) -> None:
    if words[1] == '-m':
        assert importlib.util.find_spec(words[2])
        return
    for word in words[2:]:
        if word.startswith('--'):
            assert re.search(rf'{word}\b', usage(words[1])), f'{words[1]} has no {word}'


def check_program(words: tuple[str, ...]) -> None:
    assert words[0].removeprefix('./') in ENTRY_POINTS
    check_node((words[0].removeprefix('./'), *words[1:]))


CHECKS: dict[str, Callable[[tuple[str, ...]], None]] = {
    'nemotron': check_nemotron,
    'ros2': check_ros2,
    'make': check_make,
    'python': check_python,
    './headless_robot': check_program,
    './nemotron_node': check_program,
}


@cache
def usage(script: str) -> str:
    """Return what a script says of its options."""
    done = run(sys.executable, str(ROOT / script), '--help')
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def parameters() -> set[str]:
    """Return the names of the node's parameters."""
    tree = ast.parse((ROOT / 'nemotron_ros/parameters.py').read_text())
    (of_node,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == 'Parameters']
    return {n.target.id for n in of_node.body if isinstance(n, ast.AnnAssign)}  # type: ignore


def run(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, 'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'}
    return subprocess.run(
        words, cwd=folder, env=environ, capture_output=True, text=True, timeout=60
    )


def reason_of(words: tuple[str, ...]) -> str:
    """Return why a command is not run, empty if it is."""
    text = ' '.join(words)
    found = [start for start in NOT_RUN if f'{text} '.startswith((f'{start} ', f'{start}/'))]
    return NOT_RUN[max(found, key=len)] if found else ''


@pytest.mark.parametrize('block', blocks(), ids=str)
def test_a_block_says_what_it_is_in(block: Block) -> None:
    assert block.language in LANGUAGES, f'write ```bash, or one of {sorted(LANGUAGES)}'


@pytest.mark.parametrize('command', COMMANDS, ids=str)
def test_a_command_is_one_that_there_is(command: Command) -> None:
    words = command.words
    if words[0] in CHECKS:
        # Where the page says: and more of your own.
        CHECKS[words[0]](tuple(word for word in words if word != '...'))
    else:
        assert words[0] in SHELL or reason_of(words), 'neither ours to check nor in NOT_RUN'
    for word in words:
        ours = OURS.fullmatch(word)
        assert not ours or any(ROOT.glob(ours[1])), f'{word} is not there'


@pytest.mark.parametrize('command', [c for c in COMMANDS if c.words[0] not in SHELL], ids=str)
def test_a_command_that_can_run_runs(command: Command, tmp_path: Path) -> None:
    reason = reason_of(command.words)
    if reason:
        pytest.skip(reason)
    (tmp_path / 'my_robot.yaml').write_text(first_tool_file())
    words = [word.replace('/tmp/', f'{tmp_path}/') for word in command.words]
    program = {'nemotron': [sys.executable, '-m', 'nemotron_ros.cli'], 'python': [sys.executable]}
    done = run(*program[words[0]], *words[1:], folder=tmp_path)
    # The doctor says by 1 that something is missing.
    assert done.returncode in ({0, 1} if 'doctor' in words else {0}), done.stdout + done.stderr
    assert 'Traceback' not in done.stderr


IN_LINES = r'(ros2 launch nemotron_ros|ros2 launch examples/|make |python examples/)'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_in_lines_are_ones_that_there_are(page: Path) -> None:
    for token in tokens(page):
        if token.type == 'code_inline' and re.match(IN_LINES, token.content):
            for command in commands(Block(page, 0, 'bash', token.content)):
                test_a_command_is_one_that_there_is(command)


def first_tool_file() -> str:
    """Return the tool file that README shows."""
    return next(block.text for block in blocks('yaml') if block.text.startswith('robot:'))


# Data

TOP = ('conditions', 'enabled', 'estop', 'examples', 'include', 'limits', 'stop_words', 'tables')
ROBOT = 'headless_robot.yaml'


def as_tool_file(shown: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a whole tool file with a part of one, as a page shows it.

    :raise AssertionError: if it is no part of a tool file.
    """
    if 'tools' in shown:
        return dict(shown)
    base = yaml.safe_load((ROOT / 'config/tools' / ROBOT).read_text())
    if set(shown) <= set(TOP):
        for name in shown.get('include', ()):
            part = folder / name
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(yaml.safe_dump({'tables': {part.stem: {'x': 1}}}))
        return {**base, **shown}
    if set(shown) == {'until'}:
        base['tools']['drive']['topic']['until'] = shown['until']
        return base
    parts_of_tools = all('description' in tool for tool in shown.values())
    assert parts_of_tools, f'no part of a tool file: {shown}'
    return {**base, 'tools': {**base['tools'], **shown}}


@pytest.mark.parametrize('block', blocks('yaml'), ids=str)
def test_yaml_can_be_loaded(block: Block, tmp_path: Path) -> None:
    shown = yaml.safe_load(block.text)
    if shown is None:
        schema = re.fullmatch(r'# yaml-language-server: \$schema=\.\./(\S+)\n', block.text)
        assert schema
        assert (ROOT / 'config' / schema[1]).exists()
        return
    path = tmp_path / 'tools' / 'shown.yaml'
    path.parent.mkdir()
    if 'scenarios' in shown:
        path.write_text(block.text)
        assert load_scenarios([path], lambda name: load(ROOT / f'config/tools/{name}.yaml'))
        return
    path.write_text(yaml.safe_dump(as_tool_file(shown, path.parent), sort_keys=False))
    robot = load(path)
    for key, value in shown.items():
        if key in ('conditions', 'tools'):
            assert set(value) <= set(getattr(robot, key))


@pytest.mark.parametrize('block', blocks('json'), ids=str)
def test_json_can_be_read(block: Block) -> None:
    shown = json.loads(block.text)
    for server in shown.get('mcpServers', {}).values():
        check_nemotron((server['command'], *server['args']))


@pytest.mark.parametrize('block', blocks('python'), ids=str)
def test_python_can_be_compiled(block: Block) -> None:
    compile(block.text, str(block), 'exec')
