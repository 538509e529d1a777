"""What a tool file says, as data: tools, how each reaches the robot, and its rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from nemotron_ros.chat.messages import Example, ToolSpec
from nemotron_ros.tools.conditions import Condition
from nemotron_ros.tools.estop import EStop
from nemotron_ros.tools.limits import MotionLimits
from nemotron_ros.tools.parts import Place
from nemotron_ros.tools.templates import Value


@dataclass(frozen=True)
class Send:
    """A message for a topic: its name, its ROS type and its fields."""

    topic: str
    type: str
    message: Value


@dataclass(frozen=True)
class Until:
    """Evidence that a motion has reached its end, read from a topic.

    ``when`` sees the tool's arguments, ``now`` (the latest message) and
    ``start`` (the first one read after the call began). ``within_s`` bounds
    the wait; a motion that has not got there by then has timed out.
    """

    topic: str
    type: str
    when: Value
    within_s: Value


@dataclass(frozen=True)
class Publish:
    """Publish a message: once, or at ``rate_hz`` for ``for_s`` seconds or ``until`` evidence.

    ``then`` is published at the end, however the call ends.
    """

    send: Send
    rate_hz: float | None = None
    for_s: Value | None = None
    until: Until | None = None
    then: Send | None = None


@dataclass(frozen=True)
class Read:
    """Read the latest message of a topic; ``value`` sees its fields by name."""

    topic: str
    type: str
    value: Value
    max_age_s: float


@dataclass(frozen=True)
class ReadTransform:
    """Read where the frame ``source`` is in the frame ``target``.

    ``value`` sees ``translation`` and ``rotation``; None tells metres and degrees.
    """

    target: str
    source: str
    value: Value | None
    max_age_s: float


@dataclass(frozen=True)
class ReadParameter:
    """Read a parameter of another node; ``value`` sees it as ``parameter`` (None: it alone)."""

    node: str
    name: str
    value: Value | None
    timeout_s: float


@dataclass(frozen=True)
class ReadScan:
    """Read what a laser scan says, in ``sectors`` parts of the circle.

    ``mounted_deg`` is how far the scanner's zero is turned from straight ahead, anticlockwise.
    ``value`` sees ``nearest_m``, ``bearing_deg``, ``direction``, ``sectors`` and ``unseen``
    (None: all of them).
    """

    topic: str
    sectors: int
    mounted_deg: float
    value: Value | None
    max_age_s: float


@dataclass(frozen=True)
class ReadImage:
    """Read an image's ``width``, ``height``, ``encoding`` and ``brightness``."""

    topic: str
    value: Value | None
    max_age_s: float


@dataclass(frozen=True)
class ReadSeveral:
    """Read several values, by name, for one answer."""

    parts: Mapping[str, Read | ReadTransform | ReadParameter | ReadScan | ReadImage]


@dataclass(frozen=True)
class UsePlugin:
    """Run a function of an installed package; ``use`` is the name of its entry point.

    ``then`` is published when the call is cut short, to end what the function began.
    """

    use: str
    timeout_s: float
    then: Send | None = None


@dataclass(frozen=True)
class CallService:
    """Call a service; ``value`` sees the response's fields by name (None: the whole response).

    A response with a boolean ``success`` that is false is a failure, and its
    ``message`` the reason. ``then`` is published when the call is cut short, to end
    what the service began.
    """

    name: str
    type: str
    request: Value
    timeout_s: float
    value: Value | None = None
    then: Send | None = None


@dataclass(frozen=True)
class SendGoal:
    """Send an action goal and wait for its end; ``value`` sees the result's fields by name."""

    name: str
    type: str
    goal: Value
    timeout_s: float
    value: Value | None = None


Reading = Read | ReadTransform | ReadParameter | ReadScan | ReadImage | ReadSeveral
Binding = Publish | Reading | CallService | SendGoal | UsePlugin


@dataclass(frozen=True)
class Rules:
    """What the guard holds a tool to; None sets no limit.

    ``exclusive`` names a group of which one call runs at a time. ``requires`` names
    conditions of the file. ``confirm_within_s`` is how long an operator is given to say yes;
    None asks nobody.
    """

    max_per_minute: int | None = None
    exclusive: str | None = None
    max_per_command: int | None = None
    max_in_flight: int | None = None
    requires: tuple[str, ...] = ()
    confirm_within_s: float | None = None


class OutOfRange(Enum):
    """What becomes of a number out of its range, as the tool file says it."""

    REFUSE = 'refuse'
    """The call is refused, and the number told."""
    CLAMP = 'clamp'
    """The edge of the range runs instead, and is told."""
    CONSTRAIN = 'constrain'
    """The engine lets the model write none, where it can; what comes all the same is refused."""


@dataclass(frozen=True)
class Tool:
    """One tool: what the model sees, how it reaches ROS, and the guard's rules."""

    spec: ToolSpec
    binding: Binding
    rules: Rules
    out_of_range: OutOfRange = OutOfRange.REFUSE


@dataclass(frozen=True)
class ToolFile:
    """A loaded tool file, with the parts that it includes.

    ``tables`` are the values that templates may use beside the arguments,
    such as named places. ``examples`` are those that need several calls, or none.
    ``conditions`` are what :attr:`Rules.requires` names; ``limits`` hold for all that moves.
    ``disabled`` tools are only checked, nothing else knows of them. ``warnings`` are what an
    author should hear, as ``FILE:LINE: path: what``. ``places`` tell where each piece stands,
    by its dotted path.
    """

    path: str
    robot: str
    tools: Mapping[str, Tool]
    tables: Mapping[str, object] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    stop_words: tuple[str, ...] = ()
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    limits: MotionLimits = field(default_factory=MotionLimits)
    estop: EStop = field(default_factory=EStop)
    disabled: Mapping[str, Tool] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)

    def place(self, path: str) -> Place:
        """Return where a piece stands, or else the nearest one that it is part of."""
        while path and path not in self.places:
            path = path[: max(path.rfind('.'), path.rfind('['), 0)]
        return self.places.get(path, Place(self.path, 1))
