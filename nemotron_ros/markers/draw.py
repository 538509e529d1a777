"""Markers of a robot's world and of what it is asked, as messages."""

from __future__ import annotations

import math
from collections.abc import Iterator

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

from nemotron_ros.markers.caption import Gate, calls_text, command_text, gate
from nemotron_ros.markers.ground import Ground, Place
from nemotron_ros.tools.limits import Fence
from nemotron_ros.watch.view import Stage, View

LIFETIME_S = 3
"""After so long without news they are gone: what a node that has died said is not shown on."""
TEXT_M = 0.15
_Colour = tuple[float, float, float, float]
_WHITE: _Colour = (1.0, 1.0, 1.0, 1.0)
_PLACE: _Colour = (0.35, 0.55, 0.9, 0.8)
_GOAL: _Colour = (1.0, 0.6, 0.1, 0.9)
_FENCE: _Colour = (0.9, 0.3, 0.3, 0.8)
_GATE: dict[Gate, _Colour] = {
    Gate.STOPPED: (0.9, 0.1, 0.1, 1.0),
    Gate.ASKING: (1.0, 0.8, 0.1, 1.0),
    Gate.BUSY: (0.2, 0.6, 1.0, 1.0),
    Gate.FREE: (0.2, 0.8, 0.3, 1.0),
}


def markers(ground: Ground, view: View) -> list[Marker]:
    """Return everything that there is to see now, each with a namespace and number of its own."""
    return [*_world(ground, view), *_robot(ground, view)]


def _world(ground: Ground, view: View) -> Iterator[Marker]:
    goals = {
        ground.goal(call.call.name, call.call.arguments)
        for command in view.commands
        if command.open
        for call in command.calls
        if call.stage is not Stage.ENDED
    }
    for number, place in enumerate(ground.places):
        yield from _place(number, place, place in goals)
    if ground.fence is not None:
        yield _fence(ground.fence)


def _place(number: int, place: Place, is_goal: bool) -> Iterator[Marker]:
    colour = _GOAL if is_goal else _PLACE
    grown = 1.5 if is_goal else 1.0
    kind = Marker.CYLINDER if place.yaw is None else Marker.ARROW
    mark = _marker('places', number, place.frame, kind, colour)
    _put(mark, place.x, place.y, place.z)
    if place.yaw is None:
        _size(mark, 0.3 * grown, 0.3 * grown, 0.05)
    else:
        mark.pose.orientation.z = math.sin(place.yaw / 2)
        mark.pose.orientation.w = math.cos(place.yaw / 2)
        _size(mark, 0.5 * grown, 0.1 * grown, 0.1 * grown)
    yield mark
    name = _text('place_names', number, place.frame, place.name, colour)
    _put(name, place.x, place.y, place.z + 0.3)
    yield name


def _fence(fence: Fence) -> Marker:
    line = _marker('fence', 0, fence.frame, Marker.LINE_STRIP, _FENCE)
    line.scale.x = 0.05
    line.points = [Point(x=x, y=y) for x, y in (*fence.corners, fence.corners[0])]
    return line


def _robot(ground: Ground, view: View) -> Iterator[Marker]:
    """Yield what goes with the robot."""
    frame = ground.robot_frame
    state, why = gate(view)
    ball = _marker('guard', 0, frame, Marker.SPHERE, _GATE[state])
    _put(ball, 0.0, 0.0, 0.6)
    _size(ball, 0.12, 0.12, 0.12)
    yield ball
    if why:
        yield _over(_text('guard_text', 0, frame, why, _GATE[state]), 0.8)
    if view.commands:
        newest = view.commands[-1]
        calls = calls_text(newest)
        if calls:
            yield _over(_text('calls', 0, frame, calls, _WHITE), 1.1)
        height_m = 1.1 + TEXT_M * (calls.count('\n') + 2)
        yield _over(_text('command', 0, frame, command_text(newest), _WHITE), height_m)


def _over(marker: Marker, height_m: float) -> Marker:
    _put(marker, 0.0, 0.0, height_m)
    return marker


def _text(space: str, number: int, frame: str, text: str, colour: _Colour) -> Marker:
    marker = _marker(space, number, frame, Marker.TEXT_VIEW_FACING, colour)
    marker.text = text
    marker.scale.z = TEXT_M
    return marker


def _marker(space: str, number: int, frame: str, kind: int, colour: _Colour) -> Marker:
    marker = Marker(ns=space, id=number, type=kind, action=Marker.ADD)
    marker.header.frame_id = frame  # without a stamp: where the frame is when it is drawn
    marker.frame_locked = True
    marker.lifetime = Duration(sec=LIFETIME_S)
    marker.pose.orientation.w = 1.0
    red, green, blue, alpha = colour
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
    return marker


def _put(marker: Marker, x: float, y: float, z: float) -> None:
    marker.pose.position = Point(x=x, y=y, z=z)


def _size(marker: Marker, x: float, y: float, z: float) -> None:
    marker.scale.x, marker.scale.y, marker.scale.z = x, y, z
