"""What every kind of reading shares: how a value is told, and how that there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.transforms import TF_TYPE
from nemotron_ros.bridge.values import plain
from nemotron_ros.tools.model import ReadImage, ReadScan, ReadTransform
from nemotron_ros.tools.templates import Value, evaluate

TYPES: Mapping[type[object], str] = {
    ReadTransform: TF_TYPE,
    ReadScan: 'sensor_msgs/msg/LaserScan',
    ReadImage: 'sensor_msgs/msg/Image',
}
"""The message types of the readings that are of one type alone."""


class NothingRead(Exception):
    """There is nothing to tell that is true now; ``value`` holds what could be read after all."""

    def __init__(self, reason: str, value: object = None) -> None:
        super().__init__(reason)
        self.value = value


def told(value: Value | None, seen: Mapping[str, Any], variables: Mapping[str, Any]) -> object:
    """Return ``value`` computed from what was seen; all of it without a ``value``.

    :raise TemplateError: if it can't be.
    """
    return plain(seen) if value is None else plain(evaluate(value, {**seen, **variables}))
