"""What is read from the chunks of an answer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.messages import ToolSpec
from nemotron_ros.engine.answer import MAX_CALLS, deltas
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    ContextFull,
    Delta,
    EngineError,
    OutputError,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)

STOP = ToolSpec('stop', 'Stop.', {'type': 'object', 'properties': {}})
REQUEST = ChatRequest((), (STOP,), max_tokens=100)
THINKING = ChatRequest((), (STOP,), max_tokens=100, thinking=True)


def chunk(ends: str | None = None, **delta: Any) -> dict[str, Any]:
    return {'choices': [{'index': 0, 'delta': delta, 'finish_reason': ends}]}


def call(index: object = 0, name: str | None = 'stop', arguments: str = '{}', **more: Any) -> Any:
    return {'index': index, 'function': {'name': name, 'arguments': arguments}, **more}


def read(*chunks: dict[str, Any], request: ChatRequest = REQUEST) -> list[Delta]:
    def come() -> Generator[dict[str, Any], None, None]:
        yield from chunks

    return list(deltas(come(), NemotronXml(), request, CancelToken()))


def names(said: list[Delta]) -> list[str]:
    return [delta.call.name for delta in said if isinstance(delta, CallDelta)]


END = chunk('stop')


def test_usage_wherever_it_stands() -> None:
    usage = {'prompt_tokens': 9, 'completion_tokens': 4}
    details = {'prompt_tokens_details': {'cached_tokens': 7}}
    beside = {**chunk('stop'), 'usage': {**usage, **details}}
    apart = {'choices': [], 'usage': usage, 'timings': {'cache_n': 7}}
    for end in ((beside,), (END, apart), ({**END, 'usage': None}, apart)):
        assert read(chunk(content='Hi'), *end) == [TextDelta('Hi'), UsageDelta(9, 7, 4)]


@pytest.mark.parametrize(
    'usage', [None, [], 'x', {'prompt_tokens': 'many'}, {'prompt_tokens': True}]
)
def test_odd_usage_is_none(usage: object) -> None:
    assert read({**END, 'usage': usage}) == [UsageDelta(0, 0, 0)]


def test_content_may_be_null_and_deltas_absent() -> None:
    first = chunk(role='assistant', content=None, tool_calls=None, reasoning=None)
    assert read(first, {'choices': [{'finish_reason': None}]}, {'choices': None}, END) == [
        UsageDelta(0, 0, 0)
    ]


def test_pieces_of_a_call() -> None:
    pieces = [
        chunk(tool_calls=[call(arguments='', id='a')]),
        chunk(tool_calls=[call(name=None, arguments='{')]),
        chunk(tool_calls=[call(name='stop', arguments='}'), call(1, arguments='', id='b')]),
    ]
    said = read(*pieces, chunk('tool_calls'))
    assert [(d.call.id, dict(d.call.arguments)) for d in said if isinstance(d, CallDelta)] == [
        ('call_1', {}),
        ('call_2', {}),
    ]


def test_calls_that_are_numbered_alike() -> None:
    said = read(
        chunk(tool_calls=[call(id='a')]), chunk(tool_calls=[call(id='b')]), chunk('tool_calls')
    )
    assert names(said) == ['stop', 'stop']


@pytest.mark.parametrize('reason', ['stop', 'tool_calls'])
def test_calls_whatever_the_reason(reason: str) -> None:
    assert names(read(chunk(tool_calls=[call()]), chunk(reason))) == ['stop']


@pytest.mark.parametrize(
    ('chunks', 'told'),
    [
        ([chunk(tool_calls=[call('0')])], 'index: expected an integer'),
        ([chunk(tool_calls=[call(True)])], 'index: expected an integer'),
        (
            [chunk(tool_calls=[call(name='stop')]), chunk(tool_calls=[call(name='go')])],
            'is named stop at first and go then',
        ),
        ([chunk(tool_calls=[call(n)]) for n in range(MAX_CALLS + 1)], 'more than 64 tool calls'),
        (
            [
                chunk(content='<tool_call>\n<function=stop>\n</function>\n</tool_call>'),
                chunk(tool_calls=[call()]),
            ],
            'tool calls in the text and beside it',
        ),
        (
            [chunk(tool_calls=[call()]), chunk(reasoning_content='Or not?')],
            'reasoning after a tool call',
        ),
    ],
)
def test_calls_that_are_not_to_be_trusted(chunks: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(OutputError, match=told):
        read(*chunks, chunk('tool_calls'))


def test_a_call_that_is_cut_short() -> None:
    with pytest.raises(OutputError, match='stop: cut short'):
        read(chunk(tool_calls=[call()]), chunk('length'))


@pytest.mark.parametrize('said', [{'content': 'I am'}, {'tool_calls': [call()]}])
@pytest.mark.parametrize(('tokens', 'by_context'), [(99, True), (100, False), (0, False)])
def test_an_answer_that_the_context_cuts_short(
    said: dict[str, Any], tokens: int, by_context: bool
) -> None:
    usage = {'choices': [], 'usage': {'completion_tokens': tokens}}
    with pytest.raises(OutputError, match='cut') as error:
        read(chunk(**said), chunk('length'), usage)
    assert isinstance(error.value, ContextFull) == by_context


@pytest.mark.parametrize('field', ['reasoning', 'reasoning_content'])
def test_reasoning_that_the_server_set_apart(field: str) -> None:
    said = read(
        chunk(content='\n'),
        chunk(**{field: 'I <tool_call>'}),
        chunk(content='Done.'),
        END,
        request=THINKING,
    )
    assert said[:-1] == [ReasoningDelta('I <tool_call>'), TextDelta('Done.')]


def test_reasoning_that_it_did_not_set_apart() -> None:
    text = 'hm <tool_call>\n<function=stop>\n</function>\n</tool_call></think>Done.'
    said = read(chunk(content=text), END, request=THINKING)
    assert names(said) == []
    assert ''.join(d.text for d in said if isinstance(d, TextDelta)) == 'Done.'


def test_an_answer_that_came_as_reasoning() -> None:
    with pytest.raises(OutputError, match=r'all of the answer came as reasoning, though none was'):
        read(chunk(reasoning='The answer.'), END)
    assert read(chunk(reasoning='Hm.'), END, request=THINKING)[0] == ReasoningDelta('Hm.')


def test_halves_of_characters() -> None:
    halves = [chunk(content='a\ud83e'), chunk(content='\udd16b\ud83e'), END]
    said = read(*halves)
    text = ''.join(d.text for d in said if isinstance(d, TextDelta))
    assert text == 'a🤖b\ufffd'


def test_more_text_than_was_asked_for() -> None:
    with pytest.raises(EngineError, match='more text than 100 tokens can hold') as error:
        read(*[chunk(content='x' * 1000)] * 100, END)
    assert not isinstance(error.value, OutputError)
