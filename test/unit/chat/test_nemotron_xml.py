"""Nemotron's format: the cases that models are known to write, and types by schema."""

from __future__ import annotations

from typing import Any

import pytest
from reading import calls_of, read

from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.formats.protocol import FormatError, Reasoning, Text
from nemotron_ros.chat.messages import ToolCall, ToolSpec

XML = NemotronXml()


def tool(name: str, required: tuple[str, ...] = (), **properties: Any) -> ToolSpec:
    parameters = {'type': 'object', 'properties': properties, 'required': list(required)}
    return ToolSpec(name, '', parameters)


TOOLS = [
    tool('f', a={'type': 'integer'}, b={'type': 'integer'}),
    tool('say', text={'type': 'string'}),
    tool('stop'),
    tool('go', ('place',), place={'enum': ['Kitchen', 'dock', 'Dock']}),
]
F1 = '<function=f>\n<parameter=a>\n1\n</parameter>\n</function>'


@pytest.mark.parametrize(
    'text',
    [
        f'<think></think>\n<tool_call>\n{F1}\n</tool_call>\n<|im_end|>',
        f'<tool_call>\n{F1}\n</tool_call>',
        '<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_call>',
        '<tool_call>\n<function=f>\n<parameter=a>\n1\n</tool_call>',
        f'<tool_call>\n{F1}',
        F1,
        f'{F1}\n</tool_call>',
        f'\n</think>\n<tool_call>\n{F1}\n</tool_call>',
        f'<think>\nHm, a call.\n</think>\n<tool_call>{F1}</tool_call>',
        '<tool_call><function=f><parameter=a>1</parameter></function></tool_call>',
        '<tool_call>< function = f >< parameter = a > 1 < / parameter ></ function></tool_call>',
        f'<tool_call>\n{F1}\n</tool_call><|im_end|><tool_call>\n{F1}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>',
        '<tool_call>{"name": "f", "parameters": "{\\"a\\": 1}"}</tool_call>',
        '<TOOLCALL>[{"name": "f", "arguments": {"a": 1}}]</TOOLCALL>',
    ],
)
def test_one_call(text: str) -> None:
    for chunks in (text, list(text)):
        calls = calls_of(read(XML, TOOLS, chunks))
        assert calls == [ToolCall('call_1', 'f', {'a': 1})]


def test_words_before_a_call() -> None:
    pieces = read(XML, TOOLS, f'text <tool_call>\n{F1}\n</tool_call>')
    assert pieces == [Text('text'), ToolCall('call_1', 'f', {'a': 1})]


def test_several_calls_and_no_parameters() -> None:
    stop = '<tool_call>\n<function=stop>\n</function>\n</tool_call>'
    text = f'{stop}\n<tool_call>\n{F1}\n</tool_call>\n<function=stop></function>'
    assert read(XML, TOOLS, text) == [
        ToolCall('call_1', 'stop', {}),
        ToolCall('call_2', 'f', {'a': 1}),
        ToolCall('call_3', 'stop', {}),
    ]


def test_next_parameter_ends_a_value() -> None:
    text = '<function=f>\n<parameter=a>\n1\n<parameter=b>\n2\n</parameter>\n</function>'
    assert read(XML, TOOLS, text) == [ToolCall('call_1', 'f', {'a': 1, 'b': 2})]


@pytest.mark.parametrize('thinking', [True, False])
def test_call_inside_reasoning_does_not_run(thinking: bool) -> None:
    opened = '' if thinking else '<think>'
    text = f'{opened}I could do\n<tool_call>\n{F1}\n</tool_call>\n</think>\nI will not.'
    pieces = read(XML, TOOLS, text, thinking)
    assert pieces == [
        Reasoning(f'I could do\n<tool_call>\n{F1}\n</tool_call>'),
        Text('I will not.'),
    ]


def test_unclosed_reasoning_holds_no_call() -> None:
    text = f'<tool_call>\n{F1}\n</tool_call>'
    assert read(XML, TOOLS, text, thinking=True) == [Reasoning(text)]


def test_echo_of_the_prompt_is_no_text() -> None:
    assert read(XML, TOOLS, '<think></think>Hello.') == [Text('Hello.')]
    assert read(XML, TOOLS, '<think>\nHm.\n</think>Hello.', True) == [
        Reasoning('Hm.'),
        Text('Hello.'),
    ]


def test_think_end_after_a_call_is_an_error() -> None:
    parser = XML.parser(TOOLS)
    assert len(parser.feed(f'{F1}</tool_call>')) == 1
    with pytest.raises(FormatError, match='may have been reasoning'):
        parser.feed('</think>')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('<tool_call>\n<function=F>', 'F: there is no such tool; there are f, say, stop, go'),
        ('<function=f>\n<parameter=c>', 'f.c: there is no such parameter'),
        (
            '<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=a>\n',
            'f.a: is there twice',
        ),
        ('<function=go>\n</function>', 'go.place: is required'),
        ('<function=f>\n<parameter=a>\n1\n</parameter>', 'f: cut short'),
        ('<function=f>\n<parameter=a>\n1', 'f: cut short in a value'),
        ('<tool_call>\n', 'tool call: cut short'),
        ('Well <tool_call', 'tool call: cut short'),
        ('<tool_call>\nHello', "tool call: unexpected 'H' after <tool_call>"),
        ('<tool_call>\nxfunction=f></function>', "tool call: unexpected 'x'"),
        ('<function=f>\nHello', "f: unexpected 'H' between parameters"),
        (f'{F1}\nHello', "f: unexpected 'H' after the call"),
        (f'<tool_call>{F1}</function></tool_call>', "f: unexpected '</function>' after the call"),
        ('Hi </tool_call>', 'no tool call that it belongs to'),
        ('<parameter=a>', 'no tool call that it belongs to'),
        ('<function=say>\n<parameter=text>\na</parameter>b\n</parameter>', "say: unexpected 'b'"),
        ('<tool_call>{"name": "x", "arguments": {}}', 'x: there is no such tool'),
        ('<tool_call>{"name": "f", "arguments": {"a": NaN}}', 'NaN'),
        ('<tool_call>{"name": "f", "arguments": {"a": 1e999}}', 'too large'),
        ('<tool_call>{"name": "f", "arguments": {"a": 1, "a": 2}}', "'a' is there twice"),
    ],
)
def test_errors_say_what_and_where(text: str, message: str) -> None:
    for chunks in (text, list(text)):
        with pytest.raises(FormatError) as error:
            read(XML, TOOLS, chunks)
        assert message in str(error.value)


def test_truncation_keeps_no_call_that_may_be_unfinished() -> None:
    with pytest.raises(FormatError, match='cut short'):
        read(XML, TOOLS, f'<tool_call>\n{F1}', truncated=True)
    whole = f'<tool_call>\n{F1}\n</tool_call>'
    assert len(calls_of(read(XML, TOOLS, whole, truncated=True))) == 1
    assert read(XML, TOOLS, 'Well, the', truncated=True) == [Text('Well, the')]


def value(text: str, schema: dict[str, Any]) -> Any:
    tools = [tool('t', v=schema)]
    (call,) = calls_of(
        read(XML, tools, f'<function=t>\n<parameter=v>\n{text}\n</parameter>\n</function>')
    )
    return call.arguments['v']


NUMBER, INTEGER, BOOLEAN = {'type': 'number'}, {'type': 'integer'}, {'type': 'boolean'}
OBJECT, ARRAY, STRING = {'type': 'object'}, {'type': 'array'}, {'type': 'string'}
PLACES = {'enum': ['Kitchen', 'dock', 'Dock']}


@pytest.mark.parametrize(
    ('text', 'schema', 'expected'),
    [
        ('0.3', NUMBER, 0.3),
        (' 1 ', NUMBER, 1),
        ('-1e-3', NUMBER, -0.001),
        ('3.0', INTEGER, 3),
        ('True', BOOLEAN, True),
        ('false', BOOLEAN, False),
        ('None', {'type': ['number', 'null']}, None),
        ('null', {'anyOf': [NUMBER, {'type': 'null'}]}, None),
        ('None', STRING, 'None'),
        ('5', STRING, '5'),
        ('', STRING, ''),
        ('\n two\nlines \n', STRING, '\n two\nlines \n'),
        ('5', {'anyOf': [STRING, INTEGER]}, 5),
        ('five', {'anyOf': [STRING, INTEGER]}, 'five'),
        ('{"x": 1}', OBJECT, {'x': 1}),
        ('"{\\"x\\": 1}"', OBJECT, {'x': 1}),
        ('[1, 2]', ARRAY, [1, 2]),
        ('"[1]"', ARRAY, [1]),
        ('dock', PLACES, 'dock'),
        ('Dock', PLACES, 'Dock'),
        ('KITCHEN', PLACES, 'Kitchen'),
        ('2', {'enum': [1, 2, 3]}, 2),
        ('2.0', {'enum': [1, 2, 3]}, 2),
        ('True', {'const': True}, True),
        ('4', {'allOf': [{'type': 'integer'}, {'minimum': 3}]}, 4),
        ('7', {}, 7),
    ],
)
def test_value(text: str, schema: dict[str, Any], expected: object) -> None:
    found = value(text, schema)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ('text', 'schema'),
    [
        ('yes', BOOLEAN),
        ('1', BOOLEAN),
        ('TRUE', BOOLEAN),
        ('3.7', INTEGER),
        ('nan', NUMBER),
        ('inf', NUMBER),
        ('-Infinity', NUMBER),
        ('1e999', NUMBER),
        ('1_000', NUMBER),
        ('0x10', NUMBER),
        ('\u0661', NUMBER),
        ('9' * 5000, INTEGER),
        ('True', NUMBER),
        ('', NUMBER),
        ('None', NUMBER),
        ('null', BOOLEAN),
        ('DOCK', PLACES),
        ('attic', PLACES),
        ('[1]', OBJECT),
        ('{}', ARRAY),
        ("{'x': 1}", OBJECT),
        ('{"x": NaN}', OBJECT),
        ('{"x": 1, "x": 2}', OBJECT),
        ('["\\ud800"]', ARRAY),
        ('[' * 33 + ']' * 33, ARRAY),
    ],
)
def test_value_of_another_type(text: str, schema: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r't\.v: '):
        value(text, schema)


def test_print_calls() -> None:
    arguments = {
        's': 'a\nb',
        'n': None,
        'b': True,
        'x': 1.0,
        'l': [1, 'é', None],
        'o': {'k': False},
    }
    assert XML.print_calls([ToolCall('call_1', 'f', arguments), ToolCall('call_2', 'g', {})]) == (
        '<tool_call>\n<function=f>\n'
        '<parameter=s>\na\nb\n</parameter>\n'
        '<parameter=n>\nNone\n</parameter>\n'
        '<parameter=b>\nTrue\n</parameter>\n'
        '<parameter=x>\n1.0\n</parameter>\n'
        '<parameter=l>\n[1, "é", null]\n</parameter>\n'
        '<parameter=o>\n{"k": false}\n</parameter>\n'
        '</function>\n</tool_call>\n'
        '<tool_call>\n<function=g>\n</function>\n</tool_call>'
    )
