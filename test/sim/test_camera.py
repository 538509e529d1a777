"""The camera: it sees what is before the robot, where EGL is; where it is not it says so."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from flat_robot import move, robot_at
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_context import Ros
from sensor_msgs.msg import CameraInfo, Image

from nemotron_ros.bridge.image_summary import summarize
from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.sim.camera import HEIGHT_PX, WIDTH_PX, Camera, CameraError
from nemotron_ros.sim.node import HeadlessRobot
from nemotron_ros.sim.robot import Robot
from nemotron_ros.sim.world import CAMERA_FOV_RAD, SOLE_ROBOT


def camera_of(robot: Robot) -> Camera:
    """Return its camera, or skip where there is no EGL."""
    try:
        return Camera(robot.physics, SOLE_ROBOT)
    except CameraError as error:
        pytest.skip(str(error))


@pytest.fixture
def look() -> Iterator[Callable[[Robot], npt.NDArray[np.uint8]]]:
    """Give a function that returns what a robot sees."""
    cameras = []

    def picture(robot: Robot) -> npt.NDArray[np.uint8]:
        cameras.append(camera_of(robot))
        robot.step()
        return cameras[-1].picture()

    yield picture
    for camera in cameras:
        camera.close()


def reddish(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return which points are as red as the cup."""
    red, green, blue = (picture[:, :, part].astype(int) for part in range(3))
    found: npt.NDArray[np.bool_] = (red > 1.6 * green) & (red > 1.6 * blue)
    return found


@pytest.mark.parametrize('bearing_deg', [0.0, 20.0, -20.0])
def test_the_cup_is_where_it_is(look, bearing_deg):
    heading = math.pi / 2 - math.radians(bearing_deg)
    picture = look(robot_at(1.25, 1.2, heading))
    assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
    _, columns = np.nonzero(reddish(picture))
    assert len(columns) > 20
    # By the pinhole; the camera is before the robot's middle, which makes the angle larger.
    x = 1.0 * math.sin(math.radians(bearing_deg))
    ahead = 1.0 * math.cos(math.radians(bearing_deg)) - 0.21
    expected = WIDTH_PX / 2 * (1 - x / ahead / math.tan(CAMERA_FOV_RAD / 2))
    assert columns.mean() == pytest.approx(expected, abs=6)


def test_away_from_the_cup_there_is_none(look):
    assert not reddish(look(robot_at(1.25, 1.2, -math.pi / 2))).any()


def test_what_moves_is_seen_to_move(look):
    robot = robot_at(1.25, 1.0, math.pi / 2)
    camera = camera_of(robot)
    robot.step()
    before = reddish(camera.picture()).sum()
    move(robot, 0.3, 0.0, 1.0)
    assert reddish(camera.picture()).sum() > 1.3 * before
    camera.close()


def test_without_a_driver_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mujoco.egl', None)
    with pytest.raises(CameraError, match='install a driver for EGL'):
        Camera(Robot().physics, SOLE_ROBOT)


# On ROS


def start(ros: Ros) -> tuple[list[Image], list[CameraInfo]]:
    """Start a robot with a camera; return what it sends."""
    parameters = [Parameter('camera', value=True)]
    ros.add(HeadlessRobot(context=ros.context, parameter_overrides=parameters))
    node = ros.node('outside')
    images: list[Image] = []
    infos: list[CameraInfo] = []
    for kind, name, found in ((Image, 'image', images), (CameraInfo, 'camera_info', infos)):
        node.create_subscription(kind, f'camera/{name}', found.append, qos_profile_sensor_data)
    return images, infos


def test_pictures_come_with_their_lens(ros):
    camera_of(Robot()).close()
    images, infos = start(ros)
    assert until_true(lambda: len(images) > 2 and len(infos) > 2, 20.0, CancelToken())
    image, info = images[-1], infos[-1]
    assert (image.width, image.height, image.encoding) == (WIDTH_PX, HEIGHT_PX, 'rgb8')
    assert len(image.data) == image.step * image.height
    assert image.header.frame_id == info.header.frame_id == 'camera'
    assert info.k[0] == pytest.approx(WIDTH_PX / 2 / math.tan(CAMERA_FOV_RAD / 2))
    # What the tools of the node tell of it.
    assert 5 < summarize(image).brightness < 95


def test_robot_that_can_not_render_goes_on_without(ros, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mujoco.egl', None)
    images, _ = start(ros)
    CancelToken().wait(1.0)
    assert images == []


def test_without_the_parameter_there_is_no_camera(ros):
    node = ros.add(HeadlessRobot(context=ros.context))
    assert not [name for name, _ in node.get_topic_names_and_types() if 'camera' in name]
