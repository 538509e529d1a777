"""The world of a scenario: what tools return there, in place of a robot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nemotron_ros.cancel import CancelToken
from nemotron_ros.evaluation.scenario import Fails
from nemotron_ros.tools.confirmation import Answer
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.model import Tool, ToolFile
from nemotron_ros.tools.result import Status, ToolResult


@dataclass(frozen=True)
class WorldExecutor:
    """Carries out checked calls by looking up what they return."""

    world: Mapping[str, object | Fails]

    def execute(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        cancel: CancelToken,
        progress: Callable[[object], None],
    ) -> ToolResult:
        """Return what the world has for the tool; nothing where it says nothing."""
        value = self.world.get(tool.spec.name)
        if isinstance(value, Fails):
            return ToolResult(Status.FAILED, None, value.reason)
        return ToolResult(Status.SUCCEEDED, value)

    def halt(self) -> None:
        """Do nothing: nothing moves here."""


def dispatcher(tool_file: ToolFile, world: Mapping[str, object | Fails]) -> Dispatcher:
    """Return the way that calls take in a world: the validator and guard of a robot.

    Preconditions hold, and operators say yes. Caps and fence are not held: they look at what is
    sent, and nothing is.
    """
    yes = Answer(True, 'the evaluation')
    guard = Guard(tool_file, unmet=lambda _, __: '', ask=lambda *_: yes)
    return Dispatcher(tool_file, guard, WorldExecutor(world))
