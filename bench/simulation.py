"""How many times faster than real time the headless robot runs, with all its topics on DDS.

Each row is a robot in a process of its own that is asked for a speed: while nobody asks anything
of it, while it drives by itself from place to place, and while it is steered by ``cmd_vel``.

    python bench/simulation.py [--seconds 5] [--people 3] [--robots 2]
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped, Twist
from rclpy.node import Node
from rich.console import Console
from rich.table import Table
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.bringup import headless_robot
from nemotron_ros.cancel import CancelToken
from nemotron_ros.demo.trial import started
from nemotron_ros.sim.world import flat
from nemotron_ros.spinning import spinning

SPEEDS = (1.0, 10.0, 25.0, 50.0)
WAIT_S = 20.0


class Outside:
    """Who uses the robot."""

    def __init__(self, node: Node, prefix: str) -> None:
        self._truth = node.create_client(Trigger, f'{prefix}sim/truth')
        self._goal = node.create_publisher(PoseStamped, f'{prefix}goal_pose', 10)
        self._velocity = node.create_publisher(Twist, f'{prefix}cmd_vel', 10)
        if not until_true(self._truth.service_is_ready, WAIT_S, CancelToken()):
            raise TimeoutError('the robot has not come up')

    def truth(self) -> dict[str, Any]:
        """Ask the physics."""
        future = self._truth.call_async(Trigger.Request())
        if not until_done(future, WAIT_S, CancelToken()):
            raise TimeoutError('sim/truth has not answered')
        found: dict[str, Any] = json.loads(future.result().message)
        return found

    def nothing(self) -> None:
        """Let it be."""

    def drive(self) -> None:
        """Send it to another place whenever it has arrived."""
        if self.truth()['driving'] != 'driving':
            here = self.truth()
            far = max(
                flat().places.values(), key=lambda p: math.hypot(p.x - here['x'], p.y - here['y'])
            )
            goal = PoseStamped()
            goal.pose.position.x, goal.pose.position.y = far.x, far.y
            goal.pose.orientation.w = 1.0
            self._goal.publish(goal)

    def steer(self) -> None:
        """Turn it on the spot."""
        twist = Twist()
        twist.angular.z = 0.5
        self._velocity.publish(twist)

    def factor(self, seconds: float, act: Callable[[], None], every_s: float) -> float:
        """Return how many simulated seconds pass in one on the wall."""
        act()
        began_s, simulated_s = time.monotonic(), self.truth()['time_s']
        while time.monotonic() - began_s < seconds:
            act()
            time.sleep(every_s)
        return float((self.truth()['time_s'] - simulated_s) / (time.monotonic() - began_s))


def measure(speed: float, options: argparse.Namespace) -> list[float]:
    """Return the factors that a robot reaches."""
    names = [f'robot_{n + 1}' for n in range(options.robots)] if options.robots > 1 else []
    robot = headless_robot(
        use_sim_time=True, speed=speed, people=options.people, robots=','.join(names)
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        started((robot,), Path(folder)),
        spinning('bench') as node,
    ):
        outside = Outside(node, f'{names[0]}/' if names else '')
        acts = ((outside.nothing, 0.1), (outside.drive, 0.1), (outside.steer, 0.01))
        return [outside.factor(options.seconds, act, every_s) for act, every_s in acts]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=5.0, help='for each figure')
    parser.add_argument('--people', type=int, default=0)
    parser.add_argument('--robots', type=int, default=1)
    options = parser.parse_args()
    table = Table('speed asked for', 'idle', 'driving', 'steered')
    for speed in SPEEDS:
        factors = measure(speed, options)
        table.add_row(f'{speed:g}', *(f'{factor:.1f}' for factor in factors))
    Console().print(table)


if __name__ == '__main__':
    main()
