"""The headless robot: physics that is stepped in a thread of its own, and speaks ROS.

What each robot says and hears: :mod:`nemotron_ros.sim.robot_topics`. What the flat has besides:

==================== ======================== ============================================
name                 type                     what
==================== ======================== ============================================
<door>/open, /close  std_srvs/Trigger         begin to slide a door; not shut on somebody
<door>/is_open       std_msgs/Bool            whether it is, or opens; latched
clock                rosgraph_msgs/Clock      with ``publish_clock``
sim/top_view         std_srvs/Trigger         writes a picture
sim/reset            std_srvs/Trigger         puts everything back to the start
==================== ======================== ============================================
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from nemotron_ros.sim.camera import Camera
from nemotron_ros.sim.noise import MAX_SEED, RANGES, Noise
from nemotron_ros.sim.pace import Pace
from nemotron_ros.sim.physics import Physics
from nemotron_ros.sim.robot import Robot
from nemotron_ros.sim.robot_topics import RobotTopics
from nemotron_ros.sim.scene import scene_of
from nemotron_ros.sim.top_view import draw
from nemotron_ros.sim.world import PEOPLE, SOLE_ROBOT, STARTS, Door, flat
from nemotron_ros.spinning import serve

MAX_SPEED = 50.0
CLOCK_S = 0.01
"""How often /clock is told, simulated; at most so often on the wall: ``CLOCK_HZ``."""
CLOCK_HZ = 2000.0


class HeadlessRobot(Node):
    """Steps the physics in a thread of its own, and speaks ROS."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('headless_robot', **kwargs)
        speed = self._number(
            'speed', 1.0, 0.1, MAX_SPEED, 'Simulated seconds per second, at most.'
        )
        battery = self._number('battery', 0.87, 0.0, 1.0, 'Charge at the start, 0 to 1.')
        self._top_view_path = self._text(
            'top_view_path', 'top_view.png', 'Where sim/top_view writes its picture.'
        )
        with_clock = self.declare_parameter(
            'publish_clock', False, ParameterDescriptor(description='Publish /clock.')
        ).value
        self._clock_topic = self.create_publisher(Clock, '/clock', 10) if with_clock else None
        self._clock_told_s = -math.inf
        self._clock_period_s = max(CLOCK_S, speed / CLOCK_HZ)
        self._lock = threading.Lock()
        self._pace = Pace(speed)
        self._group = ReentrantCallbackGroup()
        self._robots = self._make_robots(battery)
        for name, callback in (('sim/top_view', self._draw), ('sim/reset', self._reset)):
            self.create_service(Trigger, name, callback, callback_group=self._group)
        self._over = threading.Event()
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

    def _make_robots(self, battery: float) -> list[RobotTopics]:
        people = self._count('people', 0, len(PEOPLE), 'How many people walk about.')
        noise = Noise(
            seed=self._count('noise_seed', 0, MAX_SEED, 'Decides what chance brings.'),
            **{
                name: self._number(name, getattr(Noise(), name), *RANGES[name], text)
                for name, text in (
                    ('latency_s', 'How late messages come and go, on average, seconds.'),
                    ('dropout', 'Share of the time that odom and scan are silent.'),
                    ('dropout_s', 'How long they are silent then, on average, seconds.'),
                    ('wheel_slip', 'Share of the turns of the wheels that move nothing.'),
                )
            },
        )
        world = flat(people)
        shut = self._names('shut_doors', '', 'Doors that are shut at first, parted by commas.')
        doors = [door.shut.name for door in world.doors]
        for name in shut:
            if name not in doors:
                raise InvalidParameterValueException(
                    'shut_doors', name, f'expected some of {", ".join(doors)}'
                )
        names = self._names('robots', '', 'Namespaces of several robots, parted by commas.')
        if len(names) > len(STARTS) or len(set(names)) < len(names):
            raise InvalidParameterValueException(
                'robots', names, f'expected up to {len(STARTS)} different names'
            )
        for name in names:
            if not re.fullmatch(r'[A-Za-z_]\w*', name, re.ASCII):
                raise InvalidParameterValueException(
                    'robots', name, 'expected names of letters, digits and _, such as robot_1'
                )
        starts = dict(zip(names or [SOLE_ROBOT], STARTS, strict=False))
        with_camera = self.declare_parameter(
            'camera', False, ParameterDescriptor(description='Render camera/image.')
        ).value
        self._physics = Physics(replace(world, shut=frozenset(shut)), starts)
        self._doors = {door.shut.name: self._make_door(door) for door in world.doors}
        self._tell_doors()
        return [
            RobotTopics(
                self,
                Robot(battery=battery, noise=noise, physics=self._physics, name=name),
                self._lock,
                noise,
                name if names else '',
                partial(Camera, self._physics, name) if with_camera else None,
            )
            for name in starts
        ]

    def _make_door(self, door: Door) -> Any:
        name = door.shut.name
        for verb, shut in (('open', False), ('close', True)):
            self.create_service(
                Trigger,
                f'{name}/{verb}',
                lambda _, response, shut=shut: self._move_door(name, shut, response),
                callback_group=self._group,
            )
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        return self.create_publisher(Bool, f'{name}/is_open', latched)

    def _tell_doors(self) -> None:
        for name, publisher in self._doors.items():
            publisher.publish(Bool(data=name not in self._physics.world.shut))

    def _number(self, name: str, default: float, low: float, high: float, text: str) -> float:
        limits = [FloatingPointRange(from_value=low, to_value=high)]
        descriptor = ParameterDescriptor(
            description=text, read_only=True, floating_point_range=limits
        )
        return float(self.declare_parameter(name, default, descriptor).value)

    def _count(self, name: str, default: int, high: int, text: str) -> int:
        limits = [IntegerRange(from_value=0, to_value=high)]
        descriptor = ParameterDescriptor(description=text, read_only=True, integer_range=limits)
        return int(self.declare_parameter(name, default, descriptor).value)

    def _text(self, name: str, default: str, text: str) -> str:
        descriptor = ParameterDescriptor(description=text, read_only=True)
        return str(self.declare_parameter(name, default, descriptor).value)

    def _names(self, name: str, default: str, text: str) -> list[str]:
        parts = self._text(name, default, text).split(',')
        return [part.strip() for part in parts if part.strip()]

    # Time

    def _run(self) -> None:
        while not self._over.wait(self._pace.pause_s):
            with self._lock:
                steered = any(robot.is_steered() for robot in self._robots)
                for _ in self._pace.steps(self._robots[0].robot.step_s, steered):
                    self._step()
        for robot in self._robots:
            robot.close()

    def _step(self) -> None:
        for robot in self._robots:
            robot.driver.step()
        self._robots[0].robot.step()  # everybody's step: they are in one flat
        now_s = self._robots[0].robot.time_s
        stamp = Time(nanoseconds=round(now_s * 1e9))
        if self._clock_topic is None:
            stamp = self.get_clock().now()
        elif (
            now_s - self._clock_told_s >= self._clock_period_s - 1e-9 or now_s < self._clock_told_s
        ):
            self._clock_told_s = now_s
            self._clock_topic.publish(Clock(clock=stamp.to_msg()))
        for robot in self._robots:
            robot.after_step(now_s, stamp)

    # Services

    def _move_door(self, name: str, shut: bool, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            why_not = self._physics.set_door(name, shut)
            self._tell_doors()
        response.success = not why_not
        response.message = why_not or f'the {name} {"shuts" if shut else "opens"}'
        return response

    def _draw(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        path = Path(self._top_view_path).absolute()
        with self._lock:
            scene = scene_of(*(robot.robot for robot in self._robots))
        try:
            draw(scene, path)
        except OSError as error:
            response.message = f'{path}: can not be written: {error}'
            return response
        response.success = True
        response.message = str(path)
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            self._physics.reset()
            for robot in self._robots:
                robot.begin_anew()
            self._tell_doors()
        response.success = True
        return response


def main(args: Sequence[str] | None = None) -> int:
    """Run the robot until SIGINT or SIGTERM."""
    return serve(HeadlessRobot, args)
