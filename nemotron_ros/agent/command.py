"""What is asked of the agent, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

ALL_TOOLS = '*'


class Priority(IntEnum):
    """Whose command goes first. The numbers are those of ``nemotron_msgs/action/ExecuteCommand``.

    An operator's command ends every normal one that runs.
    """

    NORMAL = 0
    OPERATOR = 1


@dataclass(frozen=True)
class Limits:
    """Bounds of one command: turns of the model, calls, tokens per turn, characters.

    ``thinking_tokens`` come on top of ``max_tokens`` where the model reasons. After
    ``max_corrections`` turns with a call that its schema refused, another one ends the command.
    """

    max_turns: int = 6
    max_calls: int = 16
    max_tokens: int = 384
    thinking_tokens: int = 1024
    max_command_chars: int = 2000
    max_corrections: int = 3


@dataclass(frozen=True)
class Sampling:
    """How the model's words are drawn.

    ``bound_thinking`` has the engine itself end the reasoning after ``Limits.thinking_tokens``.
    ``constrained`` holds the model to the tools' schemas while it writes.
    """

    temperature: float = 0.0
    seed: int = 0
    thinking: bool = False
    bound_thinking: bool = False
    constrained: bool = True


@dataclass(frozen=True)
class Command:
    """What is asked: one action goal. ``allowed_tools`` names tools, ``'*'`` all of them.

    ``thinking`` None leaves it to :class:`Sampling`.
    """

    id: str
    text: str
    session_id: str = ''
    allowed_tools: tuple[str, ...] = (ALL_TOOLS,)
    dry_run: bool = False
    thinking: bool | None = None
    priority: Priority = Priority.NORMAL


class BadCommandError(ValueError):
    """The command itself is wrong; nothing was done."""
