"""What tools read beside a topic's latest message, on real DDS."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import BatteryState, Image, LaserScan
from std_msgs.msg import Header

from nemotron_ros.bridge.check import check
from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.bridge.uses import Needs, uses
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load

TOOLS = """
robot: bench
tools:
  speed:
    description: Top speed.
    read: {parameter: {node: /controller, name: max.speed}, timeout_s: 3}
  speed_in_kmh:
    description: Top speed in kilometres an hour.
    read: {parameter: {node: /controller, name: max.speed}, value: "{{ parameter * 3.6 }}"}
  frames:
    description: Names.
    read: {parameter: {node: /controller, name: frames}}
  nothing:
    description: No such parameter.
    read: {parameter: {node: /controller, name: min.speed}}
  around:
    description: What is around.
    read: {scan: {topic: scan}, max_age_s: 1}
  is_free:
    description: Whether there is room in a direction.
    parameters: {direction: {enum: [front, left, back, right]}}
    read: {scan: {topic: scan}, max_age_s: 1,
           value: "{{ direction not in unseen and sectors[direction] is none }}"}
  camera:
    description: Camera.
    read: {image: {topic: image}, max_age_s: 1}
  status:
    description: Everything.
    read:
      several:
        charge: {topic: battery, type: sensor_msgs/msg/BatteryState,
                 value: "{{ percentage * 100 }}", max_age_s: 1}
        camera: {image: {topic: image}, value: "{{ brightness }}", max_age_s: 1}
"""
TRANSFORM_TOOLS = """
  place:
    description: Where the robot is.
    read: {transform: {target: map, source: base}, max_age_s: 0.5}
  height:
    description: How high the camera is.
    read: {transform: {target: base, source: camera}, value: "{{ translation.z }}"}
"""


class Bench:
    """A tool file that is run."""

    def __init__(self, ros, path: Path, text: str) -> None:
        path.write_text(text)
        self.tool_file = load(path)
        self.executor = RosExecutor(ros.node('bridge'), self.tool_file)
        self._dispatcher = Dispatcher(self.tool_file, Guard(self.tool_file), self.executor)

    def run(self, name: str, timeout_s: float = 8.0, **arguments: object):
        call = ToolCall('1', name, arguments)
        tools = frozenset(self.tool_file.tools)
        return self._dispatcher.run(call, tools, CancelToken(timeout_s))


@pytest.fixture
def bench(ros, tmp_path):
    """Give the tools that read."""
    it = Bench(ros, tmp_path / 'tools.yaml', TOOLS)
    yield it
    it.executor.close()


def test_the_file_fits_the_types_and_tells_what_it_reaches_for(bench):
    assert check(bench.tool_file) == []
    found = {use.path: (use.needs, use.name) for use in uses(bench.tool_file)}
    parameter = (Needs.SERVICE, '/controller/get_parameters')
    assert found['tools.speed.read.parameter.node'] == parameter
    assert found['tools.around.read.scan.topic'] == (Needs.PUBLISHER, 'scan')
    assert found['tools.status.read.several.camera.image.topic'] == (Needs.PUBLISHER, 'image')


def test_parameter_of_another_node(ros, bench):
    node = ros.node('controller')
    node.declare_parameter('max.speed', 0.5)
    node.declare_parameter('frames', ['map', 'odom'])
    for name, value in (('speed', 0.5), ('speed_in_kmh', 1.8), ('frames', ['map', 'odom'])):
        result = bench.run(name)
        assert (result.status, result.value) == (Status.SUCCEEDED, value), result.error
    missing = bench.run('nothing')
    assert missing.status is Status.FAILED
    assert missing.error == "/controller has no parameter 'min.speed'"


def test_parameter_of_a_node_that_is_not_there(bench):
    result = bench.run('speed', 1.0)
    assert result.status is Status.FAILED
    assert 'no node /controller' in result.error


def scan(*ranges: float) -> LaserScan:
    return LaserScan(
        angle_min=0.0, angle_increment=math.pi / 2, range_min=0.1, range_max=8.0, ranges=ranges
    )


def test_scan_in_words_and_numbers(ros, bench):
    node = ros.node('laser')
    publisher = node.create_publisher(LaserScan, 'scan', qos_profile_sensor_data)
    node.create_timer(0.05, lambda: publisher.publish(scan(2.0, 0.75, math.inf)))
    result = bench.run('around')
    assert (result.status, result.value) == (
        Status.SUCCEEDED,
        {
            'nearest_m': 0.75,
            'bearing_deg': 90.0,
            'direction': 'left',
            'sectors': {'front': 2.0, 'left': 0.75, 'back': None},
            'unseen': ['right'],
        },
    )
    free = {d: bench.run('is_free', direction=d).value for d in ('front', 'back', 'right')}
    assert free == {'front': False, 'back': True, 'right': False}


def test_scan_without_a_valid_reading_is_a_failure(ros, bench):
    node = ros.node('laser')
    publisher = node.create_publisher(LaserScan, 'scan', qos_profile_sensor_data)
    node.create_timer(0.05, lambda: publisher.publish(scan(math.nan, 0.0)))
    result = bench.run('around')
    assert (result.status, result.error) == (
        Status.FAILED,
        'scan: the scan has no valid reading',
    )


def camera(ros) -> None:
    """Publish a white image again and again."""
    node = ros.node('camera')
    publisher = node.create_publisher(Image, 'image', qos_profile_sensor_data)
    white = np.full(6 * 4 * 3, 255, np.uint8).tobytes()
    image = Image(width=6, height=4, step=18, encoding='rgb8', data=white)
    node.create_timer(0.05, lambda: publisher.publish(image))


def test_image_in_numbers(ros, bench):
    camera(ros)
    result = bench.run('camera')
    assert (result.status, result.value) == (
        Status.SUCCEEDED,
        {'width': 6, 'height': 4, 'encoding': 'rgb8', 'brightness': 100.0},
    )


def test_several_values_in_one_answer(ros, bench):
    camera(ros)
    node = ros.node('battery')
    publisher = node.create_publisher(BatteryState, 'battery', 1)
    timer = node.create_timer(0.05, lambda: publisher.publish(BatteryState(percentage=0.5)))
    result = bench.run('status')
    assert (result.status, result.value) == (
        Status.SUCCEEDED,
        {'charge': 50.0, 'camera': 100.0},
    )
    timer.cancel()
    CancelToken().wait(1.1)
    partly = bench.run('status')
    assert (partly.status, partly.value) == (Status.FAILED, {'camera': 100.0})
    assert partly.error.startswith('charge: battery: the last message is ')


def stamped(parent: str, child: str, x: float, yaw_rad: float = 0.0, z: float = 0.0):
    return TransformStamped(
        header=Header(frame_id=parent),
        child_frame_id=child,
        transform=Transform(
            translation=Vector3(x=x, z=z),
            rotation=Quaternion(z=math.sin(yaw_rad / 2), w=math.cos(yaw_rad / 2)),
        ),
    )


def test_where_frames_are(ros, tmp_path):
    messages = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is not installed')
    node = ros.node('localization')
    fixed = node.create_publisher(
        messages.TFMessage,
        '/tf_static',
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    fixed.publish(messages.TFMessage(transforms=[stamped('base', 'camera', 0.1, z=0.4)]))
    moving = node.create_publisher(messages.TFMessage, '/tf', 100)
    links = [stamped('map', 'odom', 1.0, math.pi / 2), stamped('odom', 'base', 2.0)]
    timer = node.create_timer(0.05, lambda: moving.publish(messages.TFMessage(transforms=links)))
    bench = Bench(ros, tmp_path / 'tools.yaml', TOOLS + TRANSFORM_TOOLS)
    place = bench.run('place')
    assert (place.status, place.value) == (
        Status.SUCCEEDED,
        {'x_m': 1.0, 'y_m': 2.0, 'z_m': 0.0, 'yaw_deg': 90.0},
    )
    timer.cancel()
    CancelToken().wait(0.6)
    old = bench.run('place')
    assert old.status is Status.FAILED
    assert 'base in map was last told' in old.error
    assert bench.run('height').value == pytest.approx(0.4)  # what is fixed does not grow old
    bench.executor.close()
