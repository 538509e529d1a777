"""The robot that Gazebo simulates, as a ROS node with the headless robot's topics and services.

It stands between the robot's own topics and those of Gazebo's bridge, as the driver of a real
base does between ROS and the motors:

=================== ========================= ============================================
topic               type                      what
=================== ========================= ============================================
base/odom (in)      nav_msgs/Odometry         where it is, in the flat's frame
base/scan (in)      sensor_msgs/LaserScan     its laser
base/state/* (in)   std_msgs/String           whether the gripper holds a thing
base/cmd_vel        geometry_msgs/Twist       velocity, ended by a watchdog of half a second
base/grasp/*        std_msgs/Empty            hold a thing; ``base/release/*`` lets go
base/fingers        std_msgs/Float64          how far the fingers are closed, metres
=================== ========================= ============================================

Battery and loudspeaker are this node's: Gazebo has no part for them that all releases share.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Empty, Float64, String
from std_srvs.srv import Trigger

from nemotron_ros.sim.gazebo_world import FINGER_TRAVEL_M
from nemotron_ros.sim.node import HeadlessRobot
from nemotron_ros.sim.robot import (
    BEAMS,
    PATH_STEP_M,
    REACH_M,
    TRACK_M,
    WHEEL_RADIUS_M,
)
from nemotron_ros.sim.robot_topics import RobotTopics
from nemotron_ros.sim.velocity import WatchedVelocity
from nemotron_ros.sim.world import GRIPPER_M, Pose, World, flat
from nemotron_ros.spinning import serve

STALE_S = 0.5
"""A laser that has been silent for so long, simulated, sees nothing: the driver stands still."""
BLIND = np.full(BEAMS, 0.05, dtype=np.float32)
AGAIN_S = 0.5
"""How often the gripper asks for what has not been seen to happen."""
ATTACHED, DETACHED = 'attached', 'detached'
NOT_COUNTED = -1


class GazeboBody:
    """What Gazebo tells of the robot, and what it is asked for. See :class:`Body`.

    Where things are it believes: where they were, or where it has put them down.
    """

    step_s = 0.01
    collisions = touches = near_misses = NOT_COUNTED

    def __init__(self, node: Node, battery: float, world: World | None = None) -> None:
        self.world = world or flat()
        self.battery = battery
        self.wheels_rad = (0.0, 0.0)
        self.pose = self.world.start
        self.twist = (0.0, 0.0)
        self.time_s = 0.0
        self._path: deque[tuple[float, float]] = deque(maxlen=50_000)
        self._ranges: npt.NDArray[np.float32] = BLIND
        self._seen_at_s = -math.inf
        self._asked = WatchedVelocity()
        self._to_hold = ''
        self._asked_at_s = -math.inf
        self._states = {thing.name: '' for thing in self.world.things}
        self._things = {thing.name: (thing.x, thing.y) for thing in self.world.things}
        self._velocity = node.create_publisher(Twist, 'base/cmd_vel', 10)
        self._fingers = node.create_publisher(Float64, 'base/fingers', 10)
        self._hold = {
            name: (
                node.create_publisher(Empty, f'base/grasp/{name}', 10),
                node.create_publisher(Empty, f'base/release/{name}', 10),
            )
            for name in self._things
        }
        node.create_subscription(Odometry, 'base/odom', self._take_odometry, 10)
        node.create_subscription(LaserScan, 'base/scan', self._take_scan, qos_profile_sensor_data)
        for name in self._things:
            node.create_subscription(
                String, f'base/state/{name}', lambda state, name=name: self._take(name, state), 10
            )

    @property
    def odometry(self) -> Pose:
        """Where it is: Gazebo's word is taken for it."""
        return self.pose

    @property
    def wheel_twist(self) -> tuple[float, float]:
        """How fast it is."""
        return self.twist

    @property
    def is_there(self) -> bool:
        """Whether Gazebo has told where the robot is."""
        return self.time_s > 0

    @property
    def sees(self) -> bool:
        """Whether the laser has told something lately."""
        return self.time_s - self._seen_at_s < STALE_S

    @property
    def path(self) -> Sequence[tuple[float, float]]:
        """Where it has been."""
        return self._path

    @property
    def holding(self) -> str:
        """What Gazebo says that the gripper holds."""
        name = self._to_hold
        return name if name and self._states[name] == ATTACHED else ''

    def command(self, v: float, w: float) -> None:
        """Ask for a speed, m/s, and a turning rate, rad/s; both are limited."""
        self._asked.ask(v, w, self.time_s)

    def step(self) -> None:
        """Send the velocity, and ask once more for what the gripper should do."""
        twist = Twist()
        twist.linear.x, twist.angular.z = self._asked.at(self.time_s)
        self._velocity.publish(twist)
        if self.is_there and self.time_s - self._asked_at_s >= AGAIN_S:
            self._asked_at_s = self.time_s
            for name, state in self._states.items():
                grasp, release = self._hold[name]
                if name == self._to_hold and state != ATTACHED:
                    grasp.publish(Empty())
                elif name != self._to_hold and state != DETACHED:
                    release.publish(Empty())

    def things(self) -> dict[str, tuple[float, float]]:
        """Return where it believes each thing to be."""
        held = self.holding
        return {**self._things, held: self._before_it()} if held else dict(self._things)

    def people(self) -> dict[str, tuple[float, float]]:
        """Return nobody: in Gazebo's flat there is none."""
        return {}

    hand = None
    arm_moves = False

    def stop_arm(self) -> None:
        """There is no arm; fingers close where they are."""

    def pick(self, name: str) -> bool:
        """Begin to hold what is nearest."""
        return bool(self.close_gripper())

    def place(self, furniture: str) -> bool:
        """Without an arm nothing can be put on furniture."""
        return False

    def resting(self) -> dict[str, str]:
        """Return nothing: without an arm things are on the floor."""
        return {}

    def close_gripper(self) -> str:
        """Begin to hold the nearest thing in reach; return its name, empty if there is none."""
        if self._to_hold:
            return self._to_hold
        x, y = self._before_it()
        distance_m, name = min(
            (math.hypot(tx - x, ty - y), name) for name, (tx, ty) in self._things.items()
        )
        if distance_m > REACH_M:
            return ''
        self._fingers.publish(Float64(data=FINGER_TRAVEL_M))
        self._to_hold = name
        self._asked_at_s = -math.inf
        return name

    def open_gripper(self) -> str:
        """Let go; return the name of what was held, empty if nothing was."""
        held = self.holding
        if held:
            self._things[held] = self._before_it()
        self._to_hold = ''
        self._asked_at_s = -math.inf
        self._fingers.publish(Float64())
        return held

    def scan(self) -> npt.NDArray[np.float32]:
        """Return what the laser says; a wall all round while it is silent."""
        return self._ranges if self.sees else BLIND

    def docked(self) -> bool:
        """Whether it stands in the dock."""
        return self.world.is_docked(self.pose)

    def reset(self) -> None:
        """Forget the way; where it is, Gazebo alone decides."""
        self._path.clear()

    def _before_it(self) -> tuple[float, float]:
        pose = self.pose
        return (
            pose.x + GRIPPER_M * math.cos(pose.yaw),
            pose.y + GRIPPER_M * math.sin(pose.yaw),
        )

    def _take_odometry(self, odometry: Odometry) -> None:
        stamp, q, p = odometry.header.stamp, odometry.pose.pose.orientation, odometry.pose.pose
        time_s = stamp.sec + stamp.nanosec * 1e-9
        past_s = max(0.0, time_s - self.time_s) if self.is_there else 0.0
        yaw = math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z))
        v, w = odometry.twist.twist.linear.x, odometry.twist.twist.angular.z
        before, self.pose = self.pose, Pose(p.position.x, p.position.y, yaw)
        self.twist, self.time_s = (v, w), time_s
        left, right = self.wheels_rad
        apart = w * TRACK_M / 2
        self.wheels_rad = (
            left + (v - apart) * past_s / WHEEL_RADIUS_M,
            right + (v + apart) * past_s / WHEEL_RADIUS_M,
        )
        way_m = math.hypot(self.pose.x - before.x, self.pose.y - before.y)
        change = 0.002 * past_s if self.docked() else -0.0005 * way_m
        self.battery = max(0.0, min(1.0, self.battery + change))
        here = (self.pose.x, self.pose.y)
        if not self._path or math.dist(here, self._path[-1]) > PATH_STEP_M:
            self._path.append(here)

    def _take_scan(self, scan: LaserScan) -> None:
        if len(scan.ranges) == BEAMS:
            self._ranges = np.asarray(scan.ranges, dtype=np.float32)
            self._seen_at_s = self.time_s

    def _take(self, name: str, state: String) -> None:
        self._states[name] = state.data


class GazeboTopics(RobotTopics):
    """What the headless robot says and hears, of the robot in Gazebo."""

    def __init__(self, node: Node, robot: GazeboBody, lock: threading.Lock) -> None:
        super().__init__(node, robot, lock)
        self._gazebo = robot

    def after_step(self, now_s: float, stamp: Time) -> None:
        """Say nothing before Gazebo has told where the robot is."""
        if not self._gazebo.is_there:
            return
        super().after_step(now_s, stamp)

    def _scan_message(self, stamp: Time) -> Callable[[], None]:
        return super()._scan_message(stamp) if self._gazebo.sees else lambda: None

    def _close_gripper(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            name = self._gazebo.close_gripper()
        response.success = bool(name)
        response.message = (
            f'closes on the {name}; gripper_holding tells when it holds it'
            if name
            else 'nothing in reach'
        )
        return response


class GazeboRobot(HeadlessRobot):
    """The headless robot's node, with Gazebo for its physics."""

    def _make_robots(self, battery: float) -> list[RobotTopics]:
        return [GazeboTopics(self, GazeboBody(self, battery), self._lock)]

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = "Gazebo's own controls put the world back, not this node"
        return response


def main(args: Any = None) -> int:
    """Run the robot until SIGINT or SIGTERM."""
    return serve(GazeboRobot, args)
