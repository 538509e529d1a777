"""The prompt: what every command begins with, and how a chat is written for a format.

The order is fixed, system turn and tools first, then the examples, then the
session's turns, so that engines keep the beginning read from one command to the
next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.formats.protocol import Format
from nemotron_ros.chat.messages import Example, Message, ToolSpec
from nemotron_ros.chat.plain_text import plain, plain_value

SYSTEM = (
    'You control a robot. Use its tools to do what the person asks; call a tool when the '
    'request says enough to act. Several steps need several calls, in order. Answer in one '
    'short sentence when no tool is needed. Refuse in one short sentence what no tool can do '
    'or what would be unsafe.'
)


@dataclass(frozen=True)
class Prompt:
    """A chat as an OpenAI-compatible server takes it.

    ``template_kwargs`` go to the model's chat template.
    """

    messages: tuple[dict[str, object], ...]
    template_kwargs: dict[str, object]


def opening(tools: Sequence[ToolSpec], examples: Sequence[Example]) -> tuple[Message, ...]:
    """Return the turns that every command begins with: the system turn and the examples.

    The tool file's own ``examples`` are spread among the tools' ones: a small
    model takes after what it read last, and a block of refusals at the end
    makes it refuse everything.
    """
    of_tools = [example for tool in tools for example in tool.examples]
    turns = [Message('system', SYSTEM)]
    for example in _spread(examples, of_tools):
        turns += _example_turns(example)
    return tuple(turns)


def result_content(
    name: str,
    status: str,
    value: object = None,
    error: str = '',
    clamped: Mapping[str, Any] | None = None,
) -> str:
    """Write a tool result as the model reads it.

    Nemotron's template names neither tool nor call in a result, so the content does.

    :param clamped: the arguments that were out of range, as they ran.
    """
    result: dict[str, object] = {'tool': name, 'status': status}
    if value is not None:
        result['value'] = value
    if error:
        result['error'] = error
    if clamped:
        result['clamped_to'] = dict(clamped)
    return json.dumps(result, ensure_ascii=False, default=str)


def _spread(few: Sequence[Example], many: Sequence[Example]) -> list[Example]:
    """Return ``many`` with ``few`` in between at even distances, and one of ``many`` last."""
    places = [(i + 0.5) / max(len(many), 1) for i in range(len(many))]
    between = [i / max(len(few), 1) for i in range(len(few))]
    order = sorted([*zip(between, few, strict=True), *zip(places, many, strict=True)], key=_place)
    return [example for _, example in order]


def _place(item: tuple[float, Example]) -> float:
    return item[0]


def _example_turns(example: Example) -> list[Message]:
    user = Message('user', example.utterance)
    if not example.calls:
        return [user, Message('assistant', example.answer)]
    turns = [user, Message('assistant', tool_calls=example.calls)]
    if example.answer:
        values = example.values or (None,) * len(example.calls)
        for call, value in zip(example.calls, values, strict=True):
            content = result_content(call.name, 'succeeded', value)
            turns.append(Message('tool', content, (), call.id, call.name))
        turns.append(Message('assistant', example.answer))
    return turns


def format_for(chat_template: str) -> Format:
    """Return the format that a model with this chat template was made for."""
    if all(mark in chat_template for mark in ('<tool_call>', '<function=', '<parameter=')):
        return NemotronXml()
    return JsonCall()


def render(
    form: Format, tools: Sequence[ToolSpec], messages: Iterable[Message], thinking: bool
) -> Prompt:
    """Write a chat for a model that speaks ``form``.

    Only the system turn may hold marks of the model's format: what a person, a tool or the
    model itself has said is written as plain text.

    Nemotron's template prints the tools itself; for the JSON form they are
    written into the system turn.
    """
    if isinstance(form, NemotronXml):
        kwargs: dict[str, object] = {'enable_thinking': thinking}
        if tools:
            kwargs['tools'] = [as_function(tool) for tool in tools]
        return Prompt(tuple(_template_turn(_plain(m)) for m in messages), kwargs)
    return Prompt(tuple(_plain_turn(form, tools, _plain(m)) for m in messages), {})


def _plain(message: Message) -> Message:
    if message.role == 'system':
        return message
    calls = tuple(
        replace(call, arguments=plain_value(call.arguments)) for call in message.tool_calls
    )
    return replace(message, content=plain(message.content), tool_calls=calls)


def as_function(tool: ToolSpec) -> dict[str, object]:
    """Return a tool as OpenAI's API and chat templates take it."""
    return {
        'type': 'function',
        'function': {
            'name': tool.name,
            'description': tool.description,
            'parameters': dict(tool.parameters),
        },
    }


def _template_turn(message: Message) -> dict[str, object]:
    turn: dict[str, object] = {'role': message.role, 'content': message.content}
    if message.tool_calls:
        turn['tool_calls'] = [
            {
                'id': call.id,
                'type': 'function',
                'function': {'name': call.name, 'arguments': json.dumps(dict(call.arguments))},
            }
            for call in message.tool_calls
        ]
    if message.role == 'tool':
        turn['tool_call_id'] = message.tool_call_id
    return turn


def _plain_turn(form: Format, tools: Sequence[ToolSpec], message: Message) -> dict[str, object]:
    if message.role == 'system':
        return {'role': 'system', 'content': _with_tools(message.content, tools)}
    if message.role == 'tool':
        return {'role': 'user', 'content': f'Result: {message.content}'}
    if message.tool_calls:
        calls = form.print_calls(message.tool_calls)
        content = f'{message.content}\n{calls}' if message.content else calls
        return {'role': 'assistant', 'content': content}
    return {'role': message.role, 'content': message.content}


def _with_tools(system: str, tools: Sequence[ToolSpec]) -> str:
    if not tools:
        return system
    lines = [f'- {tool.name}({_signature(tool.parameters)}): {tool.description}' for tool in tools]
    return '\n'.join(
        (
            system,
            '',
            'Tools:',
            *lines,
            '',
            'To call a tool write one line of JSON and nothing else: '
            '{"name": "...", "arguments": {...}}. '
            'For several steps write several lines.',
        )
    )


def _signature(parameters: Mapping[str, Any]) -> str:
    properties: Mapping[str, Any] = parameters.get('properties', {})
    return ', '.join(f'{name}: {_kind(schema)}' for name, schema in properties.items())


def _kind(schema: Mapping[str, Any]) -> str:
    if 'enum' in schema:
        return '|'.join(json.dumps(v, ensure_ascii=False).strip('"') for v in schema['enum'])
    kind = str(schema.get('type', 'any'))
    low = schema.get('minimum', schema.get('exclusiveMinimum'))
    high = schema.get('maximum', schema.get('exclusiveMaximum'))
    if low is not None and high is not None:
        return f'{kind} {low} to {high}'
    return kind
