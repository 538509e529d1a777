"""The same flat and robot for Gazebo: world, bridge and map, made of ``sim/world.py``.

Run as ``python -m nemotron_ros.sim.gazebo_world FOLDER [RELEASE]`` it writes them for a look.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import yaml

from nemotron_ros.sim.floor_map import write_map
from nemotron_ros.sim.robot import (
    ACCELERATION_MPS2,
    BEAMS,
    MAX_RANGE_M,
    SCAN_HEIGHT_M,
    TRACK_M,
    TURN_ACCELERATION_RADPS2,
    WHEEL_RADIUS_M,
)
from nemotron_ros.sim.velocity import MAX_SPEED_MPS, MAX_TURN_RADPS
from nemotron_ros.sim.world import GRIPPER_M, ROBOT_RADIUS_M, Box, Thing, World, flat

WORLD, ROBOT = 'flat', 'robot'
BODY_BOTTOM_M, BODY_TOP_M = 0.03, 0.2
"""The body is lower than the laser, which would see it otherwise."""
FINGER_OPEN_M, FINGER_TRAVEL_M = 0.1, 0.06


@dataclass(frozen=True)
class Release:
    """How a release of Gazebo names things, and whether its gripper can take hold again."""

    program: tuple[str, ...]
    prefix: str
    cpp: str
    grasps: bool = True


RELEASES = {
    'fortress': Release(('ign', 'gazebo'), 'ignition', 'ignition::gazebo', grasps=False),
    'harmonic': Release(('gz', 'sim'), 'gz', 'gz::sim'),
    'ionic': Release(('gz', 'sim'), 'gz', 'gz::sim'),
}
OF_ROS = {'humble': 'fortress', 'jazzy': 'harmonic', 'kilted': 'ionic'}


@dataclass(frozen=True)
class Files:
    """What Gazebo, its bridge and Nav2 are started with."""

    world: Path
    bridge: Path
    map: Path


def write(folder: Path, release: str, world: World | None = None) -> Files:
    """Write everything into a folder.

    :param release: a name of ``RELEASES``.
    :raise OSError: if it can't be written.
    """
    world = world or flat()
    files = Files(folder / 'flat.sdf', folder / 'bridge.yaml', folder / 'map.yaml')
    folder.mkdir(parents=True, exist_ok=True)
    files.world.write_text(sdf(world, RELEASES[release]))
    files.bridge.write_text(yaml.safe_dump(bridge(world, RELEASES[release]), sort_keys=False))
    write_map(folder, world)
    return files


def bridge(world: World, release: Release) -> list[dict[str, str]]:
    """Return the configuration of ``ros_gz_bridge``: what goes which way, as what.

    Names of ROS are relative, so that they follow the namespace of the bridge; but /clock.
    """
    rows = [
        ('/clock', '/clock', 'rosgraph_msgs/msg/Clock', 'Clock', 'GZ_TO_ROS'),
        ('base/odom', '/base/odom', 'nav_msgs/msg/Odometry', 'Odometry', 'GZ_TO_ROS'),
        ('base/scan', '/base/scan', 'sensor_msgs/msg/LaserScan', 'LaserScan', 'GZ_TO_ROS'),
        ('camera/image', '/camera/image', 'sensor_msgs/msg/Image', 'Image', 'GZ_TO_ROS'),
        (
            'camera/camera_info',
            '/camera/camera_info',
            'sensor_msgs/msg/CameraInfo',
            'CameraInfo',
            'GZ_TO_ROS',
        ),
        ('base/cmd_vel', '/base/cmd_vel', 'geometry_msgs/msg/Twist', 'Twist', 'ROS_TO_GZ'),
        ('base/fingers', '/base/fingers', 'std_msgs/msg/Float64', 'Double', 'ROS_TO_GZ'),
    ]
    for thing in world.things:
        for verb, kind, gz_kind, way in (
            ('grasp', 'Empty', 'Empty', 'ROS_TO_GZ'),
            ('release', 'Empty', 'Empty', 'ROS_TO_GZ'),
            ('state', 'String', 'StringMsg', 'GZ_TO_ROS'),
        ):
            name = f'base/{verb}/{thing.name}'
            rows.append((name, f'/{name}', f'std_msgs/msg/{kind}', gz_kind, way))
    return [
        {
            'ros_topic_name': ros,
            'gz_topic_name': gz,
            'ros_type_name': ros_type,
            'gz_type_name': f'{release.prefix}.msgs.{gz_type}',
            'direction': direction,
        }
        for ros, gz, ros_type, gz_type, direction in rows
    ]


def sdf(world: World, release: Release) -> str:
    """Return the world, the robot in it."""
    parts = [
        f'<?xml version="1.0"?>\n<sdf version="1.9">\n<world name="{WORLD}">',
        '<physics name="5ms" type="ode"><max_step_size>0.005</max_step_size>'
        '<real_time_factor>1</real_time_factor></physics>',
        *(
            _plugin(release, kind, name, inner)
            for kind, name, inner in (
                ('physics', 'Physics', ''),
                ('user-commands', 'UserCommands', ''),
                ('scene-broadcaster', 'SceneBroadcaster', ''),
                ('sensors', 'Sensors', '<render_engine>ogre2</render_engine>'),
            )
        ),
        '<light type="directional" name="sun"><pose>0 0 10 0 0 0</pose>'
        '<direction>-0.4 0.2 -0.9</direction><cast_shadows>false</cast_shadows></light>',
        '<model name="floor"><static>true</static><link name="link">'
        + _solid('floor', f'<plane><normal>0 0 1</normal><size>{2 * world.half_x} '
                 f'{2 * world.half_y}</size></plane>', (244, 239, 230))
        + '</link></model>',
        *(_box(box) for box in (*world.walls, *world.furniture)),
        *(_thing(thing) for thing in world.things),
        _robot(world, release),
        '</world>\n</sdf>\n',
    ]  # fmt: skip
    return '\n'.join(parts)


def _plugin(release: Release, kind: str, name: str, inner: str) -> str:
    library = f'{"-".join((release.prefix, release.cpp.split("::")[-1], kind))}-system'
    return f'<plugin filename="{library}" name="{release.cpp}::systems::{name}">{inner}</plugin>'


def _colour(colour: tuple[int, int, int]) -> str:
    text = ' '.join(f'{part / 255:.3f}' for part in colour)
    return f'<material><ambient>{text} 1</ambient><diffuse>{text} 1</diffuse></material>'


def _solid(name: str, shape: str, colour: tuple[int, int, int], pose: str = '') -> str:
    where = f'<pose>{pose}</pose>' if pose else ''
    geometry = f'{where}<geometry>{shape}</geometry>'
    return (
        f'<collision name={quoteattr(name)}>{geometry}</collision>'
        f'<visual name={quoteattr(name)}>{geometry}{_colour(colour)}</visual>'
    )


def _box(box: Box) -> str:
    shape = f'<box><size>{2 * box.half_x} {2 * box.half_y} {box.height}</size></box>'
    return (
        f'<model name={quoteattr(box.name)}><static>true</static>'
        f'<pose>{box.x} {box.y} {box.height / 2} 0 0 0</pose>'
        f'<link name="link">{_solid(box.name, shape, box.colour)}</link></model>'
    )


def _thing(thing: Thing) -> str:
    size = thing.size
    shape = {
        'box': lambda: f'<box><size>{" ".join(str(2 * half) for half in size)}</size></box>',
        'sphere': lambda: f'<sphere><radius>{size[0]}</radius></sphere>',
        'cylinder': lambda: (
            f'<cylinder><radius>{size[0]}</radius><length>{2 * size[1]}</length></cylinder>'
        ),
    }[thing.shape]()
    return (
        f'<model name={quoteattr(thing.name)}><pose>{thing.x} {thing.y} {size[-1]} 0 0 0</pose>'
        f'<link name="link">{_inertial(0.2, 0.05)}{_solid(thing.name, shape, thing.colour)}'
        '</link></model>'
    )


def _inertial(mass_kg: float, radius_m: float) -> str:
    """Return the inertia of a ball, which is near enough for what is round and small."""
    inertia = 0.4 * mass_kg * radius_m**2
    return (
        f'<inertial><mass>{mass_kg}</mass><inertia><ixx>{inertia:.3e}</ixx>'
        f'<iyy>{inertia:.3e}</iyy><izz>{inertia:.3e}</izz></inertia></inertial>'
    )


def _robot(world: World, release: Release) -> str:
    start = world.start
    return ''.join(
        (
            f'<model name="{ROBOT}"><pose>{start.x} {start.y} 0 0 0 {start.yaw}</pose>',
            '<link name="base_link">',
            *_body(),
            *_sensors(release),
            '</link>',
            *_wheels(),
            *_gripper(),
            *_robot_plugins(world, release),
            '</model>',
        )
    )


def _body() -> Iterator[str]:
    height_m = BODY_TOP_M - BODY_BOTTOM_M
    middle_m = (BODY_TOP_M + BODY_BOTTOM_M) / 2
    yield (
        f'<inertial><pose>0 0 {middle_m} 0 0 0</pose><mass>12</mass><inertia><ixx>0.15</ixx>'
        '<iyy>0.15</iyy><izz>0.24</izz></inertia></inertial>'
    )
    yield _solid(
        'base',
        f'<cylinder><radius>{ROBOT_RADIUS_M}</radius><length>{height_m}</length></cylinder>',
        (118, 185, 0),
        f'0 0 {middle_m} 0 0 0',
    )
    slides = '<surface><friction><ode><mu>0</mu><mu2>0</mu2></ode></friction></surface>'
    for name, x in (('front_caster', 0.15), ('rear_caster', -0.15)):
        yield (
            f'<collision name="{name}"><pose>{x} 0 0.02 0 0 0</pose><geometry><sphere>'
            f'<radius>0.02</radius></sphere></geometry>{slides}</collision>'
        )


def _sensors(release: Release) -> Iterator[str]:
    last = math.pi - math.tau / BEAMS
    yield (
        f'<sensor name="laser" type="gpu_lidar"><pose>0 0 {SCAN_HEIGHT_M} 0 0 0</pose>'
        f'<topic>/base/scan</topic><{release.prefix}_frame_id>laser</{release.prefix}_frame_id>'
        '<update_rate>10</update_rate><always_on>true</always_on><lidar><scan><horizontal>'
        f'<samples>{BEAMS}</samples><min_angle>{-math.pi}</min_angle>'
        f'<max_angle>{last}</max_angle></horizontal></scan>'
        f'<range><min>0.05</min><max>{MAX_RANGE_M}</max></range></lidar></sensor>'
    )
    yield (
        f'<sensor name="camera" type="camera"><pose>{ROBOT_RADIUS_M} 0 0.18 0 0 0</pose>'
        f'<topic>/camera/image</topic><{release.prefix}_frame_id>camera</{release.prefix}'
        '_frame_id><update_rate>10</update_rate><always_on>true</always_on><camera>'
        '<horizontal_fov>1.2</horizontal_fov><image><width>320</width><height>240</height>'
        '</image><clip><near>0.02</near><far>12</far></clip></camera></sensor>'
    )


def _wheels() -> Iterator[str]:
    shape = f'<cylinder><radius>{WHEEL_RADIUS_M}</radius><length>0.03</length></cylinder>'
    for name, y in (('left_wheel', TRACK_M / 2), ('right_wheel', -TRACK_M / 2)):
        yield (
            f'<link name="{name}"><pose>0 {y} {WHEEL_RADIUS_M} {-math.pi / 2} 0 0</pose>'
            f'{_inertial(0.4, WHEEL_RADIUS_M)}{_solid(name, shape, (40, 40, 40))}</link>'
            f'<joint name="{name}" type="revolute"><parent>base_link</parent><child>{name}'
            '</child><axis><xyz>0 0 1</xyz><limit><lower>-1e16</lower><upper>1e16</upper>'
            '</limit></axis></joint>'
        )


def _gripper() -> Iterator[str]:
    """Yield two fingers that close; what holds a thing is a joint that is made and undone."""
    for name, side in (('left_finger', 1), ('right_finger', -1)):
        yield (
            f'<link name="{name}"><pose>{GRIPPER_M} {side * FINGER_OPEN_M} 0.08 0 0 0</pose>'
            f'{_inertial(0.05, 0.04)}<visual name="{name}"><geometry><box><size>0.1 0.02 0.06'
            f'</size></box></geometry>{_colour((60, 60, 60))}</visual></link>'
            f'<joint name="{name}" type="prismatic"><parent>base_link</parent><child>{name}'
            f'</child><axis><xyz>0 {-side} 0</xyz><limit><lower>0</lower><upper>'
            f'{FINGER_TRAVEL_M}</upper><effort>5</effort></limit></axis></joint>'
        )


def _robot_plugins(world: World, release: Release) -> Iterator[str]:
    yield _plugin(
        release,
        'diff-drive',
        'DiffDrive',
        '<left_joint>left_wheel</left_joint><right_joint>right_wheel</right_joint>'
        f'<wheel_separation>{TRACK_M}</wheel_separation>'
        f'<wheel_radius>{WHEEL_RADIUS_M}</wheel_radius><topic>/base/cmd_vel</topic>'
        '<odom_topic>/base/wheel_odom</odom_topic><tf_topic>/base/wheel_tf</tf_topic>'
        f'<max_linear_velocity>{MAX_SPEED_MPS}</max_linear_velocity>'
        f'<min_linear_velocity>{-MAX_SPEED_MPS}</min_linear_velocity>'
        f'<max_angular_velocity>{MAX_TURN_RADPS}</max_angular_velocity>'
        f'<min_angular_velocity>{-MAX_TURN_RADPS}</min_angular_velocity>'
        f'<max_linear_acceleration>{ACCELERATION_MPS2}</max_linear_acceleration>'
        f'<min_linear_acceleration>{-ACCELERATION_MPS2}</min_linear_acceleration>'
        f'<max_angular_acceleration>{TURN_ACCELERATION_RADPS2}</max_angular_acceleration>'
        f'<min_angular_acceleration>{-TURN_ACCELERATION_RADPS2}</min_angular_acceleration>',
    )
    # Not the wheels' odometry, which begins at zero: the flat's frame, as the places are in.
    yield _plugin(
        release,
        'odometry-publisher',
        'OdometryPublisher',
        '<odom_frame>odom</odom_frame><robot_base_frame>base_link</robot_base_frame>'
        '<odom_topic>/base/odom</odom_topic><tf_topic>/base/tf</tf_topic>'
        '<odom_publish_frequency>50</odom_publish_frequency><dimensions>2</dimensions>',
    )
    for name in ('left_finger', 'right_finger'):
        yield _plugin(
            release,
            'joint-position-controller',
            'JointPositionController',
            f'<joint_name>{name}</joint_name><topic>/base/fingers</topic>'
            '<p_gain>40</p_gain><d_gain>2</d_gain><cmd_max>5</cmd_max><cmd_min>-5</cmd_min>',
        )
    for thing in world.things:
        yield _plugin(
            release,
            'detachable-joint',
            'DetachableJoint',
            f'<parent_link>base_link</parent_link><child_model>{thing.name}</child_model>'
            f'<child_link>link</child_link><detach_topic>/base/release/{thing.name}'
            f'</detach_topic><attach_topic>/base/grasp/{thing.name}</attach_topic>'
            f'<output_topic>/base/state/{thing.name}</output_topic>'
            # The releases before re-attaching know one topic, by this name.
            f'<topic>/base/release/{thing.name}</topic>',
        )


if __name__ == '__main__':
    write(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else 'harmonic')
