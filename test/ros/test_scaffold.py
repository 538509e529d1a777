"""A first tool file from a graph: it loads, what acts is disabled, and it can be grown."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from rclpy.qos import QoSProfile
from recorded_interfaces import recorded_interfaces

from nemotron_ros.bridge.check import check, check_disabled
from nemotron_ros.bridge.graph import Endpoint, Graph, Topic
from nemotron_ros.bridge.scaffold import scaffold
from nemotron_ros.tools.model import Read, ReadImage, ReadScan, ToolFile
from nemotron_ros.tools.tool_file import ToolFileError, load

PACKAGES = (
    'geometry_msgs', 'nav_msgs', 'sensor_msgs', 'shape_msgs', 'std_msgs',
    'std_srvs', 'stereo_msgs', 'test_msgs', 'trajectory_msgs',
)  # fmt: skip
ROBOT = Graph(
    services={
        '/dock': ('std_srvs/srv/Trigger',),
        '/light/power': ('std_srvs/srv/SetBool',),
        '/base/get_parameters': ('rcl_interfaces/srv/GetParameters',),
        '/nemotron/list_tools': ('nemotron_msgs/srv/ListTools',),
        '/nemotron/stop': ('std_srvs/srv/Trigger',),
        '/strange': ('no_such_msgs/srv/Strange',),
    },
    actions={'/navigate_to_pose': ('nav2_msgs/action/NavigateToPose',)},
)


def end(type_name: str) -> Endpoint:
    return Endpoint('/robot', type_name, QoSProfile(depth=10))


def told(type_name: str) -> Topic:
    return Topic(publishers=(end(type_name),))


def heard(type_name: str) -> Topic:
    return Topic(subscriptions=(end(type_name),))


def both(type_name: str) -> Topic:
    return Topic((end(type_name),), (end(type_name),))


def loaded(graph: Graph, folder: Path) -> tuple[ToolFile, dict[str, str]]:
    """Return the tool file that was written for a graph, and what was left out."""
    written = scaffold(graph, 'bench')
    path = folder / 'tools.yaml'
    path.write_text(written.text)
    tool_file = load(path)
    assert [*check(tool_file), *check_disabled(tool_file)] == []
    assert len(tool_file.tools) + len(tool_file.disabled) == written.tools
    return tool_file, dict(written.left_out)


def every(mark: str, group: str) -> dict[str, str]:
    """Return the names of all types of a group that are installed, each by a name on ROS."""
    found = {}
    for package in PACKAGES:
        try:
            module: Any = importlib.import_module(f'{package}.{group}')
        except ImportError:
            continue
        for name, value in vars(module).items():
            if isinstance(value, type) and hasattr(value, mark):
                found[f'/{package}/{name}'] = f'{package}/{group}/{name}'
    return found


def test_what_reads_is_ready_and_what_acts_is_disabled(tmp_path: Path) -> None:
    topics = {
        '/battery_state': told('sensor_msgs/msg/BatteryState'),
        '/odom': both('nav_msgs/msg/Odometry'),
        '/cmd_vel': both('geometry_msgs/msg/Twist'),
        '/goal_pose': heard('geometry_msgs/msg/PoseStamped'),
        '/speech': heard('std_msgs/msg/String'),
        '/points': told('sensor_msgs/msg/PointCloud2'),
        '/scan': told('sensor_msgs/msg/LaserScan'),
        '/image': told('sensor_msgs/msg/Image'),
        '/clock': both('rosgraph_msgs/msg/Clock'),
        '/tf': told('tf2_msgs/msg/TFMessage'),
        '/dock/_action/feedback': told('std_msgs/msg/String'),
        '/nemotron/words': told('std_msgs/msg/String'),
    }
    graph = Graph(topics, ROBOT.services, ROBOT.actions)
    with recorded_interfaces():
        robot, left_out = loaded(graph, tmp_path)
    kinds = {name: type(tool.binding) for name, tool in robot.tools.items()}
    assert kinds == {
        'get_battery_state': Read, 'get_odom': Read, 'get_scan': ReadScan, 'get_image': ReadImage,
    }  # fmt: skip
    assert sorted(robot.disabled) == [
        'dock', 'light_power', 'navigate_to_pose', 'send_cmd_vel', 'send_goal_pose', 'send_speech',
    ]  # fmt: skip
    assert list(left_out) == ['/points', '/strange']
    assert 'is too much for a model to read' in left_out['/points']
    assert left_out['/strange'].startswith('the package no_such_msgs is not there; install it')


def test_every_message_that_is_read_or_written_makes_a_file_that_loads(tmp_path: Path) -> None:
    names = every('SLOT_TYPES', 'msg')
    assert len(names) > 100
    topics = {
        **{f'{name}/told': told(type_name) for name, type_name in names.items()},
        **{f'{name}/heard': heard(type_name) for name, type_name in names.items()},
    }
    robot, left_out = loaded(Graph(topics), tmp_path)
    assert len(robot.tools) > 50
    assert len(robot.disabled) > 100
    assert [name for name in left_out if name.endswith('/heard')] == []


def test_every_service_and_action_makes_a_file_that_loads(tmp_path: Path) -> None:
    services = {name: (kind,) for name, kind in every('Request', 'srv').items()}
    actions = {name: (kind,) for name, kind in every('Goal', 'action').items()}
    robot, left_out = loaded(Graph({}, services, actions), tmp_path)
    assert (robot.tools, left_out) == ({}, {})
    assert len(robot.disabled) == len(services) + len(actions) > 8


@pytest.mark.parametrize(
    ('topics', 'asked'),
    [
        ({'/cmd_vel': heard('geometry_msgs/msg/Twist')}, 'distance_m: has no upper bound'),
        ({'/goal': heard('geometry_msgs/msg/PoseStamped')}, 'heading_deg: has no lower bound'),
        ({'/speech': heard('std_msgs/msg/String')}, 'text: has no bound; add maxLength'),
        ({'/arm': heard('trajectory_msgs/msg/JointTrajectory')}, 'moves the robot and needs then'),
        ({'/level': heard('std_msgs/msg/Float32')}, 'data: has no lower bound; add minimum'),
    ],
)
def test_the_loader_asks_for_bounds_once_a_tool_is_enabled(
    tmp_path: Path, topics: dict[str, Topic], asked: str
) -> None:
    path = tmp_path / 'tools.yaml'
    path.write_text(
        scaffold(Graph(topics), 'bench').text.replace('enabled: false', 'enabled: true')
    )
    with pytest.raises(ToolFileError) as caught:
        load(path)
    assert asked in str(caught.value)


def test_the_same_last_name_twice_makes_two_tools(tmp_path: Path) -> None:
    names = ('/left/Level', '/level', '/right/level')
    robot, _ = loaded(Graph({name: told('std_msgs/msg/Int32') for name in names}), tmp_path)
    found = {name: tool.binding.topic for name, tool in robot.tools.items()}
    assert found == {
        'get_level': '/left/Level', 'get_level_2': '/level', 'get_right_level': '/right/level',
    }  # fmt: skip


def test_what_only_this_package_says_and_hears_is_nobody_elses(tmp_path: Path) -> None:
    ours = [
        Endpoint(node, 'std_msgs/msg/String', QoSProfile(depth=1))
        for node in ('/nemotron', '/nemotron_tools')
    ]
    topics = {
        '/speech': Topic((ours[0],), heard('std_msgs/msg/String').subscriptions),
        '/sound': Topic(told('std_msgs/msg/String').publishers, (ours[1],)),
        '/silence': Topic((ours[0],), (ours[1],)),
    }
    robot, _ = loaded(
        Graph(topics, {'/nemotron/stop': ROBOT.services['/nemotron/list_tools']}), tmp_path
    )
    assert (list(robot.tools), list(robot.disabled)) == (['get_sound'], ['send_speech'])


def test_editors_are_told_where_the_schema_is(tmp_path: Path) -> None:
    text = scaffold(ROBOT, 'bench', '/there/schema.json').text
    assert text.startswith('# yaml-language-server: $schema=/there/schema.json\n')
