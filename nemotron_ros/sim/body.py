"""What the driver, the ROS node and the picture know of a robot, whoever simulates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nemotron_ros.sim.world import Pose, World


class Body(Protocol):
    """A round robot with a laser and a gripper in a flat. Metres, radians and seconds."""

    collisions: int
    touches: int
    near_misses: int
    battery: float
    wheels_rad: tuple[float, float]

    @property
    def world(self) -> World:
        """The flat that it is in."""

    @property
    def holding(self) -> str:
        """What the gripper holds; empty if nothing."""

    @property
    def path(self) -> Sequence[tuple[float, float]]:
        """Where it has been."""

    @property
    def time_s(self) -> float:
        """Simulated seconds since the start."""

    @property
    def step_s(self) -> float:
        """Simulated seconds of one step."""

    @property
    def pose(self) -> Pose:
        """Where it is."""

    @property
    def twist(self) -> tuple[float, float]:
        """Speed along the heading, and turning rate."""

    @property
    def odometry(self) -> Pose:
        """Where it takes itself to be."""

    @property
    def wheel_twist(self) -> tuple[float, float]:
        """How fast it takes itself to be."""

    def command(self, v: float, w: float) -> None:
        """Ask for a speed and a turning rate; both are limited."""

    def step(self) -> None:
        """Let one time step pass."""

    def things(self) -> dict[str, tuple[float, float]]:
        """Return where each thing is."""

    def people(self) -> dict[str, tuple[float, float]]:
        """Return where each person is."""

    @property
    def hand(self) -> tuple[float, float, float] | None:
        """Where its hand is, seen from it: ahead, to the left, up; None if it has no arm."""

    @property
    def arm_moves(self) -> bool:
        """Whether its arm is on its way."""

    def stop_arm(self) -> None:
        """Leave the arm where it is."""

    def pick(self, name: str) -> bool:
        """Begin to take a thing that is in reach; False if it is not."""

    def place(self, furniture: str) -> bool:
        """Begin to put what is held on a piece of furniture ahead; False if that can't be."""

    def resting(self) -> dict[str, str]:
        """Return on which piece of furniture things are, those that are on one."""

    def close_gripper(self) -> str:
        """Grab the nearest thing in reach; return the name of what is held."""

    def open_gripper(self) -> str:
        """Let go; return the name of what was held."""

    def scan(self) -> npt.NDArray[np.float32]:
        """Return the distances of ``BEAMS`` beams from -pi to pi about the heading."""

    def docked(self) -> bool:
        """Whether it stands in the dock."""

    def reset(self) -> None:
        """Put everything back to the start."""
