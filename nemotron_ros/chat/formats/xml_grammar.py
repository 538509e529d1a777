"""The grammar of Nemotron 3's tool calls, for llguidance.

``<tool_call>``, ``</tool_call>`` and ``</think>`` are special tokens of the
model, and named as such. A ``<`` is kept out of strings, so that no string can
hold a tag, and so that few lexemes do for many tools: the engine has a limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nemotron_ros.chat.formats import lark
from nemotron_ros.chat.formats.coerce import TYPES, flattened, print_value, types_of
from nemotron_ros.chat.messages import ToolSpec

_CHAR = r'[^<\x00-\x08\x0b-\x1f\x7f]'
_WORDS = rf'({_CHAR}|< ?[0-9=.-])*'


def write(tools: Sequence[ToolSpec], thinking: bool) -> str:
    """Return the grammar of one turn: words, or calls that keep their tool's schema.

    :param thinking: the turn begins inside the reasoning.
    """
    lines = [lark.HEADER, f'start: {"THOUGHT? </think> " if thinking else ""}answer']
    if thinking:
        lines.append(f'THOUGHT: /{_CHAR}{_WORDS}/')
    if tools:
        # The template writes a line break before the first call and after the last.
        lines.append('answer: "\\n"? calls "\\n"? | WORDS')
        lines.append(lark.calls_rule([f'call_{index}' for index in range(len(tools))]))
    else:
        lines.append('answer: WORDS')
    lines.append(rf'WORDS: /[^<\s\x00-\x1f\x7f]{_WORDS}/')
    lengths: set[tuple[int, int]] = set()
    for index, tool in enumerate(tools):
        lines += _write_tool(index, tool, lengths)
    lines += [f'{_text(low, high)}: /{_CHAR}{{{low},{high}}}\\n/' for low, high in sorted(lengths)]
    return '\n'.join(lines) + '\n'


def _write_tool(index: int, tool: ToolSpec, lengths: set[tuple[int, int]]) -> list[str]:
    properties: Mapping[str, Any] = tool.parameters.get('properties', {})
    required = [name for name in properties if name in tool.parameters.get('required', ())]
    optional = [name for name in properties if name not in required]
    lines: list[str] = []
    sequence: list[str] = []
    for number, name in enumerate((*required, *optional)):
        rule = f'p_{index}_{number}'
        begin, end = lark.literal(f'<parameter={name}>\n'), lark.literal('</parameter>\n')
        values = [
            _value(branch, tool.holds_ranges, lengths) for branch in branches(properties[name])
        ]
        lines.append(f'{rule}: {begin} ({" | ".join(values)}) {end}')
        sequence.append(rule if name in required else f'{rule}?')
    head = lark.literal(f'\n<function={tool.name}>\n')
    parts = ['<tool_call>', head, *sequence, lark.literal('</function>\n'), '</tool_call>']
    return [f'call_{index}: {" ".join(parts)}', *lines]


def branches(schema: Any) -> list[dict[str, Any]]:
    """Return the ways to write a value: an enumeration, or one type each."""
    if not isinstance(schema, Mapping):
        schema = {}
    schema = flattened(schema) if 'allOf' in schema else dict(schema)
    if 'const' in schema:
        return [{'enum': [schema['const']]}]
    if schema.get('enum'):
        return [{'enum': schema['enum']}]
    several = [*schema.get('anyOf', ()), *schema.get('oneOf', ())]
    if several:
        return [way for branch in several for way in branches(branch)]
    kinds = [kind for kind in types_of(schema) if kind in TYPES]
    if not kinds or len(kinds) == len(TYPES):
        kinds = ['string']  # any text will do
    return [{**schema, 'type': kind} for kind in kinds]


def _value(schema: Mapping[str, Any], holds_ranges: bool, lengths: set[tuple[int, int]]) -> str:
    """Return the expression of a value and the line break after it."""
    if 'enum' in schema:
        return ' | '.join(lark.literal(f'{print_value(value)}\n') for value in schema['enum'])
    if schema['type'] == 'boolean':
        return '"True\\n" | "False\\n"'
    if schema['type'] == 'null':
        return '"None\\n"'
    if schema['type'] == 'string':
        length = lark.length_bounds(schema)
        lengths.add(length)
        return _text(*length)
    return lark.json_rule(schema, holds_ranges, text_pattern='^[^<]*$') + ' "\\n"'


def _text(low: int, high: int) -> str:
    return f'TEXT_{low}_{high}'
