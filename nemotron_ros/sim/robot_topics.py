"""What a simulated robot says and hears on ROS: the topics and services that a real one has.

================== ========================== ==========================================
topic              type                       what
================== ========================== ==========================================
cmd_vel (in)       geometry_msgs/Twist        velocity; 0.5 s without one, it stops
goal_pose (in)     geometry_msgs/PoseStamped  drive there by itself; a velocity ends it
pick_object (in)   std_msgs/String            drive up to a thing and take it
place_object (in)  std_msgs/String            drive up to furniture and put on it what is held
speech (in)        std_msgs/String            words for its loudspeaker
odom               nav_msgs/Odometry          50 Hz, frame ``odom``
scan               sensor_msgs/LaserScan      10 Hz, best effort, as drivers do
joint_states       sensor_msgs/JointState     10 Hz
camera/image       sensor_msgs/Image          5 Hz, rgb8, best effort, where somebody listens;
                                              ``camera/camera_info`` goes with it
battery_state      sensor_msgs/BatteryState   2 Hz
gripper_holding    std_msgs/String            what it holds; latched
tf                 tf2_msgs/TFMessage         where tf2_msgs is installed
================== ========================== ==========================================

Services: ``gripper/open``, ``gripper/close``, ``dock`` (std_srvs/Trigger; ``dock`` answers
when it stands in the dock, or was interrupted), and for referees, who may know what no
robot knows, ``sim/truth``.
"""

from __future__ import annotations

import json
import math
import threading
from array import array
from collections.abc import Callable

from geometry_msgs.msg import PoseStamped, Quaternion, TransformStamped, Twist
from nav_msgs.msg import Odometry
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.task import Future
from rclpy.time import Time
from sensor_msgs.msg import BatteryState, CameraInfo, Image, JointState, LaserScan
from std_msgs.msg import String
from std_srvs.srv import Trigger

from nemotron_ros.sim.body import Body
from nemotron_ros.sim.camera import FOCAL_PX, HEIGHT_PX, WIDTH_PX, Camera, CameraError
from nemotron_ros.sim.driver import Driver, Driving
from nemotron_ros.sim.noise import Line, Noise
from nemotron_ros.sim.robot import BEAMS, MAX_RANGE_M, SCAN_HEIGHT_M
from nemotron_ros.sim.velocity import WATCHDOG_S
from nemotron_ros.sim.world import Pose

ODOM_S, SCAN_S, JOINTS_S, BATTERY_S, CAMERA_S = 0.02, 0.1, 0.1, 0.5, 0.2
NO_CELL_MEASURED = math.nan


class RobotTopics:
    """One robot on ROS.

    :param namespace: before its names, below the node's own; empty if it is alone.
    :param make_camera: makes its camera, if it has one.
    :param lock: is held while the physics is stepped; what comes in by ROS waits for it.
    """

    _commands: Line
    _when_there: Callable[[], None] | None
    _told_holding: str
    _last_s: list[float]

    def __init__(
        self,
        node: Node,
        robot: Body,
        lock: threading.Lock,
        noise: Noise | None = None,
        namespace: str = '',
        make_camera: Callable[[], Camera] | None = None,
    ) -> None:
        self.robot = robot
        self.driver = Driver(robot)
        self._node = node
        self._lock = lock
        self._noise = noise or Noise()
        self._prefix = f'{namespace}/' if namespace else ''
        self._group = ReentrantCallbackGroup()
        self._docking: Future | None = None
        self._make_camera = make_camera
        self._camera: Camera | None = None
        self._due: list[tuple[float, Line, Callable[[Time], Callable[[], None]]]] = []
        self._begin_anew()
        self._make_topics()
        self._make_services()

    def after_step(self, now_s: float, stamp: Time) -> None:
        """See what the driver has come to, and say what is due; called by who steps.

        :param now_s: simulated.
        """
        self._commands.run(now_s)
        state = self.driver.state
        if self._when_there is not None and state is not Driving.DRIVING:
            when_there, self._when_there = self._when_there, None
            if state is Driving.ARRIVED:
                when_there()
        held = self.robot.holding
        if held != self._told_holding and not self.robot.arm_moves:
            self._told_holding = held  # when it is done, and not when it was asked for
            self._holding.publish(String(data=held))
        if self._docking is not None and state is not Driving.DRIVING:
            self._end_docking('docked' if self.robot.docked() else f'not docked: {state.value}')
        for index, (period_s, line, message) in enumerate(self._due):
            if now_s - self._last_s[index] >= period_s - 1e-9:
                self._last_s[index] = now_s
                line.put(now_s, message(stamp))
            else:
                line.run(now_s)

    def is_steered(self) -> bool:
        """Whether somebody drives it by velocities now."""
        return self.robot.time_s < self._steered_until_s

    def close(self) -> None:
        """Free the camera; called by who steps, at the end."""
        if self._camera is not None:
            self._camera.close()

    def begin_anew(self) -> None:
        """Forget everything: the physics has begun anew."""
        self._take_over()
        self._begin_anew()
        self._holding.publish(String())

    def _begin_anew(self) -> None:
        self._when_there = None
        self._told_holding = ''
        self._heard: list[str] = []
        self._steered_until_s = -math.inf
        odometry, scan, others = (
            Line(self._noise, f'{self._prefix}{name}', silences)
            for name, silences in (('odom', True), ('scan', True), ('others', False))
        )
        self._commands = Line(self._noise, f'{self._prefix}commands')
        self._due = [
            (ODOM_S, odometry, self._odometry_message),
            (SCAN_S, scan, self._scan_message),
            (JOINTS_S, others, self._joints_message),
            (BATTERY_S, others, self._battery_message),
        ]
        if self._make_camera is not None:
            camera = Line(self._noise, f'{self._prefix}camera')
            self._due.append((CAMERA_S, camera, self._picture_message))
        self._last_s = [-math.inf] * len(self._due)

    def _make_topics(self) -> None:
        node, prefix = self._node, self._prefix
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._odom = node.create_publisher(Odometry, f'{prefix}odom', 10)
        self._scan = node.create_publisher(LaserScan, f'{prefix}scan', qos_profile_sensor_data)
        self._joints = node.create_publisher(JointState, f'{prefix}joint_states', 10)
        self._battery = node.create_publisher(BatteryState, f'{prefix}battery_state', 10)
        self._holding = node.create_publisher(String, f'{prefix}gripper_holding', latched)
        self._holding.publish(String())
        if self._make_camera is not None:
            self._image = node.create_publisher(
                Image, f'{prefix}camera/image', qos_profile_sensor_data
            )
            self._camera_info = node.create_publisher(
                CameraInfo, f'{prefix}camera/camera_info', qos_profile_sensor_data
            )
        self._tf = _transform_publisher(node, f'{prefix}tf' if prefix else '/tf')
        for kind, topic, callback in (
            (Twist, 'cmd_vel', self._take_velocity),
            (PoseStamped, 'goal_pose', self._take_goal),
            (String, 'pick_object', self._take_object),
            (String, 'place_object', self._take_furniture),
            (String, 'speech', self._take_words),
        ):
            node.create_subscription(kind, prefix + topic, callback, 10)

    def _make_services(self) -> None:
        for name, callback in (
            ('gripper/open', self._open_gripper),
            ('gripper/close', self._close_gripper),
            ('dock', self._dock),
            ('sim/truth', self._tell_truth),
        ):
            self._node.create_service(
                Trigger, self._prefix + name, callback, callback_group=self._group
            )

    def _take_over(self) -> None:
        """End what it does by itself; whoever comes now says what it does next."""
        self.driver.cancel()
        self.robot.stop_arm()
        self._when_there = None
        self._end_docking('not docked: interrupted')

    def _end_docking(self, message: str) -> None:
        future, self._docking = self._docking, None
        if future is not None:
            future.set_result(message)
            if self._node.executor is not None:
                self._node.executor.wake()

    # What comes in

    def _take_velocity(self, twist: Twist) -> None:
        v, w = twist.linear.x, twist.angular.z
        if not (math.isfinite(v) and math.isfinite(w)):
            self._error(f'cmd_vel: not finite: {v}, {w}; stopping')
            v = w = 0.0
        self._soon(lambda: self._steer(v, w))

    def _take_goal(self, goal: PoseStamped) -> None:
        if goal.header.frame_id not in ('', 'odom'):
            self._error(
                f"goal_pose: frame 'odom' expected, got {goal.header.frame_id!r}; not driving"
            )
            return
        q, p = goal.pose.orientation, goal.pose.position
        yaw = math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z))
        if not all(math.isfinite(value) for value in (p.x, p.y, q.x, q.y, q.z, q.w, yaw)):
            self._error('goal_pose: not finite; not driving')
            return
        self._soon(lambda: self._go(Pose(p.x, p.y, yaw)))

    def _take_object(self, name: String) -> None:
        self._soon(lambda: self._fetch(name.data))

    def _take_furniture(self, name: String) -> None:
        self._soon(lambda: self._put_on(name.data))

    def _take_words(self, words: String) -> None:
        self._node.get_logger().info(f'{self._prefix}says: {words.data}')
        with self._lock:
            self._heard.append(words.data)

    def _soon(self, obey: Callable[[], None]) -> None:
        """Obey as soon as it has come to the robot."""
        with self._lock:
            self._commands.put(self.robot.time_s, obey)

    def _steer(self, v: float, w: float) -> None:
        self._take_over()
        self.robot.command(v, w)
        moves = v != 0 or w != 0
        self._steered_until_s = self.robot.time_s + WATCHDOG_S if moves else -math.inf

    def _go(self, goal: Pose) -> None:
        self._take_over()
        self.driver.go(goal)
        if self.driver.state is Driving.BLOCKED:
            self._error(f'goal_pose: no way to ({goal.x:g}, {goal.y:g}); not driving')

    def _fetch(self, name: str) -> None:
        self._take_over()
        if self.driver.fetch(name):
            self._when_there = lambda: self._pick(name)
        else:
            self._error(f'pick_object: there is no {name!r}')

    def _pick(self, name: str) -> None:
        if not self.robot.pick(name):
            self._error(f'pick_object: the {name} is out of reach')

    def _put_on(self, furniture: str) -> None:
        self._take_over()
        if not self.robot.holding:
            self._error('place_object: nothing is held')
        elif self.driver.approach(furniture):
            self._when_there = lambda: self._place(furniture)
        else:
            self._error(f'place_object: there is no {furniture!r}')

    def _place(self, furniture: str) -> None:
        if not self.robot.place(furniture):
            self._error(f'place_object: nothing can be put on the {furniture} from here')

    def _error(self, message: str) -> None:
        self._node.get_logger().error(f'{self._prefix}{message}')

    # Services

    def _open_gripper(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            held = self.robot.open_gripper()
        response.success = bool(held)
        response.message = f'put down the {held}' if held else 'the gripper was empty'
        return response

    def _close_gripper(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            held = self.robot.close_gripper()
        response.success = bool(held)
        response.message = f'holds the {held}' if held else 'nothing in reach'
        return response

    async def _dock(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        future: Future = Future(executor=self._node.executor)
        with self._lock:
            self._take_over()
            self.driver.go(self.robot.world.dock)
            self._docking = future
        response.message = await future
        response.success = response.message == 'docked'
        return response

    def _tell_truth(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            pose, (v, w) = self.robot.pose, self.robot.twist
            believed = self.robot.odometry
            truth = {
                'x': pose.x,
                'y': pose.y,
                'yaw': pose.yaw,
                'v': v,
                'w': w,
                'holding': self.robot.holding,
                'docked': self.robot.docked(),
                'driving': self.driver.state.value,
                'odometry': [believed.x, believed.y, believed.yaw],
                'collisions': self.robot.collisions,
                **self._encounters(),
                'battery': self.robot.battery,
                'heard': self._heard,
                'things': self.robot.things(),
                'resting': self.robot.resting(),
                'time_s': self.robot.time_s,
            }
            response.message = json.dumps(truth)
        response.success = True
        return response

    def _encounters(self) -> dict[str, object]:
        """Return what a referee wants to know of people and doors."""
        robot, world = self.robot, self.robot.world
        return {
            'touches': robot.touches,
            'near_misses': robot.near_misses,
            'people': robot.people(),
            'shut_doors': sorted(world.shut),
        }

    # What goes out

    def _odometry_message(self, stamp: Time) -> Callable[[], None]:
        pose, (v, w) = self.robot.odometry, self.robot.wheel_twist
        message = Odometry(child_frame_id='base_link')
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = 'odom'
        message.pose.pose.position.x = pose.x
        message.pose.pose.position.y = pose.y
        message.pose.pose.orientation = _about_z(pose.yaw)
        message.twist.twist.linear.x = v
        message.twist.twist.angular.z = w

        def publish() -> None:
            self._odom.publish(message)
            if self._tf is not None:
                self._tf([_transform(message), _laser_transform(stamp)])

        return publish

    def _scan_message(self, stamp: Time) -> Callable[[], None]:
        message = LaserScan(
            angle_min=-math.pi,
            angle_max=math.pi - math.tau / BEAMS,
            angle_increment=math.tau / BEAMS,
            scan_time=SCAN_S,
            range_min=0.05,
            range_max=MAX_RANGE_M,
            ranges=self.robot.scan(),
        )
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = 'laser'
        return lambda: self._scan.publish(message)

    def _joints_message(self, stamp: Time) -> Callable[[], None]:
        left, right = self.robot.wheels_rad
        message = JointState(
            name=['left_wheel', 'right_wheel', 'gripper'],
            position=[left, right, 0.0 if self.robot.holding else 1.0],
        )
        if self.robot.hand is not None:
            ahead, _, up = self.robot.hand
            message.name += ['arm_reach', 'arm_lift']
            message.position += array('d', [ahead, up])
        message.header.stamp = stamp.to_msg()
        return lambda: self._joints.publish(message)

    def _picture_message(self, stamp: Time) -> Callable[[], None]:
        if self._make_camera is None or not self._image.get_subscription_count():
            return lambda: None
        if self._camera is None:
            try:
                self._camera = self._make_camera()  # here, as it belongs to this thread
            except CameraError as error:
                self._make_camera = None
                self._error(f'camera: {error}')
                return lambda: None
        message = Image(width=WIDTH_PX, height=HEIGHT_PX, encoding='rgb8', step=3 * WIDTH_PX)
        message.data = array('B', self._camera.picture().tobytes())
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = 'camera'

        def publish() -> None:
            self._image.publish(message)
            self._camera_info.publish(_camera_info(message))

        return publish

    def _battery_message(self, stamp: Time) -> Callable[[], None]:
        charging = self.robot.docked()
        status = BatteryState.POWER_SUPPLY_STATUS_CHARGING
        message = BatteryState(
            percentage=self.robot.battery,
            present=True,
            power_supply_status=status if charging else status + 1,
            voltage=NO_CELL_MEASURED,
            current=NO_CELL_MEASURED,
            charge=NO_CELL_MEASURED,
            capacity=NO_CELL_MEASURED,
            design_capacity=NO_CELL_MEASURED,
            temperature=NO_CELL_MEASURED,
        )
        message.header.stamp = stamp.to_msg()
        return lambda: self._battery.publish(message)


def _camera_info(image: Image) -> CameraInfo:
    """Return the camera's lens: a pinhole without distortion."""
    middle_x, middle_y = WIDTH_PX / 2, HEIGHT_PX / 2
    matrix = [FOCAL_PX, 0.0, middle_x, 0.0, FOCAL_PX, middle_y, 0.0, 0.0, 1.0]
    return CameraInfo(
        header=image.header,
        width=WIDTH_PX,
        height=HEIGHT_PX,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=matrix,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[*matrix[:3], 0.0, *matrix[3:6], 0.0, *matrix[6:], 0.0],
    )


def _about_z(yaw: float) -> Quaternion:
    return Quaternion(z=math.sin(yaw / 2), w=math.cos(yaw / 2))


def _transform(odometry: Odometry) -> TransformStamped:
    message = TransformStamped(header=odometry.header, child_frame_id=odometry.child_frame_id)
    message.transform.translation.x = odometry.pose.pose.position.x
    message.transform.translation.y = odometry.pose.pose.position.y
    message.transform.rotation = odometry.pose.pose.orientation
    return message


def _laser_transform(stamp: Time) -> TransformStamped:
    message = TransformStamped(child_frame_id='laser')
    message.header.stamp = stamp.to_msg()
    message.header.frame_id = 'base_link'
    message.transform.translation.z = SCAN_HEIGHT_M
    return message


def _transform_publisher(
    node: Node, topic: str
) -> Callable[[list[TransformStamped]], None] | None:
    """Return what publishes on ``tf``; None where tf2_msgs is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    publisher = node.create_publisher(TFMessage, topic, 100)

    def publish(transforms: list[TransformStamped]) -> None:
        publisher.publish(TFMessage(transforms=transforms))

    return publish
