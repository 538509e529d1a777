"""What pages show that needs a node is run against one: commands, and code in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import Twist
from launch_arguments import LaunchFile, parts, stand_ins
from nemotron_msgs.action import ExecuteCommand
from pages import ROOT, Block, Command, blocks, commands
from ros_context import Ros
from scripted_node import active_node

from nemotron_ros import cli
from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.bringup import config_path
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.plugins import GROUP

SCRIPT = """
- when: ''
  text: I am told to do nothing.
"""
STARTS = (
    ('nemotron', 'ask'),
    ('nemotron', 'confirm'),
    ('nemotron', 'tools', 'check', '--live'),
    ('nemotron', 'tools', 'scaffold'),
)
SHOWN = {
    command.words: command
    for block in blocks('bash')
    for command in commands(block)
    if any(command.words[: len(start)] == start for start in STARTS)
}


@pytest.fixture
def robot(ros: Ros, tmp_path: Path) -> Iterator[Any]:
    """Give a node that answers every command with words."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT)
    tools = str(config_path('tools', 'headless_robot.yaml'))
    node = active_node(ros, script=str(script), tool_file=tools)
    yield node
    node.trigger_shutdown()


@pytest.mark.parametrize('command', SHOWN.values(), ids=str)
def test_a_command_finds_the_node(
    robot: Any,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tool_file = next(block.text for block in blocks('yaml') if block.text.startswith('robot:'))
    if '--output' not in command.words:
        (tmp_path / 'my_robot.yaml').write_text(tool_file)
    code = cli.main([word.replace('robot_2/', '') for word in command.words[1:]])
    said = capfd.readouterr()
    # 3: answered with words. 1: nothing waits for a yes, or the robot lacks what the file names.
    expected = {'ask': {3}, 'confirm': {0, 1}, 'tools': {0, 1}}
    assert code in expected[command.words[1]], said
    assert 'nobody serves' not in said.err
    if '--output' in command.words:
        assert 'tools:' in (tmp_path / 'my_robot.yaml').read_text()


def client(block: Block, ros: Ros, robot: Any, capfd: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, str(block), 'exec'), {})
    said = capfd.readouterr().out
    answered = ExecuteCommand.Result.STATUS_ANSWERED
    assert said.endswith(f'{answered} I am told to do nothing. []\n')


def plugin(block: Block, ros: Ros, robot: Any, capfd: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {}
    exec(compile(block.text, str(block), 'exec'), found)
    node = ros.node('tools')
    speeds: list[float] = []
    node.create_subscription(Twist, 'head/cmd_vel', lambda m: speeds.append(m.angular.y), 10)
    assert found['nod'](node, {'times': 2}, CancelToken(10.0)) == {'nods': 2}
    assert until_true(lambda: len(speeds) == 5, 5.0, CancelToken(5.0))
    assert speeds == [0.5, -0.5, 0.5, -0.5, 0.0]


def entry_points(block: Block, ros: Ros, robot: Any, capfd: pytest.CaptureFixture[str]) -> None:
    given = eval(f'dict({block.text})')
    assert given == {'entry_points': {GROUP: ['nod = my_robot.tools:nod']}}


def inclusion(block: Block, ros: Ros, robot: Any, capfd: pytest.CaptureFixture[str]) -> None:
    kinds = ('GroupAction', 'IncludeLaunchDescription', 'PythonLaunchDescriptionSource')
    with stand_ins() as launch:
        names = {kind: getattr(launch, kind) for kind in kinds}
    made = eval(block.text, {**names, 'share': ROOT, 'my_tools': 'my_robot.yaml'})
    (source,) = [part for part in parts(made) if part.kind == 'PythonLaunchDescriptionSource']
    (include,) = [part for part in parts(made) if part.kind == 'IncludeLaunchDescription']
    for name, value in include.named['launch_arguments']:
        LaunchFile(Path(source.arguments[0])).check(name, value)


RUNS: dict[str, Callable[[Block, Ros, Any, Any], None]] = {
    'from nemotron_msgs.action import ExecuteCommand': client,
    '# my_robot/tools.py': plugin,
    '# setup.py of my_robot': entry_points,
    'GroupAction([': inclusion,
}


@pytest.mark.parametrize('block', blocks('python'), ids=str)
def test_python_runs(
    block: Block, ros: Ros, robot: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    first = block.text.splitlines()[0]
    assert first in RUNS, 'say in RUNS how it is run'
    RUNS[first](block, ros, robot, capfd)
