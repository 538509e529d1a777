"""The layouts of RViz and Foxglove show what there is: held against the running simulation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nav_msgs.msg import Odometry
from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from ros_context import Ros
from scripted_node import active_node
from sensor_msgs.msg import LaserScan

from nemotron_ros.bringup import config_path
from nemotron_ros.markers.ground import ground_of
from nemotron_ros.sim.gazebo_world import RELEASES, bridge
from nemotron_ros.sim.node import HeadlessRobot
from nemotron_ros.sim.world import flat
from nemotron_ros.tools.tool_file import load

TOOLS = config_path('tools', 'headless_robot.yaml')
# What each kind of display, and each kind of panel, can show.
SHOWN_BY = {
    'rviz_default_plugins/MarkerArray': 'visualization_msgs/msg/MarkerArray',
    'rviz_default_plugins/LaserScan': 'sensor_msgs/msg/LaserScan',
    'rviz_default_plugins/Odometry': 'nav_msgs/msg/Odometry',
    'rviz_default_plugins/Image': 'sensor_msgs/msg/Image',
    'Image': 'sensor_msgs/msg/Image',
    'DiagnosticSummary': 'diagnostic_msgs/msg/DiagnosticArray',
}
IN_THE_WORLD = {
    'visualization_msgs/msg/MarkerArray',
    'sensor_msgs/msg/LaserScan',
    'nav_msgs/msg/Odometry',
}
WITHOUT_TOPIC = {'rviz_default_plugins/Grid', 'rviz_default_plugins/TF'}


@pytest.fixture(scope='module')
def running() -> Iterator[SimpleNamespace]:
    """Give the topics, services and frames of the simulated robot and its node."""
    ros = Ros()
    ros.add(HeadlessRobot(context=ros.context))
    active_node(ros, tool_file=str(TOOLS))
    looker = ros.node('looker')
    frames: set[str] = set()

    def take(message: Any) -> None:
        frames.update({message.header.frame_id, getattr(message, 'child_frame_id', '')} - {''})

    looker.create_subscription(Odometry, 'odom', take, 10)
    looker.create_subscription(LaserScan, 'scan', take, qos_profile_sensor_data)
    yield SimpleNamespace(looker=looker, frames=frames)
    ros.close()


@pytest.fixture(scope='module')
def rviz() -> dict[str, Any]:
    """Give RViz's layout."""
    return yaml.safe_load(config_path('nemotron.rviz').read_text())['Visualization Manager']


@pytest.fixture(scope='module')
def foxglove() -> dict[str, Any]:
    """Give Foxglove's layout."""
    return json.loads(config_path('foxglove', 'nemotron.json').read_text())


def topics(running: SimpleNamespace) -> dict[str, set[str]]:
    """Return every topic that somebody publishes, with its types; the camera is Gazebo's."""
    looker = running.looker
    found = {
        name: set(types)
        for name, types in looker.get_topic_names_and_types()
        if looker.count_publishers(name)
    }
    for row in bridge(flat(), next(iter(RELEASES.values()))):
        if row['direction'] == 'GZ_TO_ROS':
            found.setdefault(f'/{row["ros_topic_name"].lstrip("/")}', {row['ros_type_name']})
    return found


def shown_by_rviz(rviz: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what is shown: the topic, its type, and the reliability that is asked for."""
    return {
        f'/{display["Topic"]["Value"]}': (
            SHOWN_BY[display['Class']],
            display['Topic']['Reliability Policy'],
        )
        for display in rviz['Displays']
        if display['Class'] not in WITHOUT_TOPIC
    }


def shown_by_foxglove(foxglove: dict[str, Any]) -> dict[str, str]:
    """Return what is shown, with the type that the panel can show; empty: any."""
    found = {}
    for name, panel in foxglove['configById'].items():
        kind = name.partition('!')[0]
        if kind == '3D':
            found |= dict.fromkeys(panel['topics'], 'in the world')
        elif kind == 'Image':
            found[panel['imageMode']['imageTopic']] = SHOWN_BY[kind]
        elif kind == 'DiagnosticSummary':
            found[panel['topicToRender']] = SHOWN_BY[kind]
        elif kind == 'RawMessages':
            found[panel['topicPath']] = ''
        else:
            assert kind == 'CallService', kind
    return found


def places(layout: Any) -> Iterator[str]:
    """Yield the panels that have a place on the screen."""
    if isinstance(layout, str):
        yield layout
        return
    assert layout['direction'] in ('row', 'column')
    assert 0 < layout['splitPercentage'] < 100
    yield from places(layout['first'])
    yield from places(layout['second'])


def test_rviz_shows_topics_that_exist(running, rviz, eventually):
    shown = shown_by_rviz(rviz)
    assert {'/nemotron/markers', '/scan', '/odom', '/camera/image'} == set(shown)
    eventually(lambda: set(shown) <= set(topics(running)), 10.0)
    there = topics(running)
    assert {name: there[name] for name in shown} == {
        name: {kind} for name, (kind, _) in shown.items()
    }


def test_rviz_asks_for_no_more_than_is_offered(running, rviz):
    for name, (_, reliability) in shown_by_rviz(rviz).items():
        for info in running.looker.get_publishers_info_by_topic(name):
            if info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT:
                assert reliability == 'Best Effort', name


def test_foxglove_shows_topics_that_exist(running, foxglove, eventually):
    shown = shown_by_foxglove(foxglove)
    assert {'/nemotron/markers', '/scan', '/odom', '/camera/image', '/nemotron/events'} <= set(
        shown
    )
    eventually(lambda: set(shown) <= set(topics(running)), 10.0)
    there = topics(running)
    for name, kind in shown.items():
        if kind == 'in the world':
            assert there[name] <= IN_THE_WORLD, name
        elif kind:
            assert there[name] == {kind}, name


def test_foxgloves_button_stops(running, foxglove, eventually):
    (button,) = (p for name, p in foxglove['configById'].items() if name.startswith('CallService'))
    services = dict(running.looker.get_service_names_and_types())
    assert services[button['serviceName']] == ['std_srvs/srv/Trigger']
    assert json.loads(button['requestPayload']) == {}


def test_foxglove_has_a_place_for_every_panel(foxglove):
    assert sorted(places(foxglove['layout'])) == sorted(foxglove['configById'])


def test_the_world_is_drawn_in_frames_that_exist(running, rviz, foxglove, eventually):
    eventually(lambda: running.frames >= {'odom', 'base_link', 'laser'}, 10.0)
    ground = ground_of(load(TOOLS))
    drawn_in = {ground.robot_frame, ground.fence.frame, *(place.frame for place in ground.places)}
    fixed = {rviz['Global Options']['Fixed Frame'], foxglove['configById']['3D!world']['followTf']}
    assert drawn_in | fixed <= running.frames


def test_nothing_in_them_sends_the_robot_past_the_guard(rviz, foxglove):
    """A goal that a person clicks would reach the robot without the tool file's rules."""
    tools = {tool['Class'].rpartition('/')[2] for tool in rviz['Tools']}
    assert tools <= {'Interact', 'MoveCamera', 'FocusCamera', 'Measure'}
    kinds = {name.partition('!')[0] for name in foxglove['configById']}
    assert kinds.isdisjoint({'Publish', 'Teleop'})
    heard = {'goal_pose', 'cmd_vel', 'pick_object', 'speech', 'initialpose'}
    published = foxglove['configById']['3D!world']['publish']
    named = {value.strip('/') for value in published.values() if isinstance(value, str)}
    assert named.isdisjoint(heard)
