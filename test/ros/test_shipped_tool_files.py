"""Each shipped tool file fits the interfaces that it names: types, fields, and what examples send.

Packages that are not installed here stand in by their recorded definitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_interfaces import recorded_interfaces

from nemotron_ros.bridge.check import check
from nemotron_ros.bridge.fields import kinds_of
from nemotron_ros.bridge.interfaces import load_action, load_message, load_service
from nemotron_ros.bridge.mapping import check_mapping
from nemotron_ros.bringup import config_path
from nemotron_ros.tools.model import CallService, Publish, Read, SendGoal, Tool, ToolFile
from nemotron_ros.tools.templates import Template, evaluate
from nemotron_ros.tools.tool_file import load

FILES = sorted(config_path('tools').glob('*.yaml'))


@pytest.fixture(scope='module', autouse=True)
def installed() -> Iterator[None]:
    """Give the interfaces of every robot that is shipped."""
    with recorded_interfaces():
        yield


def named(path: Path) -> str:
    return path.stem


def sent(tool: Tool) -> tuple[type[Any], Any]:
    """Return the class of what a tool sends, and its fields; no fields where it sends nothing."""
    binding = tool.binding
    if isinstance(binding, Publish):
        return load_message(binding.send.type), binding.send.message
    if isinstance(binding, CallService):
        service: Any = load_service(binding.type)
        return service.Request, binding.request
    if isinstance(binding, SendGoal):
        action: Any = load_action(binding.type)
        return action.Goal, binding.goal
    return load_message('std_msgs/msg/Empty'), {}


def calls(robot: ToolFile) -> Iterator[tuple[Tool, dict[str, Any]]]:
    """Yield every call of every example, defaults filled in."""
    inside = [example for tool in robot.tools.values() for example in tool.spec.examples]
    for example in (*inside, *robot.examples):
        for call in example.calls:
            tool = robot.tools[call.name]
            properties = tool.spec.parameters['properties']
            defaults = {name: s['default'] for name, s in properties.items() if 'default' in s}
            yield tool, {**defaults, **call.arguments}


def names_read(value: Any) -> set[str]:
    """Return the names that templates take from a message."""
    if isinstance(value, Template):
        return set(value.names)
    if isinstance(value, dict):
        return set().union(*map(names_read, value.values()))
    return set()


@pytest.mark.parametrize('path', FILES, ids=named)
def test_types_and_fields_are_those_of_the_interfaces(path: Path) -> None:
    assert check(load(path)) == []


@pytest.mark.parametrize('path', FILES, ids=named)
def test_what_the_examples_send_fits(path: Path) -> None:
    robot = load(path)
    done = 0
    for tool, arguments in calls(robot):
        message_class, fields = sent(tool)
        message = evaluate(fields, {**robot.tables, **arguments})
        assert check_mapping(message_class, message, tool.spec.name) == []
        done += 1
    assert done > 5


@pytest.mark.parametrize('path', FILES, ids=named)
def test_values_are_made_of_fields_that_are_there(path: Path) -> None:
    robot = load(path)
    for tool in robot.tools.values():
        binding = tool.binding
        seen: Any
        if isinstance(binding, Read):
            seen = load_message(binding.type)
        elif isinstance(binding, CallService):
            seen = load_service(binding.type)
            seen = seen.Response
        elif isinstance(binding, SendGoal):
            seen = load_action(binding.type)
            seen = seen.Result
        else:
            continue
        known = {*kinds_of(seen), *robot.tables, *tool.spec.parameters['properties']}
        assert names_read(binding.value) <= known, tool.spec.name


@pytest.mark.parametrize('path', FILES, ids=named)
def test_authors_are_warned_of_nothing(path: Path) -> None:
    assert load(path).warnings == ()


def test_a_recorded_interface_tells_a_wrong_field(tmp_path: Path) -> None:
    text = (config_path('tools') / 'moveit_arm.yaml').read_text()
    wrong = tmp_path / 'wrong.yaml'
    wrong.write_text(text.replace('group_name:', 'group:').replace('max_effort: 20.0', 'force: 1'))
    found = '\n'.join(check(load(wrong)))
    assert 'goal.request.group: no such field in moveit_msgs/msg/MotionPlanRequest' in found
    assert 'goal.command.force: no such field in control_msgs/msg/GripperCommand' in found
