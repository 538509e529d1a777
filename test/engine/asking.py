"""What the conformance suite asks of every engine."""

from __future__ import annotations

from nemotron_ros.chat.messages import Message, ToolSpec
from nemotron_ros.engine.protocol import ChatRequest


def tool(name: str, required: list[str], **properties: object) -> ToolSpec:
    """Return a tool without examples."""
    parameters = {
        'type': 'object',
        'properties': properties,
        'required': required,
        'additionalProperties': False,
    }
    return ToolSpec(name, f'To {name}.', parameters)


TOOLS = (
    tool(
        'drive',
        ['direction', 'distance_m'],
        direction={'enum': ['forward', 'backward']},
        distance_m={'type': 'number', 'exclusiveMinimum': 0, 'maximum': 2.5},
        times={'type': 'integer', 'minimum': 1, 'maximum': 12},
    ),
    tool('say', ['text'], text={'type': 'string', 'minLength': 1, 'maxLength': 12}),
    tool('stop', []),
)
SYSTEM = Message('system', 'You control a robot.')
WARM = ChatRequest((SYSTEM,), TOOLS)


def asked(text: str, **changes: object) -> ChatRequest:
    """Return a request with the suite's tools."""
    return ChatRequest((SYSTEM, Message('user', text)), TOOLS, **changes)  # type: ignore[arg-type]
