"""The loop: a command goes in, words and checked calls come out, and an account of both."""

from nemotron_ros.agent.command import (
    ALL_TOOLS,
    BadCommandError,
    Command,
    Limits,
    Priority,
    Sampling,
)
from nemotron_ros.agent.line import Line
from nemotron_ros.agent.loop import Agent
from nemotron_ros.agent.story import rejected

__all__ = [
    'ALL_TOOLS',
    'Agent',
    'BadCommandError',
    'Command',
    'Limits',
    'Line',
    'Priority',
    'Sampling',
    'rejected',
]
