"""The node's parameters: what each means, its default and its range."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from nemotron_ros.deployment import Wanted
from nemotron_ros.monitor import Watching

READ_ONLY = {'autostart'}
LIVE = {
    'tool_file': 'Read when the node is configured, and by ~/reload_tools.',
    'goal_timeout_max_s': 'Holds for the next goal.',
}
"""Those that may be set while the node is configured, and when that takes effect."""
AT_CONFIGURE = 'Read when the node is configured.'

RANGES: dict[str, tuple[float, float]] = {
    'context_tokens': (0, 262144),
    'threads': (0, 256),
    'max_tokens': (16, 8192),
    'thinking_tokens': (16, 32768),
    'max_turns': (1, 32),
    'max_calls': (1, 128),
    'max_command_chars': (1, 20000),
    'max_corrections': (0, 32),
    'max_goals': (0, 32),
    'max_queued': (0, 256),
    'max_sessions': (1, 1024),
    'max_history_tokens': (0, 65536),
    'session_max_age_s': (1.0, 604800.0),
    'temperature': (0.0, 2.0),
    'seed': (0, 2**31 - 1),
    'goal_timeout_max_s': (1.0, 86400.0),
    'trace_max_mb': (16, 1 << 20),
    'trace_max_days': (1, 3650),
    'metrics_port': (0, 65535),
}

DESCRIPTIONS = {
    'tool_file': 'Path of the tool file: everything that the robot may do.',
    'device': 'Profile of the board: a name of config/devices, the path of one, or auto.',
    'engine': "Inference engine, such as llama_cpp or vllm; empty: the profile's.",
    'model': "Name or path of the model, or its name at the server; empty: the profile's.",
    'url': 'Where a server is that somebody else runs: http://HOST:PORT.',
    'api_key_env': "Name of the environment variable that holds the server's key.",
    'script': 'Replies of the scripted engine: path of a YAML file.',
    'context_tokens': "Size of the context, tokens; 0: the profile's.",
    'threads': 'Threads of the engine; 0 leaves one core to the rest of the robot.',
    'max_tokens': 'Most tokens that the model may write in a turn.',
    'thinking_tokens': 'Most tokens that it may reason with in a turn, on top of max_tokens.',
    'max_turns': 'Most turns of the model in a command.',
    'max_calls': 'Most tool calls in a command.',
    'max_command_chars': 'Longest command taken, characters.',
    'max_corrections': 'Turns of a command that may have a call that its schema refuses.',
    'max_goals': "Commands that run at once; 0: as many as the profile's batch, or else 1.",
    'max_queued': 'Commands that may wait beside these; more are rejected.',
    'ask_user': 'Let the model ask the person; the command ends, and the next one answers.',
    'max_sessions': 'Conversations that are remembered.',
    'max_history_tokens': 'Most tokens of earlier commands in a prompt; 0 remembers nothing.',
    'session_max_age_s': 'How long a conversation is remembered after its last command, seconds.',
    'temperature': 'Sampling temperature; 0 takes the likeliest word.',
    'seed': 'Seed of the sampling.',
    'thinking': 'Let the model reason before it answers; a goal may say otherwise.',
    'bound_thinking': 'Have the engine end the reasoning itself; not every one can.',
    'goal_timeout_max_s': 'Longest timeout_s that a goal may ask for, seconds.',
    'trace_folder': 'Folder that keeps what happens, for replay; empty keeps nothing.',
    'trace_max_mb': 'Most that all its traces may take, megabytes; the oldest goes first.',
    'trace_max_days': 'How long a trace is kept, days.',
    'metrics_port': 'Port on 127.0.0.1 that tells Prometheus how the node is; 0 for none.',
    'autostart': 'Configure and activate without waiting for a lifecycle manager.',
}


@dataclass(frozen=True)
class Parameters:
    """The node's parameters with their defaults. They take effect when it is configured."""

    tool_file: str = ''
    device: str = 'cpu'
    engine: str = ''
    model: str = ''
    url: str = ''
    api_key_env: str = ''
    script: str = ''
    context_tokens: int = 0
    threads: int = 0
    max_tokens: int = 384
    thinking_tokens: int = 1024
    max_turns: int = 6
    max_calls: int = 16
    max_command_chars: int = 2000
    max_corrections: int = 3
    max_goals: int = 0
    max_queued: int = 0
    ask_user: bool = False
    max_sessions: int = 16
    max_history_tokens: int = 1024
    session_max_age_s: float = 3600.0
    temperature: float = 0.0
    seed: int = 0
    thinking: bool = False
    bound_thinking: bool = False
    goal_timeout_max_s: float = 3600.0
    trace_folder: str = ''
    trace_max_mb: int = 512
    trace_max_days: int = 30
    metrics_port: int = 0
    autostart: bool = False


def declare(node: Node) -> None:
    """Declare every parameter with its description and range."""
    for parameter in fields(Parameters):
        node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter.name))


def read(node: Node) -> Parameters:
    """Return the parameters as they are now."""
    values: dict[str, Any] = {
        parameter.name: node.get_parameter(parameter.name).value
        for parameter in fields(Parameters)
    }
    return Parameters(**values)


def refusal(names: Iterable[str]) -> str:
    """Return why parameters can't be set while the node is configured; empty if they can."""
    late = sorted({field.name for field in fields(Parameters)} & set(names) - set(LIVE))
    if not late:
        return ''
    return (
        f'{", ".join(late)}: read when the node is configured; deactivate it, clean it up, set '
        'this, and configure it again'
    )


def engine_wanted(values: Parameters) -> Wanted:
    """Return what the parameters say of the engine."""
    return Wanted(**{name.name: getattr(values, name.name) for name in fields(Wanted)})


def watching(values: Parameters) -> Watching:
    """Return what the parameters say of the trace and the metrics."""
    return Watching(**{name.name: getattr(values, name.name) for name in fields(Watching)})


def _descriptor(name: str) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=DESCRIPTIONS[name],
        additional_constraints='' if name in READ_ONLY else LIVE.get(name, AT_CONFIGURE),
        read_only=name in READ_ONLY,
    )
    if name in RANGES:
        low, high = RANGES[name]
        if isinstance(low, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=int(high))]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor
