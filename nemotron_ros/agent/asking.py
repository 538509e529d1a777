"""The tool by which the model asks the person: it reaches no robot, and ends the command."""

from __future__ import annotations

from nemotron_ros.chat.messages import Example, ToolCall, ToolSpec

ASK_USER = ToolSpec(
    'ask_user',
    'Ask the person one short question, when the request does not say enough to act.',
    {
        'type': 'object',
        'properties': {'question': {'type': 'string', 'minLength': 1, 'maxLength': 300}},
        'required': ['question'],
        'additionalProperties': False,
    },
    (
        Example(
            'Bring it over there.',
            (ToolCall('call_1', 'ask_user', {'question': 'What shall I bring, and where to?'}),),
        ),
    ),
)
