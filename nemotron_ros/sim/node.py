"""The headless robot as a ROS node: the topics and services that a real one has.

================== ========================== ==========================================
topic              type                       what
================== ========================== ==========================================
cmd_vel (in)       geometry_msgs/Twist        velocity; 0.5 s without one, it stops
goal_pose (in)     geometry_msgs/PoseStamped  drive there by itself; a velocity ends it
pick_object (in)   std_msgs/String            drive up to a thing and close the gripper
speech (in)        std_msgs/String            words for its loudspeaker
odom               nav_msgs/Odometry          50 Hz, frame ``odom``
scan               sensor_msgs/LaserScan      10 Hz, best effort, as drivers do
joint_states       sensor_msgs/JointState     10 Hz
battery_state      sensor_msgs/BatteryState   2 Hz
gripper_holding    std_msgs/String            what it holds; latched
tf, clock          tf2_msgs, rosgraph_msgs    where tf2_msgs is; with ``publish_clock``
================== ========================== ==========================================

Services: ``gripper/open``, ``gripper/close``, ``dock`` (std_srvs/Trigger; ``dock`` answers
when it stands in the dock, or was interrupted), and for referees, who may know what no
robot knows, ``sim/truth``, ``sim/top_view`` and ``sim/reset``.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped, Quaternion, TransformStamped, Twist
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.task import Future
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState, JointState, LaserScan
from std_msgs.msg import String
from std_srvs.srv import Trigger

from nemotron_ros.sim.body import Body
from nemotron_ros.sim.driver import Driver, Driving
from nemotron_ros.sim.robot import BEAMS, MAX_RANGE_M, SCAN_HEIGHT_M, Robot
from nemotron_ros.sim.top_view import draw
from nemotron_ros.sim.world import Pose
from nemotron_ros.spinning import serve

TICK_S = 0.01
LATE_S = 0.25
"""A simulation that lags more than this lets the time pass instead of racing after it."""
ODOM_S, SCAN_S, JOINTS_S, BATTERY_S = 0.02, 0.1, 0.1, 0.5
NO_CELL_MEASURED = math.nan


class HeadlessRobot(Node):
    """Steps the physics in a thread of its own, and speaks ROS."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('headless_robot', **kwargs)
        self._speed = self._number('speed', 1.0, 0.1, 50.0, 'Simulated seconds per second.')
        battery = self._number('battery', 0.87, 0.0, 1.0, 'Charge at the start, 0 to 1.')
        self._top_view_path = self._text(
            'top_view_path', 'top_view.png', 'Where sim/top_view writes its picture.'
        )
        with_clock = self.declare_parameter(
            'publish_clock', False, ParameterDescriptor(description='Publish /clock.')
        ).value
        self._lock = threading.Lock()
        self._robot = self._body(battery)
        self._driver = Driver(self._robot)
        self._fetching = ''
        self._docking: Future | None = None
        self._heard: list[str] = []
        self._over = threading.Event()
        self._group = ReentrantCallbackGroup()
        self._make_topics(with_clock)
        self._make_services()
        self._due: list[tuple[float, Callable[[Time], None]]] = [
            (ODOM_S, self._tell_odometry),
            (SCAN_S, self._tell_scan),
            (JOINTS_S, self._tell_joints),
            (BATTERY_S, self._tell_battery),
        ]
        self._last_s = [-math.inf] * len(self._due)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self) -> bool:
        """It is ready once it is made."""
        return True

    def interrupt(self) -> None:
        """There is nothing to give up."""

    def end(self) -> None:
        """A simulated robot may be left as it is."""

    def destroy_node(self) -> None:
        """End the physics, then the node."""
        self._over.set()
        self._thread.join(2.0)
        super().destroy_node()

    # What it is made of

    def _body(self, battery: float) -> Body:
        return Robot(battery=battery)

    def _number(self, name: str, default: float, low: float, high: float, text: str) -> float:
        limits = [FloatingPointRange(from_value=low, to_value=high)]
        descriptor = ParameterDescriptor(
            description=text, read_only=True, floating_point_range=limits
        )
        return float(self.declare_parameter(name, default, descriptor).value)

    def _text(self, name: str, default: str, text: str) -> str:
        descriptor = ParameterDescriptor(description=text, read_only=True)
        return str(self.declare_parameter(name, default, descriptor).value)

    def _make_topics(self, with_clock: bool) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._odom = self.create_publisher(Odometry, 'odom', 10)
        self._scan = self.create_publisher(LaserScan, 'scan', qos_profile_sensor_data)
        self._joints = self.create_publisher(JointState, 'joint_states', 10)
        self._battery = self.create_publisher(BatteryState, 'battery_state', 10)
        self._holding = self.create_publisher(String, 'gripper_holding', latched)
        self._holding.publish(String())
        self._clock_topic = self.create_publisher(Clock, '/clock', 10) if with_clock else None
        self._tf = _transform_publisher(self)
        for kind, topic, callback in (
            (Twist, 'cmd_vel', self._take_velocity),
            (PoseStamped, 'goal_pose', self._take_goal),
            (String, 'pick_object', self._take_object),
            (String, 'speech', self._take_words),
        ):
            self.create_subscription(kind, topic, callback, 10)

    def _make_services(self) -> None:
        for name, callback in (
            ('gripper/open', self._open_gripper),
            ('gripper/close', self._close_gripper),
            ('dock', self._dock),
            ('sim/truth', self._tell_truth),
            ('sim/top_view', self._draw),
            ('sim/reset', self._reset),
        ):
            self.create_service(Trigger, name, callback, callback_group=self._group)

    # Physics

    def _run(self) -> None:
        began_s, simulated_s = time.monotonic(), 0.0
        while not self._over.wait(TICK_S):
            owed_s = (time.monotonic() - began_s) * self._speed - simulated_s
            if owed_s > LATE_S * self._speed:
                began_s += (owed_s - TICK_S) / self._speed
                owed_s = TICK_S
            with self._lock:
                for _ in range(round(owed_s / self._robot.step_s)):
                    self._driver.step()
                    self._robot.step()
                    simulated_s += self._robot.step_s
                    self._after_step()

    def _after_step(self) -> None:
        state = self._driver.state
        if self._fetching and state is not Driving.DRIVING:
            if state is Driving.ARRIVED:
                self._grasp()
            self._fetching = ''
        if self._docking is not None and state is not Driving.DRIVING:
            self._end_docking('docked' if self._robot.docked() else f'not docked: {state.value}')
        now_s = self._robot.time_s
        stamp = Time(nanoseconds=round(now_s * 1e9))
        if self._clock_topic is not None:
            self._clock_topic.publish(Clock(clock=stamp.to_msg()))
        else:
            stamp = self.get_clock().now()
        for index, (period_s, tell) in enumerate(self._due):
            if now_s - self._last_s[index] >= period_s - 1e-9:
                self._last_s[index] = now_s
                tell(stamp)

    def _grasp(self) -> None:
        self._holding.publish(String(data=self._robot.close_gripper()))

    def _take_over(self) -> None:
        """End what it does by itself; whoever comes now says what it does next."""
        self._driver.cancel()
        self._fetching = ''
        self._end_docking('not docked: interrupted')

    def _end_docking(self, message: str) -> None:
        future, self._docking = self._docking, None
        if future is not None:
            future.set_result(message)
            if self.executor is not None:
                self.executor.wake()

    # What comes in

    def _take_velocity(self, twist: Twist) -> None:
        v, w = twist.linear.x, twist.angular.z
        if not (math.isfinite(v) and math.isfinite(w)):
            self.get_logger().error(f'cmd_vel: not finite: {v}, {w}; stopping')
            v = w = 0.0
        with self._lock:
            self._take_over()
            self._robot.command(v, w)

    def _take_goal(self, goal: PoseStamped) -> None:
        if goal.header.frame_id not in ('', 'odom'):
            self.get_logger().error(
                f"goal_pose: frame 'odom' expected, got {goal.header.frame_id!r}; not driving"
            )
            return
        q, p = goal.pose.orientation, goal.pose.position
        yaw = math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z))
        if not all(math.isfinite(value) for value in (p.x, p.y, q.x, q.y, q.z, q.w, yaw)):
            self.get_logger().error('goal_pose: not finite; not driving')
            return
        with self._lock:
            self._take_over()
            self._driver.go(Pose(p.x, p.y, yaw))
            if self._driver.state is Driving.BLOCKED:
                self.get_logger().error(f'goal_pose: no way to ({p.x:g}, {p.y:g}); not driving')

    def _take_object(self, name: String) -> None:
        with self._lock:
            self._take_over()
            if self._driver.fetch(name.data):
                self._fetching = name.data
            else:
                self.get_logger().error(f'pick_object: there is no {name.data!r}')

    def _take_words(self, words: String) -> None:
        self.get_logger().info(f'says: {words.data}')
        with self._lock:
            self._heard.append(words.data)

    # Services

    def _open_gripper(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            held = self._robot.open_gripper()
            self._holding.publish(String())
        response.success = bool(held)
        response.message = f'put down the {held}' if held else 'the gripper was empty'
        return response

    def _close_gripper(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            held = self._robot.close_gripper()
            self._holding.publish(String(data=held))
        response.success = bool(held)
        response.message = f'holds the {held}' if held else 'nothing in reach'
        return response

    async def _dock(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        future: Future = Future(executor=self.executor)
        with self._lock:
            self._take_over()
            self._driver.go(self._robot.world.dock)
            self._docking = future
        response.message = await future
        response.success = response.message == 'docked'
        return response

    def _tell_truth(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            pose, (v, w) = self._robot.pose, self._robot.twist
            truth = {
                'x': pose.x,
                'y': pose.y,
                'yaw': pose.yaw,
                'v': v,
                'w': w,
                'holding': self._robot.holding,
                'docked': self._robot.docked(),
                'driving': self._driver.state.value,
                'collisions': self._robot.collisions,
                'battery': self._robot.battery,
                'heard': self._heard,
                'things': self._robot.things(),
                'time_s': self._robot.time_s,
            }
            response.message = json.dumps(truth)
        response.success = True
        return response

    def _draw(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        path = Path(self._top_view_path).absolute()
        try:
            with self._lock:
                draw(self._robot, path)
        except OSError as error:
            response.message = f'{path}: can not be written: {error}'
            return response
        response.success = True
        response.message = str(path)
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            self._take_over()
            self._robot.reset()
            self._heard.clear()
            self._last_s = [-math.inf] * len(self._due)
            self._holding.publish(String())
        response.success = True
        return response

    # What goes out

    def _tell_odometry(self, stamp: Time) -> None:
        pose, (v, w) = self._robot.pose, self._robot.twist
        message = Odometry(child_frame_id='base_link')
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = 'odom'
        message.pose.pose.position.x = pose.x
        message.pose.pose.position.y = pose.y
        message.pose.pose.orientation = _about_z(pose.yaw)
        message.twist.twist.linear.x = v
        message.twist.twist.angular.z = w
        self._odom.publish(message)
        if self._tf is not None:
            self._tf([_transform(message), _laser_transform(stamp)])

    def _tell_scan(self, stamp: Time) -> None:
        message = LaserScan(
            angle_min=-math.pi,
            angle_max=math.pi - math.tau / BEAMS,
            angle_increment=math.tau / BEAMS,
            scan_time=SCAN_S,
            range_min=0.05,
            range_max=MAX_RANGE_M,
            ranges=self._robot.scan(),
        )
        message.header.stamp = stamp.to_msg()
        message.header.frame_id = 'laser'
        self._scan.publish(message)

    def _tell_joints(self, stamp: Time) -> None:
        left, right = self._robot.wheels_rad
        message = JointState(
            name=['left_wheel', 'right_wheel', 'gripper'],
            position=[left, right, 0.0 if self._robot.holding else 1.0],
        )
        message.header.stamp = stamp.to_msg()
        self._joints.publish(message)

    def _tell_battery(self, stamp: Time) -> None:
        charging = self._robot.docked()
        status = BatteryState.POWER_SUPPLY_STATUS_CHARGING
        message = BatteryState(
            percentage=self._robot.battery,
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
        self._battery.publish(message)


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


def _transform_publisher(node: Node) -> Callable[[list[TransformStamped]], None] | None:
    """Return what publishes on ``tf``; None where tf2_msgs is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    publisher = node.create_publisher(TFMessage, '/tf', 100)

    def publish(transforms: list[TransformStamped]) -> None:
        publisher.publish(TFMessage(transforms=transforms))

    return publish


def main(args: Sequence[str] | None = None) -> int:
    """Run the robot until SIGINT or SIGTERM."""
    return serve(HeadlessRobot, args)
