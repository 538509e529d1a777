"""nemotron.launch.py starts a node that obeys, and that ends when it is told to."""

from __future__ import annotations

import runpy
from dataclasses import fields
from pathlib import Path
from typing import Any

import launch_pytest
import pytest
from launch import LaunchContext, LaunchDescription
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from nemotron_msgs.action import ExecuteCommand
from rcl_interfaces.srv import GetParameters
from rclpy.action import ActionClient
from rclpy.parameter import parameter_value_to_python
from servers import VelocityLog

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.bringup import ANY_PROCESS
from nemotron_ros.cancel import CancelToken
from nemotron_ros.parameters import Parameters

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES, FIXTURES = ROOT / 'launch', ROOT / 'test/fixtures'
BENCH = {
    'engine': 'scripted',
    'script': FIXTURES / 'script_bench.yaml',
    'tool_file': FIXTURES / 'tools_bench.yaml',
}


def parameters(outside: Any, *names: str) -> list[object]:
    """Return the values of the node's parameters."""
    request = GetParameters.Request(names=names)
    values = outside.call(GetParameters, 'nemotron/get_parameters', request).values
    return [parameter_value_to_python(value) for value in values]


@launch_pytest.fixture
def bench(launched) -> LaunchDescription:
    """Start the node with a script for its engine."""
    return launched.describe('nemotron.launch.py', **BENCH)


@pytest.mark.launch(fixture=bench)
def test_node_becomes_active_obeys_and_ends(launched, outside):
    base = VelocityLog(outside.node)
    assert outside.is_active('nemotron')
    result = outside.obey('please drive a little')
    assert (result.status, result.text) == (ExecuteCommand.Result.STATUS_SUCCEEDED, 'Done.')
    assert 0.2 in base.speeds
    pid = launched.pids['nemotron_node']
    assert Path(f'/proc/{pid}').exists()
    yield
    assert launched.exit_codes == {'nemotron_node': 0}
    assert not Path(f'/proc/{pid}').exists()
    assert 'Traceback' not in launched.output['nemotron_node']


@pytest.mark.launch(fixture=bench)
def test_motion_is_ended_before_the_node(launched, outside):
    base = VelocityLog(outside.node)
    assert outside.is_active('nemotron')
    client = ActionClient(outside.node, ExecuteCommand, 'nemotron/execute_command')
    assert until_true(client.server_is_ready, 20.0, CancelToken())
    client.send_goal_async(ExecuteCommand.Goal(command='please drive far'))
    assert until_true(lambda: 0.2 in base.speeds, 10.0, CancelToken())
    yield
    assert launched.exit_codes == {'nemotron_node': 0}
    assert until_true(lambda: base.speeds[-1] == 0.0, 2.0, CancelToken())


@launch_pytest.fixture
def in_namespace(launched) -> LaunchDescription:
    """Start the node of one robot among many."""
    return launched.describe('nemotron.launch.py', namespace='robot_1', **BENCH)


@pytest.mark.launch(fixture=in_namespace)
def test_namespace(launched, outside):
    assert outside.is_active('/robot_1/nemotron')
    result = outside.obey('hello', '/robot_1/nemotron')
    assert (result.status, result.text) == (ExecuteCommand.Result.STATUS_ANSWERED, 'Hello.')
    yield
    assert launched.exit_codes == {'nemotron_node': 0}


@launch_pytest.fixture
def inactive(launched, tmp_path) -> LaunchDescription:
    """Start the node with a parameter file, and arguments that look like other types."""
    params_file = tmp_path / 'params.yaml'
    params_file.write_text(
        '/**: {ros__parameters: {max_calls: 3, seed: 4, model: of the file}}\n'
        'nemotron: {ros__parameters: {max_turns: 5, temperature: 0.25}}\n'
    )
    return launched.describe(
        'nemotron.launch.py',
        params_file=params_file,
        autostart='false',
        model='2.50',
        script='yes',
        max_turns=7,
        temperature=1,
        thinking='True',
        seed=8,
    )


@pytest.mark.launch(fixture=inactive)
def test_arguments_come_before_the_parameter_file(launched, outside):
    names = ('model', 'script', 'temperature', 'thinking', 'max_turns', 'seed', 'max_calls')
    assert parameters(outside, *names) == ['2.50', 'yes', 1.0, True, 7, 8, 3]
    state = outside.call(GetState, 'nemotron/get_state').current_state
    assert state.id == State.PRIMARY_STATE_UNCONFIGURED
    yield
    assert launched.exit_codes == {'nemotron_node': 0}


@launch_pytest.fixture
def without_tools(launched, tmp_path) -> LaunchDescription:
    """Start the node with a tool file that is not there."""
    arguments = {**BENCH, 'tool_file': tmp_path / 'none.yaml'}
    return launched.describe('nemotron.launch.py', **arguments)


@pytest.mark.launch(fixture=without_tools)
def test_bad_tool_file_ends_with_one_clear_line(launched, tmp_path):
    assert until_true(lambda: bool(launched.exit_codes), 20.0, CancelToken())
    assert launched.exit_codes == {'nemotron_node': 1}
    lines = launched.output['nemotron_node'].splitlines()
    assert len(lines) == 1
    assert f'not configured: {tmp_path}/none.yaml: can not be read' in lines[0]


def test_a_middleware_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_nonsense')
    context = LaunchContext()
    *declarations, start = described().entities
    for declaration in declarations:
        declaration.visit(context)
    with pytest.raises(ValueError, match=r'^RMW_IMPLEMENTATION: expected rmw_.*unset it, or inst'):
        start.visit(context)


def described() -> LaunchDescription:
    """Return what the launch file describes."""
    file = runpy.run_path(str(LAUNCH_FILES / 'nemotron.launch.py'))
    return file['generate_launch_description']()


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('temperature', 'hot', "temperature: expected a number, got 'hot'"),
        ('max_turns', '2.5', "max_turns: expected a whole number, got '2.5'"),
        ('thinking', 'perhaps', "thinking: expected true or false, got 'perhaps'"),
        ('respawn', 'often', "respawn: expected true or false, got 'often'"),
        ('log_level', 'loud', "log_level: expected debug or info or warn or .*, got 'loud'"),
        ('namespace', 'robot-1', "namespace: expected names of letters, .*, got 'robot-1'"),
        ('params_file', '/none.yaml', 'params_file: there is no /none.yaml'),
    ],
)
def test_bad_argument_starts_nothing_and_is_named(name, text, message):
    context = LaunchContext()
    context.launch_configurations[name] = text
    *declarations, start = described().entities
    for declaration in declarations:
        declaration.visit(context)
    with pytest.raises((ValueError, FileNotFoundError), match=f'^{message}$'):
        start.visit(context)


def test_every_parameter_is_an_argument_and_described():
    arguments = described().get_launch_arguments()
    names = {parameter.name for parameter in fields(Parameters)}
    assert {argument.name for argument in arguments} == names | {*ANY_PROCESS, 'params_file'}
    assert all(argument.description.endswith('.') for argument in arguments)
    page = (ROOT / 'docs/launch.md').read_text()
    assert [name for name in ANY_PROCESS if f'| `{name}` |' not in page] == []
