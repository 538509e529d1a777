"""What is printed parses back to itself, and nothing else ever becomes a call by accident."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import calls_of, cut, exact, joined, read
from tool_strategies import fragments, sizes, texts, tools_and_calls

from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.formats.protocol import Format, FormatError, Piece, Reasoning, Text
from nemotron_ros.chat.messages import ToolCall, ToolSpec

FORMS = [NemotronXml(), JsonCall()]
both = pytest.mark.parametrize('form', FORMS, ids=lambda form: form.name)
quick = settings(max_examples=80, deadline=None)

DRIVE = ToolSpec(
    'drive',
    'Drive.',
    {
        'type': 'object',
        'properties': {'a': {'type': 'number'}, 'text': {'type': 'string'}},
        'required': ['a'],
    },
)


def outcome(
    form: Format,
    tools: list[ToolSpec],
    chunks: list[str],
    thinking: bool,
    truncated: bool,
) -> list[Piece] | str:
    """The pieces, or that there was an error; any other exception fails the test."""
    try:
        return read(form, tools, chunks, thinking, truncated)
    except FormatError:
        return 'error'


@quick
@given(tools_and_calls(), sizes, st.sampled_from(['', '<think></think>', '<think></think>\n']))
def test_xml_round_trip(
    given_: tuple[list[ToolSpec], list[ToolCall]], sizes: list[int], before: str
) -> None:
    tools, calls = given_
    text = before + NemotronXml().print_calls(calls)
    pieces = read(NemotronXml(), tools, cut(text, sizes))
    assert [exact(piece) for piece in pieces] == [exact(call) for call in calls]


@quick
@given(tools_and_calls(tagged=True), sizes, st.sampled_from(['', '<think></think>', ' \n']))
def test_json_round_trip(
    given_: tuple[list[ToolSpec], list[ToolCall]], sizes: list[int], before: str
) -> None:
    tools, calls = given_
    text = before + JsonCall().print_calls(calls)
    pieces = read(JsonCall(), tools, cut(text, sizes))
    assert [exact(piece) for piece in pieces] == [exact(call) for call in calls]


@both
@quick
@given(given_=tools_and_calls(), sizes=sizes, thought=texts(tagged=False))
def test_calls_before_the_last_think_never_run(
    form: Format, given_: tuple[list[ToolSpec], list[ToolCall]], sizes: list[int], thought: str
) -> None:
    tools, calls = given_
    printed = form.print_calls(calls)
    text = f'{thought}{printed}\n</think>\n{printed}</think>{printed}'
    pieces = read(form, tools, cut(text, sizes), thinking=True)
    assert [exact(piece) for piece in calls_of(pieces)] == [exact(call) for call in calls]
    assert not any(isinstance(piece, Text) for piece in pieces)
    assert calls_of(read(form, tools, cut(thought + printed, sizes), thinking=True)) == []


@both
@quick
@given(given_=tools_and_calls(), sizes=sizes, data=st.data())
def test_truncated_output_never_yields_its_last_call(
    form: Format,
    given_: tuple[list[ToolSpec], list[ToolCall]],
    sizes: list[int],
    data: st.DataObject,
) -> None:
    tools, calls = given_
    text = form.print_calls(calls)
    text = text[: data.draw(st.integers(0, len(text) - 1))]
    pieces = outcome(form, tools, cut(text, sizes), False, True)
    if pieces != 'error':
        found = [exact(call) for call in calls_of(pieces)]
        assert len(found) < len(calls)
        assert found == [exact(call) for call in calls[: len(found)]]


@both
@quick
@given(text=fragments, sizes=sizes, thinking=st.booleans(), truncated=st.booleans())
def test_garbage(
    form: Format, text: str, sizes: list[int], thinking: bool, truncated: bool
) -> None:
    whole = outcome(form, [DRIVE], [text], thinking, truncated)
    assert whole == outcome(form, [DRIVE], cut(text, sizes), thinking, truncated)
    if whole != 'error':
        assert all(call.name == 'drive' for call in calls_of(whole))


@both
@quick
@given(given_=tools_and_calls(), sizes=sizes, thinking=st.booleans(), data=st.data())
def test_mutated_output(
    form: Format,
    given_: tuple[list[ToolSpec], list[ToolCall]],
    sizes: list[int],
    thinking: bool,
    data: st.DataObject,
) -> None:
    tools, calls = given_
    text = ('x</think>' if thinking else '') + form.print_calls(calls)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + data.draw(fragments) + text[end:]
    whole = outcome(form, tools, [text], thinking, False)
    assert whole == outcome(form, tools, cut(text, sizes), thinking, False)
    if whole != 'error':
        assert all(call.name in {tool.name for tool in tools} for call in calls_of(whole))


@both
@quick
@given(text=st.text(), sizes=sizes)
def test_words_come_out_as_they_are(form: Format, text: str, sizes: list[int]) -> None:
    text = 'Hello ' + text.replace('<', '(').replace('{', '(').replace('`', "'") + ' robot'
    assert read(form, [DRIVE], cut(text, sizes)) == [Text(text)]


@both
def test_words_are_passed_on_at_once(form: Format) -> None:
    parser = form.parser([DRIVE])
    assert parser.feed('Hello wor') == [Text('Hello wor')]
    assert parser.feed('ld <') == [Text('ld')]
    assert joined(parser.feed('3')) == [Text(' <3')]


@both
def test_a_call_comes_with_its_last_character(form: Format) -> None:
    text = form.print_calls([ToolCall('call_1', 'drive', {'a': 1.5})])
    parser = form.parser([DRIVE])
    assert parser.feed(text[:-1]) == []
    assert parser.feed(text[-1:]) == [ToolCall('call_1', 'drive', {'a': 1.5})]


@both
def test_reasoning_streams_and_is_no_text(form: Format) -> None:
    parser = form.parser([DRIVE], thinking=True)
    assert parser.feed('<think>\nFirst, ') == [Reasoning('First,')]
    assert parser.feed('look. \n</thi') == [Reasoning(' look.')]
    assert parser.feed('nk>\n\nDone.') == [Text('Done.')]
    assert parser.finish(truncated=False) == []


@both
@pytest.mark.parametrize(
    'value', ['x' * 1_000_000, '[' * 1000 + ']' * 1000, '{"a":' * 1000 + '1' + '}' * 1000]
)
def test_huge_and_deep_arguments_are_refused(form: Format, value: str) -> None:
    tool = ToolSpec(
        'f', '', {'type': 'object', 'properties': {'a': {'type': ['array', 'object']}}}
    )
    if form.name == 'json_call':
        value = '"' + value + '"' if value.startswith('x') else value
        text = f'{{"name": "f", "arguments": {{"a": {value}}}}}'
    else:
        text = f'<tool_call>\n<function=f>\n<parameter=a>\n{value}\n</parameter>\n</function>\n'
    for chunks in ([text], cut(text, [1000])):
        with pytest.raises(FormatError, match=r'longer than|nested deeper|expected array'):
            read(form, [tool], chunks)


@both
@pytest.mark.parametrize(
    'text', ['<', '<think>', '{', '\n{', '```', ' ', '<tool_cal', '< /', '\n<']
)
def test_a_long_run_of_noise_takes_no_long_time(form: Format, text: str) -> None:
    text = 'x' + text * (100_000 // len(text))
    before = time.process_time()
    outcome(form, [DRIVE], [text], False, False)
    outcome(form, [DRIVE], list(text[:10_000]), False, False)
    assert time.process_time() - before < 8
