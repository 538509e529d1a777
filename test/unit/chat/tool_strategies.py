"""Hypothesis strategies: tools, valid calls to them, and text that looks like a call."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

from nemotron_ros.chat.messages import ToolCall, ToolSpec

TAG = re.compile(r'< *(/ *)?(tool_call|TOOLCALL|function|parameter)|</?think>|<\|im_end\|>')

FRAGMENTS = (
    *('<', '>', '/', '=', '\n', ' ', '{', '}', '[', ']', '"', ':', ',', '\\', '`', '1', 'a'),
    *('<tool_call>', '</tool_call>', '<function=', '</function>', '<parameter=', '</parameter>'),
    *(
        '<think>',
        '</think>',
        '<|im_end|>',
        '```json',
        '```',
        '"name"',
        '"arguments"',
        '<TOOLCALL>',
    ),
    *('{"name": "', '"arguments": {', 'drive', 'NaN', 'null', 'True', '\n\n', 'tool_call', '\x00'),
)

names = st.from_regex(r'[a-z][a-z0-9_]{0,9}', fullmatch=True)
fragments = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=30).map(''.join)
sizes = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def texts(tagged: bool) -> st.SearchStrategy[str]:
    """Strings; without the tags of a format in them unless ``tagged``."""
    strings = st.text(max_size=12) | fragments
    return strings if tagged else strings.filter(lambda text: not TAG.search(text))


def _folded(text: str) -> str:
    return text.strip().casefold()


@st.composite
def parameters(draw: st.DrawFn, tagged: bool) -> tuple[dict[str, Any], st.SearchStrategy[Any]]:
    """A parameter's schema, and its valid values."""
    numbers = st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6)
    string = texts(tagged)
    kind = draw(
        st.sampled_from(('enum', 'number', 'integer', 'boolean', 'string', 'list', 'map', 'maybe'))
    )
    if kind == 'enum':
        words = draw(st.lists(string, min_size=1, max_size=4, unique_by=_folded))
        return {'enum': words}, st.sampled_from(words)
    if kind == 'number':
        low, high = sorted(draw(st.tuples(numbers, numbers)))
        schema = {'type': 'number', 'minimum': low, 'maximum': high}
        return schema, st.floats(low, high) if low < high else st.just(low)
    if kind == 'integer':
        return {'type': 'integer'}, st.integers(-(10**12), 10**12)
    if kind == 'boolean':
        return {'type': 'boolean'}, st.booleans()
    if kind == 'string':
        return {'type': 'string'}, string
    if kind == 'list':
        schema = {'type': 'array', 'items': {'type': ['number', 'string', 'null', 'boolean']}}
        return schema, st.lists(numbers | string | st.none() | st.booleans(), max_size=4)
    if kind == 'map':
        schema = {
            'type': 'object',
            'properties': {'a': {'type': 'string'}, 'b': {'type': 'array'}},
        }
        return schema, st.fixed_dictionaries({'a': string}, optional={'b': st.lists(numbers)})
    return {'type': ['number', 'null']}, numbers | st.none()


@st.composite
def tools_and_calls(
    draw: st.DrawFn, tagged: bool = False
) -> tuple[list[ToolSpec], list[ToolCall]]:
    """A few tools, and one to four valid calls to them."""
    tools: list[ToolSpec] = []
    values: dict[str, st.SearchStrategy[dict[str, Any]]] = {}
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        schemas = draw(st.dictionaries(names, parameters(tagged), max_size=4))
        required = [key for key in schemas if draw(st.booleans())]
        properties = {key: schema for key, (schema, _) in schemas.items()}
        tools.append(
            ToolSpec(name, '', {'type': 'object', 'properties': properties, 'required': required})
        )
        values[name] = st.fixed_dictionaries(
            {key: schemas[key][1] for key in required},
            optional={key: value for key, (_, value) in schemas.items() if key not in required},
        )
    chosen = draw(st.lists(st.sampled_from([tool.name for tool in tools]), min_size=1, max_size=4))
    calls = [
        ToolCall(f'call_{index}', name, draw(values[name])) for index, name in enumerate(chosen, 1)
    ]
    return tools, calls
