"""The grammars, in the engine itself: what a model of noise writes is words or valid calls.

The engine drops a grammar that it cannot read, and goes on without one, so each
grammar here is seen to hold.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import jsonschema
import pytest
import tiny_nemotron
import xllamacpp
from reading import calls_of, read

from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.lark import HEADER
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.formats.protocol import Format, Piece, Reasoning, Text
from nemotron_ros.chat.messages import ToolCall, ToolSpec

both = pytest.mark.parametrize('form', [NemotronXml(), JsonCall()], ids=lambda form: form.name)


def tool(name: str, required: list[str], **properties: Any) -> ToolSpec:
    parameters = {
        'type': 'object',
        'properties': properties,
        'required': required,
        'additionalProperties': False,
    }
    return ToolSpec(name, f'To {name}.', parameters)


POINT = {
    'type': 'object',
    'properties': {
        'label': {'type': 'string', 'maxLength': 5},
        'at': {'type': ['number', 'null'], 'minimum': 0.5, 'maximum': 0.75},
    },
    'required': ['label'],
    'additionalProperties': False,
}
TOOLS = [
    tool(
        'drive',
        ['distance_m', 'direction'],
        dry={'type': 'boolean'},
        direction={'enum': ['forward', 'backward']},
        distance_m={'type': 'number', 'exclusiveMinimum': 0, 'maximum': 2.5},
        times={'type': 'integer', 'minimum': -3, 'maximum': 12},
    ),
    tool(
        'say',
        ['text'],
        text={'type': 'string', 'minLength': 2, 'maxLength': 20},
        volume={'anyOf': [{'type': 'integer', 'minimum': 1, 'maximum': 3}, {'type': 'null'}]},
        level={'enum': [1, 2.5, True, None, 'high']},
    ),
    tool(
        'visit', ['points'], points={'type': 'array', 'items': POINT, 'minItems': 1, 'maxItems': 3}
    ),
    tool('stop', []),
]
SCHEMAS = {tool.name: tool.parameters for tool in TOOLS}
RANGE = ('minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum')


def without_ranges(schema: Any) -> Any:
    """Return a schema that takes any number: what a grammar holds the model to."""
    if isinstance(schema, dict):
        return {key: without_ranges(value) for key, value in schema.items() if key not in RANGE}
    return [without_ranges(item) for item in schema] if isinstance(schema, list) else schema


def sample(
    server: xllamacpp.Server, form: Format, grammar: str, seed: int, thinking: bool = False
) -> tuple[str, bool]:
    """Return what the model writes, hot, leaning to calls, and if it was cut short."""
    leaning = {'nemotron_xml': tiny_nemotron.CONTROL.index('<tool_call>'), 'json_call': '{'}
    thought_end = tiny_nemotron.CONTROL.index('</think>')
    functions = [
        {
            'type': 'function',
            'function': {'name': t.name, 'description': t.description, 'parameters': t.parameters},
        }
        for t in TOOLS
    ]
    answer = server.handle_chat_completions(
        {
            'messages': [{'role': 'user', 'content': 'Go.'}],
            'chat_template_kwargs': {'tools': functions, 'enable_thinking': thinking},
            'reasoning_format': 'none',
            'grammar': grammar,
            'max_tokens': 500,
            'temperature': 1.5,
            'seed': seed,
            'logit_bias': [[leaning[form.name], 8 if seed % 10 else 0], [thought_end, 4]],
        }
    )
    assert 'error' not in answer, answer
    (choice,) = answer['choices']
    return choice['message']['content'], choice['finish_reason'] == 'length'


def check(pieces: list[Piece]) -> list[str]:
    """Validate the calls, ranges apart; return their tools' names."""
    calls = calls_of(pieces)
    for call in calls:
        jsonschema.validate(dict(call.arguments), without_ranges(SCHEMAS[call.name]))
    return [call.name for call in calls]


@both
def test_noise_keeps_the_schemas(tiny_server: xllamacpp.Server, form: Format) -> None:
    grammar = form.grammar(TOOLS)
    count: Counter[str] = Counter()
    for seed in range(30):
        text, truncated = sample(tiny_server, form, grammar, seed)
        names = check(read(form, TOOLS, text, truncated=truncated))
        assert names or not truncated or seed % 10 == 0, text
        count.update(names or ['words'])
    assert set(count) == {*SCHEMAS, 'words'}, count


@both
def test_many_tools_are_not_too_much(tiny_server: xllamacpp.Server, form: Format) -> None:
    pose = {'type': 'object', 'properties': {'frame': {'type': 'string'}, 'at': POINT}}
    tools = [
        tool(
            f'tool_{index}',
            ['text'],
            text={'type': 'string'},
            label={'type': 'string', 'maxLength': 40 + index},
            poses={'type': 'array', 'items': pose},
        )
        for index in range(30)
    ]
    grammar = form.grammar(tools)
    assert holds(tiny_server, grammar)
    calls = 0
    for seed in range(1, 4):
        text, truncated = sample(tiny_server, form, grammar, seed)
        begun = (
            '<tool_call>\n<function=tool_' if form.name == 'nemotron_xml' else '{"name": "tool_'
        )
        assert begun in text
        if not truncated:
            calls += len(calls_of(read(form, tools, text)))
    assert calls > 0


def test_noise_thinks_before_it_calls(tiny_server: xllamacpp.Server) -> None:
    form = NemotronXml()
    grammar = form.grammar(TOOLS, thinking=True)
    kinds: set[type] = set()
    for seed in range(1, 10):
        text, truncated = sample(tiny_server, form, grammar, seed, thinking=True)
        pieces = read(form, TOOLS, text, thinking=True, truncated=truncated)
        check(pieces)
        kinds |= {type(piece) for piece in pieces}
    assert Reasoning in kinds
    assert len(kinds) > 1


@both
def test_without_tools_there_are_only_words(tiny_server: xllamacpp.Server, form: Format) -> None:
    for seed in range(1, 4):
        text, truncated = sample(tiny_server, form, form.grammar([]), seed)
        (piece,) = read(form, [], text, truncated=truncated)
        assert isinstance(piece, Text)


def holds(server: xllamacpp.Server, grammar: str) -> bool:
    """Say whether the engine takes the grammar, by a beginning that noise never has."""
    assert grammar.count('\nstart: ') == 1
    answer = server.handle_completions(
        {
            'prompt': 'Go.',
            'grammar': grammar.replace('\nstart: ', '\nstart: "zqxzq" '),
            'max_tokens': 8,
        }
    )
    return bool(answer['choices'][0]['text'].startswith('zqxzq'))


@both
@pytest.mark.parametrize(
    'schema',
    [
        {},
        True,
        False,
        {'type': []},
        {'type': 'no such type'},
        {'enum': []},
        {'const': None},
        {'enum': ['é☃', 'a"b\\c\n', '</parameter>', '']},
        {'$ref': '#/$defs/x'},
        {'not': {'type': 'string'}},
        {'type': 'string', 'pattern': '(?=x)y\\K', 'format': 'no such format'},
        {'type': 'string', 'minLength': 5, 'maxLength': 2},
        {'type': 'string', 'minLength': 2000},
        {'type': 'number'},
        {'type': 'number', 'minimum': 3, 'maximum': 2},
        {'type': 'number', 'minimum': 0.5, 'maximum': 0.5},
        {'type': 'number', 'exclusiveMinimum': 0, 'exclusiveMaximum': 1e-9},
        {'type': 'number', 'minimum': 0.0001, 'maximum': 0.0002},
        {'type': 'number', 'minimum': -1e308, 'maximum': 1e308},
        {'type': 'number', 'minimum': 1e30},
        {'type': 'number', 'exclusiveMinimum': True},
        {'type': 'number', 'multipleOf': 0.7, 'minimum': 0.1, 'maximum': 0.2},
        {'type': 'integer', 'minimum': 0.2, 'maximum': 0.8},
        {'type': 'integer', 'minimum': -(2**63), 'maximum': 2**63 - 1},
        {'type': 'integer', 'minimum': 0, 'maximum': 2**64 - 1},
        {'type': 'integer', 'multipleOf': 5, 'minimum': 1, 'maximum': 4},
        {'type': ['number', 'null'], 'minimum': 0},
        {'type': 'array'},
        {'type': 'array', 'items': False},
        {'type': 'array', 'uniqueItems': True, 'minItems': 3, 'maxItems': 1},
        {'type': 'array', 'prefixItems': [{'type': 'integer'}], 'items': False},
        {'type': 'object'},
        {'type': 'object', 'properties': {'a': True, 'b': False}, 'required': ['c']},
        {'type': 'object', 'additionalProperties': {'type': 'boolean'}, 'minProperties': 2},
        {'oneOf': [{'type': 'string'}, {'type': 'integer'}]},
        {'anyOf': [{'type': 'string', 'maxLength': 3}, {'type': 'string', 'pattern': '^a'}]},
        {'allOf': [{'type': 'integer'}, {'minimum': 3}]},
        {'if': {'type': 'string'}, 'then': {'minLength': 3}},
    ],
    ids=str,
)
def test_every_schema_makes_a_grammar(
    tiny_server: xllamacpp.Server, form: Format, schema: object
) -> None:
    tools = [
        tool('a', ['x'], x=schema),
        ToolSpec('b', '', {'type': 'object', 'properties': {'y': schema}}),
        ToolSpec('odd "name"\\ é', '', {'type': 'object'}),
    ]
    for thinking in (False, True):
        assert holds(tiny_server, form.grammar(tools, thinking))


def test_a_bad_grammar_does_not_hold(tiny_server: xllamacpp.Server) -> None:
    assert holds(tiny_server, f'{HEADER}\nstart: /a/\n')
    assert not holds(tiny_server, f'{HEADER}\nstart: nowhere\n')


@both
def test_a_tool_that_asks_for_it_gets_numbers_in_their_range(
    tiny_server: xllamacpp.Server, form: Format
) -> None:
    ranges = {
        'x': {'type': 'number', 'minimum': 0.05, 'maximum': 3.0},
        'n': {'type': 'integer', 'minimum': -12, 'exclusiveMaximum': 7},
    }
    tools = [replace(tool('f', ['x', 'n'], **ranges), holds_ranges=True)]
    for grammar in (form.grammar(tools), form.gbnf(tools)):
        called = 0
        for seed in range(1, 8):
            text, _ = sample(tiny_server, form, grammar, seed)
            for call in calls_of(read(form, tools, text)):
                jsonschema.validate(dict(call.arguments), tools[0].parameters)
                called += 1
        assert called


@both
def test_numbers_are_short(tiny_server: xllamacpp.Server, form: Format) -> None:
    tools = [tool('f', ['x'], x={'type': 'number'})]
    grammar = form.grammar(tools)
    for seed in range(1, 8):
        text, _ = sample(tiny_server, form, grammar, seed)
        for call in calls_of(read(form, tools, text)):
            assert len(json.dumps(call.arguments['x'])) <= len('-1000000.000')


def test_printed_calls_are_what_the_template_writes(tiny_server: xllamacpp.Server) -> None:
    arguments = {'s': 'a', 'n': None, 'b': True, 'x': 0.5, 'l': [1, 'b', None], 'o': {'k': False}}
    call = {'id': 'call_1', 'type': 'function'}
    turn = {
        'role': 'assistant',
        'content': '',
        'tool_calls': [
            {**call, 'function': {'name': 'f', 'arguments': json.dumps(arguments)}},
            {**call, 'function': {'name': 'g', 'arguments': '{}'}},
        ],
    }
    messages = [{'role': 'user', 'content': 'Go.'}, turn, {'role': 'user', 'content': 'More.'}]
    answer = httpx.post(
        f'{tiny_server.listening_address}/apply-template', json={'messages': messages}
    ).json()
    printed = NemotronXml().print_calls(
        [ToolCall('call_1', 'f', arguments), ToolCall('call_2', 'g', {})]
    )
    assert f'<think></think>\n{printed}\n<|im_end|>' in answer['prompt']
