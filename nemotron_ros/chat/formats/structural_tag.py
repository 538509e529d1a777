"""Nemotron 3's tool calls as a structural tag, which XGrammar holds a model to.

The model is free until it begins a call: what is held is the call, in its own format. A
model that writes calls in another format never comes to the trigger, and stays free.

Of a schema only ``KEYWORDS`` are passed on: what some servers refuse is left out. The ranges
of numbers are passed on where the tool asks for it (see
:mod:`nemotron_ros.chat.formats.number_range`). What is left out is for the validator, which
checks every call against the whole schema.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nemotron_ros.chat.formats.coerce import flattened
from nemotron_ros.chat.messages import ToolSpec

KEYWORDS = frozenset(
    {
        'type', 'enum', 'const', 'anyOf', 'properties', 'required', 'additionalProperties',
        'items', 'prefixItems', 'minItems', 'maxItems', 'minLength', 'maxLength',
    }
)  # fmt: skip
RANGES = frozenset({'minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum'})
_TRIGGER = '<tool_call>\n<function='


def write(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """Return the structural tag of a turn: words, and calls that keep their tool's schema."""
    return {
        'type': 'structural_tag',
        'format': {
            'type': 'triggered_tags',
            'triggers': [_TRIGGER],
            'tags': [_tag(tool) for tool in tools],
            'at_least_one': False,
            'stop_after_first': False,
        },
    }


def lower(schema: Any, keywords: Collection[str] = KEYWORDS) -> Any:
    """Return the part of a JSON Schema that every server takes."""
    if not isinstance(schema, Mapping):
        return schema
    if 'allOf' in schema:
        schema = flattened(schema)
    lowered: dict[str, Any] = {}
    for key, value in schema.items():
        if key == 'oneOf':
            lowered['anyOf'] = [lower(branch, keywords) for branch in value]
        elif key == 'properties':
            lowered[key] = {name: lower(part, keywords) for name, part in value.items()}
        elif key in ('anyOf', 'prefixItems'):
            lowered[key] = [lower(branch, keywords) for branch in value]
        elif key in ('items', 'additionalProperties'):
            lowered[key] = lower(value, keywords)
        elif key in keywords:
            lowered[key] = value
    return lowered


def _tag(tool: ToolSpec) -> dict[str, Any]:
    begin, end = f'{_TRIGGER}{tool.name}>\n', '</function>\n</tool_call>'
    if not tool.parameters.get('properties'):
        # A schema without properties would allow any.
        return {
            'type': 'tag',
            'begin': begin,
            'content': {'type': 'const_string', 'value': '</function>\n'},
            'end': '</tool_call>',
        }
    keywords = KEYWORDS | RANGES if tool.holds_ranges else KEYWORDS
    schema = {'additionalProperties': False, **lower(tool.parameters, keywords)}
    content = {'type': 'qwen_xml_parameter', 'json_schema': schema}
    return {'type': 'tag', 'begin': begin, 'content': content, 'end': f'\n{end}'}
