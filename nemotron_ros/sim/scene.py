"""A moment of the flat: what a picture of it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nemotron_ros.sim.body import Body
from nemotron_ros.sim.world import Pose


@dataclass(frozen=True)
class Scene:
    """Where the robot is and has been, and where things are; metres and radians."""

    pose: Pose
    things: Mapping[str, tuple[float, float]]
    path: Sequence[tuple[float, float]] = ()


def scene_of(robot: Body) -> Scene:
    """Return how it is now."""
    return Scene(robot.pose, robot.things(), list(robot.path))
