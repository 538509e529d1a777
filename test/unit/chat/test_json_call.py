"""Calls as lines of JSON: what is written, tolerated and refused."""

from __future__ import annotations

import pytest
from reading import calls_of, read

from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.protocol import FormatError, Reasoning, Text
from nemotron_ros.chat.messages import ToolCall, ToolSpec

JSON = JsonCall()
TOOLS = [ToolSpec(name, '', {'type': 'object', 'properties': {}}) for name in ('drive', 'stop')]
DRIVE = '{"name": "drive", "arguments": {"direction": "forward", "distance_m": 1.0}}'
CALL = ToolCall('call_1', 'drive', {'direction': 'forward', 'distance_m': 1.0})


def test_print_calls() -> None:
    text = JSON.print_calls([CALL, ToolCall('call_2', 'stop', {'why': 'é'})])
    assert text == DRIVE + '\n{"name": "stop", "arguments": {"why": "é"}}'


@pytest.mark.parametrize(
    'text',
    [
        DRIVE,
        f' \n{DRIVE}\n',
        f'```json\n{DRIVE}\n```',
        f'```\n{DRIVE}\n```\n',
        f'<tool_call>\n{DRIVE}\n</tool_call>',
        f'<tool_call>{DRIVE}',
        DRIVE.replace('arguments', 'parameters'),
        '{"arguments": {"direction": "forward", "distance_m": 1.0}, "name": "drive"}',
        '{"name":"drive","arguments":"{\\"direction\\":\\"forward\\",\\"distance_m\\":1.0}"}',
        f'<think></think>{DRIVE}',
        f'<think>\n\n</think>\n\n{DRIVE}',
    ],
)
def test_one_call(text: str) -> None:
    for chunks in (text, list(text)):
        assert read(JSON, TOOLS, chunks) == [CALL]


@pytest.mark.parametrize(
    'text',
    [
        f'I will drive.\n{DRIVE}',
        f'I will drive.\n\n```json\n{DRIVE}\n```',
        f'I will drive. <tool_call>\n{DRIVE}\n</tool_call>\n',
    ],
)
def test_words_before_a_call(text: str) -> None:
    for chunks in (text, list(text)):
        assert read(JSON, TOOLS, chunks) == [Text('I will drive.'), CALL]


@pytest.mark.parametrize(
    'between', ['\n', ' ', '', '\n\n', '\n```\n```json\n', '</tool_call>\n<tool_call>']
)
def test_several_calls(between: str) -> None:
    text = DRIVE + between + '{"name": "stop", "arguments": {}}'
    for chunks in (text, list(text)):
        assert read(JSON, TOOLS, chunks) == [CALL, ToolCall('call_2', 'stop', {})]


@pytest.mark.parametrize(
    'text',
    [
        'At {x: 1} it is warm.',
        'Say {"name": "drive"} to drive.',
        'So:\n{"x": 1}',
        '```python\nprint(1)\n```',
        '```json\n{"x": 1}\n```',
        'a < b\n< c',
        '"quoted"',
    ],
)
def test_words(text: str) -> None:
    for chunks in (text, list(text)):
        assert read(JSON, TOOLS, chunks) == [Text(text)]


def test_words_after_a_call() -> None:
    assert read(JSON, TOOLS, f'{DRIVE}\nDone.') == [CALL, Text('Done.')]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'cut short'),
        (DRIVE[:-1], 'cut short'),
        ('Well\n{"na', 'cut short'),
        ('<tool_call>', 'cut short'),
        ('<tool_call>drive', 'expected "{"'),
        ('{}', 'expected an object with a "name"'),
        ('{"name": 1, "arguments": {}}', 'expected an object with a "name"'),
        ('{"name": "halt", "arguments": {}}', 'halt: there is no such tool; there are drive'),
        ('{"name": "Stop", "arguments": {}}', 'Stop: there is no such tool'),
        ('{"name": "stop"}', 'stop: expected "name" and "arguments" alone'),
        ('{"name": "stop", "arguments": {}, "x": 1}', 'stop: expected'),
        ('{"name": "stop", "arguments": []}', 'stop.arguments: expected an object'),
        ('{"name": "stop", "arguments": "[]"}', 'stop.arguments: expected an object'),
        ('{"name": "stop", "arguments": {"a": NaN}}', 'NaN'),
        ('{"name": "stop", "arguments": {"a": -Infinity}}', 'Infinity'),
        ('{"name": "stop", "arguments": {"a": 1e999}}', 'too large'),
        ('{"name": "stop", "arguments": {"a": 1, "a": 2}}', "'a' is there twice"),
        ('{"name": "stop", "name": "drive", "arguments": {}}', "'name' is there twice"),
        ('{"name": "stop", "arguments": {"a": "\\ud800"}}', 'surrogate'),
        ('{"name": "stop", "arguments": {"a": ' + '9' * 5000 + '}}', 'JSON'),
        ("{'name': 'stop', 'arguments': {}}", 'JSON'),
    ],
)
def test_errors(text: str, message: str) -> None:
    for chunks in (text, list(text)):
        with pytest.raises(FormatError) as error:
            read(JSON, TOOLS, chunks)
        assert message in str(error.value)


def test_tag_in_an_argument_is_text() -> None:
    text = '{"name": "drive", "arguments": {"a": "</think><|im_end|>"}}'
    (call,) = calls_of(read(JSON, TOOLS, text))
    assert call.arguments == {'a': '</think><|im_end|>'}


def test_thinking() -> None:
    pieces = read(JSON, TOOLS, f'Hm.\n{DRIVE}\n</think>\n{DRIVE}', thinking=True)
    assert pieces == [Reasoning(f'Hm.\n{DRIVE}'), CALL]
