"""Reads where a frame is in another one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.reading import NothingRead, told
from nemotron_ros.bridge.transform_tree import TransformError
from nemotron_ros.bridge.waiting import DISCOVERY_S
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import ReadTransform
from nemotron_ros.tools.templates import yaw


def read_transform(
    clients: Clients, binding: ReadTransform, variables: Mapping[str, Any], cancel: CancelToken
) -> object:
    """Return where a frame is in another: metres and degrees, or what the file makes of it.

    :raise NothingRead: if it is not known.
    """
    try:
        found = clients.transforms().look_up(
            binding.target, binding.source, binding.max_age_s, DISCOVERY_S, cancel
        )
    except TransformError as error:
        raise NothingRead(str(error)) from error
    translation = dict(zip('xyz', found.translation, strict=True))
    rotation = dict(zip('xyzw', found.rotation, strict=True))
    if binding.value is not None:
        return told(binding.value, {'translation': translation, 'rotation': rotation}, variables)
    pose = {f'{axis}_m': round(value, 3) for axis, value in translation.items()}
    return {**pose, 'yaw_deg': round(math.degrees(yaw(rotation)), 1)}
