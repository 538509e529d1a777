"""The grammars of both formats in GBNF, which every build of llama.cpp takes.

A build without LLGuidance ends, with all that it was doing, at the first request that has
a Lark grammar; most of those for GPUs are built so. What GBNF holds is less: lists and
objects are any JSON, and only short strings have a length. The validator checks it all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nemotron_ros.chat.formats import number_range
from nemotron_ros.chat.formats.coerce import print_value
from nemotron_ros.chat.formats.lark import MAX_CALLS, literal
from nemotron_ros.chat.formats.xml_grammar import branches
from nemotron_ros.chat.messages import ToolSpec

MAX_COUNTED_CHARS = 100
"""A rule that counts more characters takes long to read."""

_CONTROL = r'\x00-\x08\x0b-\x1f\x7f'
_WORDS = rf"""
words ::= [^<{{`\n\t {_CONTROL}] ([^<{{`{_CONTROL}] | "<" " "? [0-9=.-])*
thought ::= ([^<{_CONTROL}] | "<" " "? [0-9=.-])*
text ::= [^<{_CONTROL}]
integer ::= "-"? ("0" | [1-9] [0-9]{{0,14}})
number ::= integer ("." [0-9]{{1,9}})?
string ::= "\"" char* "\""
char ::= [^"\\<\x00-\x1f\x7f] | "\\" ["\\/bfnrt]
value ::= object | array | string | number | "true" | "false" | "null"
array ::= "[" (value (", " value)*)? "]"
object ::= "{{" (string ": " value (", " string ": " value)*)? "}}"
"""


def write_xml(tools: Sequence[ToolSpec], thinking: bool) -> str:
    """Return the grammar of a turn in Nemotron 3's format, see ``xml_grammar``."""
    # The template writes a line break before the first call and after the last.
    answer = '"\\n"? calls "\\n"? | words' if tools else 'words'
    return _grammar(tools, answer, _xml_call, 'thought "</think>" ' if thinking else '')


def write_json(tools: Sequence[ToolSpec], thinking: bool) -> str:
    """Return the grammar of a turn with calls as lines of JSON, see ``json_call``."""
    answer = 'calls | words' if tools else 'words'
    before = 'thought "</think>" [ \\n]* ' if thinking else ''
    return _grammar(tools, answer, _json_call, before)


def _grammar(
    tools: Sequence[ToolSpec], answer: str, call: Callable[[ToolSpec], str], before: str
) -> str:
    lines = [f'root ::= {before}answer', f'answer ::= {answer}']
    if tools:
        lines.append(f'calls ::= call ("\\n" call){{0,{MAX_CALLS - 1}}}')
        lines.append(f'call ::= {" | ".join(f"call-{i}" for i in range(len(tools)))}')
    lines += [f'call-{index} ::= {call(tool)}' for index, tool in enumerate(tools)]
    return '\n'.join(lines) + _WORDS


def _xml_call(tool: ToolSpec) -> str:
    required, optional = _parameters(tool)
    parts = [literal(f'<tool_call>\n<function={tool.name}>\n')]
    for name, schema in (*required.items(), *optional.items()):
        begin, end = literal(f'<parameter={name}>\n'), literal('\n</parameter>\n')
        values = ' | '.join(_xml_value(branch, tool.holds_ranges) for branch in branches(schema))
        parts.append(f'({begin} ({values}) {end})' + ('?' if name in optional else ''))
    return ' '.join([*parts, literal('</function>\n</tool_call>')])


def _xml_value(schema: Mapping[str, Any], holds_ranges: bool) -> str:
    if 'enum' in schema:
        return ' | '.join(literal(print_value(value)) for value in schema['enum'])
    kind = str(schema['type'])
    if kind == 'string':
        return f'text{_times(schema)}'
    if holds_ranges and kind in ('number', 'integer'):
        return number_range.exact(schema).gbnf()
    return {'boolean': '"True" | "False"', 'null': '"None"'}.get(kind, kind)


def _json_call(tool: ToolSpec) -> str:
    required, optional = _parameters(tool)
    begin = literal(f'{{"name": {json.dumps(tool.name, ensure_ascii=False)}, "arguments": {{')
    pairs = {
        name: _json_pair(name, part, tool.holds_ranges)
        for name, part in {**required, **optional}.items()
    }
    if required:
        inside = ' ", " '.join(pairs[name] for name in required)
        inside += ''.join(f' (", " {pairs[name]})?' for name in optional)
    elif pairs:
        pair = f'({" | ".join(pairs.values())})'
        inside = f'({pair} (", " {pair}){{0,{len(pairs) - 1}}})?'
    else:
        inside = ''
    return f'{begin} {inside} "}}}}"'


def _json_pair(name: str, schema: Any, holds_ranges: bool) -> str:
    values = ' | '.join(_json_value(branch, holds_ranges) for branch in branches(schema))
    return f'({literal(json.dumps(name, ensure_ascii=False) + ": ")} ({values}))'


def _json_value(schema: Mapping[str, Any], holds_ranges: bool) -> str:
    if 'enum' in schema:
        values = (json.dumps(value, ensure_ascii=False) for value in schema['enum'])
        return ' | '.join(map(literal, values))
    kind = str(schema['type'])
    if kind == 'string':
        return f'"\\"" char{_times(schema)} "\\""'
    if holds_ranges and kind in ('number', 'integer'):
        return number_range.exact(schema).gbnf()
    return {'boolean': '"true" | "false"', 'null': '"null"'}.get(kind, kind)


def _times(schema: Mapping[str, Any]) -> str:
    """Return how often a character stands in a string."""
    low, high = schema.get('minLength', 0), schema.get('maxLength')
    if not isinstance(low, int) or not 0 <= low <= MAX_COUNTED_CHARS:
        low = 0
    if not isinstance(high, int) or not low <= high <= MAX_COUNTED_CHARS:
        return f'{{{low},}}'
    return f'{{{low},{high}}}'


def _parameters(tool: ToolSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters that have to be there, and the others."""
    properties: Mapping[str, Any] = tool.parameters.get('properties', {})
    required = [name for name in properties if name in tool.parameters.get('required', ())]
    return (
        {name: properties[name] for name in required},
        {name: properties[name] for name in properties if name not in required},
    )
