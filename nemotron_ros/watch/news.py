"""What a watcher hears of a node. No ROS."""

from __future__ import annotations

from dataclasses import dataclass

from nemotron_ros.events import Event
from nemotron_ros.tools.confirmation import Question


@dataclass(frozen=True)
class EngineTold:
    """State of the engine. ``progress`` is 0 to 1 while it loads."""

    state: str
    engine: str = ''
    model: str = ''
    message: str = ''
    progress: float = 0.0


@dataclass(frozen=True)
class RobotTold:
    """What the node was told that it may do."""

    robot: str
    tools: int


@dataclass(frozen=True)
class HealthTold:
    """How the node is, as it tells once a second."""

    active: bool
    running: int
    queued: int
    tokens_per_s: float
    first_token_s: float
    memory_mb: int


@dataclass(frozen=True)
class StopTold:
    """Whether a stop is latched: why nothing may run, empty if it may."""

    stopped: str


@dataclass(frozen=True)
class QuestionsTold:
    """Every call that waits for an operator now, oldest first."""

    open: tuple[Question, ...]


@dataclass(frozen=True)
class SeenInGraph:
    """Whether anybody publishes the node's events."""

    there: bool


@dataclass(frozen=True)
class KeyTold:
    """What came of a key, in words."""

    text: str
    good: bool = True


News = (
    Event | EngineTold | RobotTold | HealthTold | StopTold | QuestionsTold | SeenInGraph | KeyTold
)
