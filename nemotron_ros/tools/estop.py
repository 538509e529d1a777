"""The emergency stop of a tool file: what it listens to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heartbeat:
    """A topic that speaks while all is well; silent for ``max_silence_s``, it stops the robot."""

    topic: str
    type: str
    max_silence_s: float


@dataclass(frozen=True)
class EStop:
    """What stops the robot beside people's commands.

    ``topic`` (std_msgs/msg/Bool) stops by true. None listens to nothing.
    """

    topic: str | None = None
    heartbeat: Heartbeat | None = None
