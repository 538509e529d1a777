"""Gazebo's flat is the headless robot's: held against MuJoCo, the tool file and ROS."""

from __future__ import annotations

import importlib
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip('mujoco', reason='mujoco, which knows the flat, is not there')

import mujoco

from nemotron_ros.sim.gazebo_world import (
    BODY_TOP_M,
    OF_ROS,
    RELEASES,
    Files,
    bridge,
    sdf,
    write,
)
from nemotron_ros.sim.robot import BEAMS, MAX_RANGE_M, SCAN_HEIGHT_M, Robot
from nemotron_ros.sim.world import ROBOT_RADIUS_M, flat, mjcf

# From the table of ros_gz_bridge's README: what it turns into what.
BRIDGED = {
    'rosgraph_msgs/msg/Clock': 'Clock',
    'nav_msgs/msg/Odometry': 'Odometry',
    'sensor_msgs/msg/LaserScan': 'LaserScan',
    'sensor_msgs/msg/Image': 'Image',
    'sensor_msgs/msg/CameraInfo': 'CameraInfo',
    'geometry_msgs/msg/Twist': 'Twist',
    'std_msgs/msg/Float64': 'Double',
    'std_msgs/msg/Empty': 'Empty',
    'std_msgs/msg/String': 'StringMsg',
}
# The systems of Gazebo that are loaded, and how the releases name their libraries and classes.
SYSTEMS = {
    'Physics',
    'UserCommands',
    'SceneBroadcaster',
    'Sensors',
    'DiffDrive',
    'OdometryPublisher',
    'JointPositionController',
    'DetachableJoint',
}
PLUGINS = {
    'fortress': ('ignition-gazebo-{}-system', 'ignition::gazebo::systems::{}'),
    'harmonic': ('gz-sim-{}-system', 'gz::sim::systems::{}'),
    'ionic': ('gz-sim-{}-system', 'gz::sim::systems::{}'),
}


def numbers(element: ElementTree.Element | None) -> list[float]:
    assert element is not None
    assert element.text is not None
    return [float(part) for part in element.text.split()]


def world_of(release: str = 'harmonic') -> ElementTree.Element:
    world = ElementTree.fromstring(sdf(flat(), RELEASES[release])).find('world')
    assert world is not None
    return world


def models(world: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {model.attrib['name']: model for model in world.findall('model')}


def test_every_box_is_where_mujoco_has_it() -> None:
    physics = mujoco.MjModel.from_xml_string(mjcf(flat()))
    found = models(world_of())
    boxes = (*flat().walls, *flat().furniture)
    assert set(found) == {'floor', 'robot', *(b.name for b in boxes)} | {
        thing.name for thing in flat().things
    }
    for box in boxes:
        geom = physics.geom(box.name)
        model = found[box.name]
        assert numbers(model.find('pose'))[:3] == pytest.approx(geom.pos)
        for part in ('collision', 'visual'):
            size = numbers(model.find(f'link/{part}/geometry/box/size'))
            assert size == pytest.approx(2 * geom.size)
        assert model.findtext('static') == 'true'


def test_things_and_robot_begin_where_mujoco_has_them() -> None:
    robot = Robot()
    found = models(world_of())
    for thing in flat().things:
        body = robot._data.body(thing.name)
        assert numbers(found[thing.name].find('pose'))[:3] == pytest.approx(body.xpos, abs=1e-3)
        assert found[thing.name].find('static') is None
    x, y, _, _, _, yaw = numbers(found['robot'].find('pose'))
    assert (x, y, yaw) == pytest.approx((robot.pose.x, robot.pose.y, robot.pose.yaw))


def test_the_robot_is_as_wide_and_sees_as_far() -> None:
    robot = models(world_of())['robot']
    base = robot.find("link[@name='base_link']")
    assert base is not None
    radius = numbers(base.find("collision[@name='base']/geometry/cylinder/radius"))
    assert radius == [ROBOT_RADIUS_M]
    laser = base.find("sensor[@type='gpu_lidar']")
    assert laser is not None
    assert numbers(laser.find('pose'))[2] == SCAN_HEIGHT_M > BODY_TOP_M
    scan = laser.find('lidar/scan/horizontal')
    assert scan is not None
    first, last = numbers(scan.find('min_angle')), numbers(scan.find('max_angle'))
    angles = np.linspace(first[0], last[0], int(scan.findtext('samples') or 0))
    assert angles == pytest.approx(np.linspace(-math.pi, math.pi, BEAMS, endpoint=False))
    assert numbers(laser.find('lidar/range/max')) == [MAX_RANGE_M]


@pytest.mark.parametrize('release', RELEASES)
def test_names_hold_together(release: str) -> None:
    world = world_of(release)
    robot = models(world)['robot']
    links = {link.attrib['name'] for link in robot.findall('link')}
    joints = {joint.attrib['name'] for joint in robot.findall('joint')}
    for joint in robot.findall('joint'):
        assert {joint.findtext('parent'), joint.findtext('child')} <= links
    plugins = [*world.findall('plugin'), *robot.findall('plugin')]
    library, name = PLUGINS[release]
    assert {(plugin.attrib['filename'], plugin.attrib['name']) for plugin in plugins} == {
        (library.format(re.sub(r'(?<!^)(?=[A-Z])', '-', system).lower()), name.format(system))
        for system in SYSTEMS
    }
    for plugin in robot.findall('plugin'):
        for tag in ('left_joint', 'right_joint', 'joint_name'):
            assert plugin.findtext(tag) in {None, *joints}
        assert plugin.findtext('child_model') in {None, *models(world)}
    frame = {'fortress': 'ignition_frame_id'}.get(release, 'gz_frame_id')
    assert {sensor.findtext(frame) for sensor in robot.iter('sensor')} == {'laser', 'camera'}


@pytest.mark.parametrize('release', RELEASES)
def test_the_bridge_joins_topics_that_are_there(release: str) -> None:
    robot = models(world_of(release))['robot']
    told = {
        element.text
        for element in robot.iter()
        if element.tag == 'topic' or element.tag.endswith('_topic')
    }
    prefix = {'fortress': 'ignition.msgs.'}.get(release, 'gz.msgs.')
    rows = bridge(flat(), RELEASES[release])
    assert len({row['ros_topic_name'] for row in rows}) == len(rows)
    for row in rows:
        assert row['gz_type_name'] == prefix + BRIDGED[row['ros_type_name']]
        # The clock is the world's own; camera_info goes beside its image.
        if row['gz_topic_name'] not in ('/clock', '/camera/camera_info'):
            assert row['gz_topic_name'] in told


def topics(part: object) -> Iterator[tuple[str, str]]:
    """Yield every topic that a tool file names, with its type."""
    if isinstance(part, dict):
        name, kind = part.get('name', part.get('topic')), part.get('type', '')
        if isinstance(name, str) and '/msg/' in kind:
            yield name, kind
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for one in inner:
        yield from topics(one)


def test_the_types_of_the_bridge_are_those_of_the_node() -> None:
    pytest.importorskip('rclpy', reason='ROS is not here')
    import rclpy

    from nemotron_ros.sim.gazebo_robot import GazeboRobot

    context = rclpy.Context()
    context.init(args=None)
    node = GazeboRobot(context=context)
    try:
        there = dict(node.get_topic_names_and_types())
        for row in bridge(flat(), RELEASES['harmonic']):
            name = f'/{row["ros_topic_name"].lstrip("/")}'
            package, _, kind = row['ros_type_name'].split('/')
            assert hasattr(importlib.import_module(f'{package}.msg'), kind)
            if name.startswith('/base/'):
                assert there[name] == [row['ros_type_name']]
        path = Path(__file__).resolve().parents[2] / 'config/tools/headless_robot.yaml'
        named = set(topics(yaml.safe_load(path.read_text())))
        assert ('cmd_vel', 'geometry_msgs/msg/Twist') in named
        assert len(named) > 6
        assert [(name, kind) for name, kind in named if there.get(f'/{name}') != [kind]] == []
    finally:
        node.destroy_node()
        context.try_shutdown()


@pytest.mark.parametrize('release', RELEASES)
def test_what_is_written_can_be_read(tmp_path: Path, release: str) -> None:
    files: Files = write(tmp_path / 'a folder', release)
    ElementTree.parse(files.world)
    assert yaml.safe_load(files.bridge.read_text()) == bridge(flat(), RELEASES[release])


def test_each_ros_has_a_release() -> None:
    assert set(OF_ROS.values()) == set(RELEASES)
