"""A moment of the flat: what a picture of it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nemotron_ros.sim.body import Body
from nemotron_ros.sim.world import Pose, World


@dataclass(frozen=True)
class Seen:
    """Where a robot is, and where it has been."""

    pose: Pose
    path: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Scene:
    """Robots, things and people in the flat with its doors as they are; metres and radians."""

    world: World
    robots: Sequence[Seen]
    things: Mapping[str, tuple[float, float]]
    people: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def scene_of(first: Body, *others: Body) -> Scene:
    """Return how it is now, with one robot or several in one flat."""
    robots = [Seen(robot.pose, list(robot.path)) for robot in (first, *others)]
    return Scene(first.world, robots, first.things(), first.people())
