"""What a tool file says of the robot's world: places, fence and frames. No ROS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nemotron_ros.tools.conditions import TransformCondition
from nemotron_ros.tools.limits import Fence
from nemotron_ros.tools.model import (
    Binding,
    CallService,
    Publish,
    ReadTransform,
    SendGoal,
    ToolFile,
)
from nemotron_ros.tools.templates import names_in

ROBOT_FRAME = 'base_link'
"""Where the robot is, unless the tool file names another frame of it."""
WORLD_FRAME = 'map'
"""Where places are, if neither their tool nor the fence says it."""


@dataclass(frozen=True)
class Place:
    """A named place: metres, and radians where it has a heading. ``tools`` go there."""

    name: str
    frame: str
    x: float
    y: float
    z: float
    yaw: float | None
    tools: frozenset[str]


@dataclass(frozen=True)
class Ground:
    """What there is to draw, whatever the robot does."""

    places: tuple[Place, ...] = ()
    fence: Fence | None = None
    robot_frame: str = ROBOT_FRAME

    def goal(self, tool: str, arguments: Mapping[str, Any]) -> Place | None:
        """Return the place that a call goes to; None if it goes to none that is known."""
        for place in self.places:
            if tool in place.tools and place.name in arguments.values():
                return place
        return None


def ground_of(tool_file: ToolFile) -> Ground:
    """Return what a tool file says of the world.

    A table has places if the position of a message is made of it, and each of its entries has
    an ``x`` and a ``y``.
    """
    fence = tool_file.limits.fence
    usual = WORLD_FRAME if fence is None else fence.frame
    found: dict[tuple[str, str], set[str]] = {}
    for name, tool in tool_file.tools.items():
        for table, frame in _positions(_payload(tool.binding), ''):
            if _has_places(tool_file.tables.get(table)):
                found.setdefault((table, frame or usual), set()).add(name)
    places = []
    for (table, frame), tools in found.items():
        entries: Any = tool_file.tables[table]
        places += [_place(name, frame, entry, tools) for name, entry in entries.items()]
    return Ground(tuple(places), fence, _robot_frame(tool_file))


def _payload(binding: Binding) -> Any:
    """Return what is sent."""
    if isinstance(binding, Publish):
        return binding.send.message
    if isinstance(binding, CallService):
        return binding.request
    return binding.goal if isinstance(binding, SendGoal) else None


def _positions(value: Any, frame: str) -> Iterator[tuple[str, str]]:
    """Yield each name that a position is made of, with the frame that its message names."""
    if isinstance(value, list):
        for item in value:
            yield from _positions(item, frame)
    if not isinstance(value, Mapping):
        return
    header = value.get('header')
    if isinstance(header, Mapping) and isinstance(header.get('frame_id'), str):
        frame = header['frame_id']
    for key, item in value.items():
        if key == 'position':
            yield from ((name, frame) for name in sorted(names_in(item)))
        else:
            yield from _positions(item, frame)


def _has_places(table: object) -> bool:
    return (
        isinstance(table, Mapping)
        and bool(table)
        and all(isinstance(e, Mapping) and {'x', 'y'} <= set(e) for e in table.values())
        and all(_finite(v) for e in table.values() for v in e.values())
    )


def _finite(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(float(str(value)))


def _place(name: str, frame: str, entry: Mapping[str, float], tools: set[str]) -> Place:
    yaw = entry.get('yaw')
    return Place(
        name,
        frame,
        float(entry['x']),
        float(entry['y']),
        float(entry.get('z', 0.0)),
        None if yaw is None else float(yaw),
        frozenset(tools),
    )


def _robot_frame(tool_file: ToolFile) -> str:
    """Return the frame of the robot that its file looks up first."""
    reads = [tool.binding for tool in tool_file.tools.values()]
    looked_up = [
        known.source
        for known in (*tool_file.conditions.values(), *reads)
        if isinstance(known, TransformCondition | ReadTransform)
    ]
    return looked_up[0] if looked_up else ROBOT_FRAME
