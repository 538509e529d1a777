"""What an engine does with a server, or a model, that misbehaves in any way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from asking import (
    TOOLS,
    WARM,
    asked,
    calls_of,
    cut_off,
    deltas,
    ignored,
    reasoning_of,
    text_of,
)
from engines import TOLD, Rig
from server import BAD_CALLS, CALLER, DRIVE, Turn
from workbench import Bench

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.engine.protocol import Delta, EngineDied, EngineError, OutputError, UsageDelta

ENGINES = TOLD
STOP = ToolCall('', 'stop', {})
WORDS = Turn('It is größer, 😀 and so on.')

# What a server does in its answer, and what is told of it.
BREAKS = {
    'breaks off': r'the server broke its answer off',
    'stalls': r'the server was silent for 1 s',
    'garbage': r'the server sent what is not JSON',
    'a list': r'the server sent what is no chunk of an answer: .\[1, 2\]',
    'choices of another kind': r'the server sent choices that are not objects',
    'a text of another kind': r'the server sent a content that is not a text',
    'what is not UTF-8': r'the server sent what is not UTF-8',
    'a line of 10 MB': r'the server sent a line of more than 1048576 bytes',
    'too much text': r'the server sent more (text than 512 tokens can hold|than \d+ bytes)',
    'no end': r'the server left its answer without an end',
    'an error in the stream': r'the server refused the request: out of memory',
}
# What a server answers instead.
REFUSALS = {
    'status 400': r'the server refused the request: as told: 400',
    'status 401': r'api_key_env: the server wants a key \(status 401\): put it into an env',
    'status 403': r'api_key_env: the server wants a key \(status 403\)',
    'status 404': r'url or model: the server does not have it \(status 404\): as told: 404',
    'status 500': r'the server failed \(status 500\): as told: 500',
    'busy for an hour': r'\(status 429\).*asked again in 3600 s, which is later than this',
    'busy for ever': r'the server has too much to do \(status 429\): as told: 429',
    'sends on': r'url: the server sends on to http://127.0.0.1:1/.*; that is not followed',
    'a web page': r'url: expected the stream of an OpenAI-compatible.*status 200 and text/html',
    'a web page that is not there': r'url: expected the stream.*status 404 and text/html',
    'another API': r'url: expected the stream.*status 200 and application/json',
}
# What goes wrong when an engine opens.
AT_OPEN = {
    'status 401': r'api_key_env: the server wants a key',
    'status 404': r'url: .*/v1/models is not there; expected http://HOST:PORT',
    'status 500': r'the server failed \(status 500\)',
    'sends on': r'url: the server sends on to .*; that is not followed',
    'a web page': r'url: .*/v1/models answers with text/html, not with JSON; expected an OpenAI',
    'another API': r'url: .*/v1/models does not list models as OpenAI does; .*another API',
    'no model': r'model: name one of those that the server serves: none',
}


@pytest.fixture
def rig(bench: Bench) -> Iterator[Rig]:
    """An open engine before a server that does what it is told."""
    rig = bench.opened('caller')
    assert rig.script is not None
    rig.script.turn, rig.script.fault = CALLER, ''
    yield rig
    rig.script.turn, rig.script.fault = CALLER, ''


def says(rig: Rig, turn: Turn, fault: str = '') -> None:
    """Have the server say something, or do something else."""
    assert rig.script is not None
    rig.script.turn, rig.script.fault = turn, fault


@pytest.mark.parametrize('fault', BREAKS)
def test_an_answer_that_breaks(rig: Rig, fault: str) -> None:
    says(rig, WORDS, fault)
    began = time.monotonic()
    with pytest.raises(EngineError, match=BREAKS[fault]) as error:
        deltas(rig.engine, asked('go'))
    assert not isinstance(error.value, EngineDied)
    assert len(str(error.value)) < 300
    assert time.monotonic() - began < 5.0
    assert rig.script is not None
    assert rig.script.is_idle(), 'the server goes on'
    says(rig, CALLER)
    assert calls_of(deltas(rig.engine, asked('go'))), 'the next one is answered'


@pytest.mark.parametrize('fault', BREAKS)
def test_a_turn_that_breaks_is_never_whole(rig: Rig, fault: str) -> None:
    says(rig, Turn(calls=(DRIVE, DRIVE)), fault)
    stream = rig.engine.stream(asked('go'), CancelToken(30.0))
    said: list[Delta] = []
    with pytest.raises(EngineError):
        said.extend(stream)
    assert not any(isinstance(delta, UsageDelta) for delta in said)


@pytest.mark.parametrize('fault', REFUSALS)
def test_a_refusal(rig: Rig, fault: str) -> None:
    says(rig, WORDS, fault)
    began = time.monotonic()
    with pytest.raises(EngineError, match=REFUSALS[fault]) as error:
        deltas(rig.engine, asked('go'))
    assert not isinstance(error.value, OutputError)
    assert len(str(error.value)) < 500
    assert time.monotonic() - began < 4.0
    says(rig, CALLER)
    assert calls_of(deltas(rig.engine, asked('go'))), 'the next one is answered'


@pytest.mark.parametrize('fault', ['busy once', 'loading once'])
def test_a_busy_server_is_asked_again(rig: Rig, fault: str) -> None:
    says(rig, CALLER, fault)
    assert rig.script is not None
    before = len(rig.script.asked)
    assert calls_of(deltas(rig.engine, asked('go')))
    assert len(rig.script.asked) - before == 2


def test_nothing_is_asked_again_after_the_first_word(rig: Rig) -> None:
    says(rig, WORDS, 'breaks off')
    assert rig.script is not None
    before = len(rig.script.asked)
    with pytest.raises(EngineError):
        deltas(rig.engine, asked('go'))
    assert len(rig.script.asked) - before == 1


def test_waiting_for_a_busy_server_ends_with_the_token(rig: Rig) -> None:
    says(rig, CALLER)
    assert rig.script is not None
    rig.script.loading = 1000
    token = CancelToken(60.0)
    threading.Timer(0.25, token.cancel).start()
    began = time.monotonic()
    assert list(rig.engine.stream(asked('go'), token)) == []
    assert time.monotonic() - began < 0.4
    rig.script.loading = 0


@pytest.mark.parametrize('fault', ['byte by byte', 'CRLF and comments'])
def test_however_it_is_sent(rig: Rig, fault: str) -> None:
    says(rig, WORDS, fault)
    said = deltas(rig.engine, asked('go'))
    assert text_of(said) == WORDS.text
    assert isinstance(said[-1], UsageDelta)


def test_halves_of_characters_are_joined(rig: Rig) -> None:
    says(rig, WORDS, 'halves of characters')
    text = text_of(deltas(rig.engine, asked('go')))
    assert '🤖' in text
    assert text.encode()


@pytest.mark.parametrize('ends', ['content_filter', 'error', 'abort'])
def test_an_answer_that_ends_badly(rig: Rig, ends: str) -> None:
    says(rig, Turn(calls=(DRIVE,), ends=ends))
    said, error = cut_off(rig.engine, asked('go'))
    assert not any(isinstance(delta, UsageDelta) for delta in said)
    assert str(error)


def test_an_answer_without_a_reason(rig: Rig) -> None:
    says(rig, CALLER, 'no reason')
    _, error = cut_off(rig.engine, asked('go'))
    assert str(error) == 'the server did not say how the answer ended'


# Calls


def test_several_calls_in_their_order(rig: Rig) -> None:
    says(rig, Turn(calls=(DRIVE, STOP, DRIVE)))
    calls = calls_of(deltas(rig.engine, asked('go')))
    assert [(call.name, dict(call.arguments)) for call in calls] == [
        ('drive', DRIVE.arguments),
        ('stop', {}),
        ('drive', DRIVE.arguments),
    ]
    assert len({call.id for call in calls}) == 3


def test_words_and_a_call(rig: Rig) -> None:
    says(rig, Turn('I will.', calls=(DRIVE,)))
    said = deltas(rig.engine, asked('go'))
    assert text_of(said) == 'I will.'
    assert len(calls_of(said)) == 1


def test_a_call_to_another_tool(rig: Rig) -> None:
    says(rig, Turn(calls=(ToolCall('', 'self_destruct', {}),)))
    said, error = cut_off(rig.engine, asked('go'))
    assert calls_of(said) == []
    assert 'self_destruct: there is no such tool; there are drive, say, stop' in str(error)


def test_a_number_out_of_range_is_told_as_it_is(rig: Rig) -> None:
    says(rig, Turn(calls=(ToolCall('', 'drive', {'direction': 'forward', 'distance_m': 400}),)))
    (call,) = calls_of(deltas(rig.engine, asked('go')))
    assert call.arguments['distance_m'] == 400, 'to be refused by the validator, and told'


@pytest.mark.parametrize('fault', BAD_CALLS)
def test_a_bad_call(rig: Rig, fault: str) -> None:
    assert rig.script is not None
    if rig.script.dialect == 'llama_server':
        pytest.skip('does not apply: the server reads no calls')
    says(rig, Turn(), fault)
    said, error = cut_off(rig.engine, asked('go'))
    assert calls_of(said) == []
    assert str(error).startswith("the model's output can not be used: ")
    assert len(str(error)) < 300


def test_a_call_that_the_server_left_in_the_text(rig: Rig) -> None:
    text = '<tool_call>\n<function=stop>\n</function>\n</tool_call>'
    says(rig, Turn(f'Well.\n{text}'))
    said = deltas(rig.engine, asked('go'))
    assert [call.name for call in calls_of(said)] == ['stop']
    assert text_of(said) == 'Well.'


# Reasoning


def test_reasoning_is_no_answer_and_no_call(rig: Rig) -> None:
    if not rig.thinks:
        pytest.skip('does not apply: thinking can not be switched')
    thought = 'Maybe <tool_call>\n<function=stop>\n</function>\n</tool_call> is it.'
    says(rig, Turn('Done.', reasoning=thought))
    said = deltas(rig.engine, asked('go', thinking=True))
    assert text_of(said) == 'Done.'
    assert reasoning_of(said) == thought
    assert calls_of(said) == []


def test_reasoning_that_a_server_left_in_the_text(rig: Rig) -> None:
    says(rig, Turn('<think>\nhm\n</think>\nDone.'))
    said = deltas(rig.engine, asked('go'))
    assert text_of(said).strip() == 'Done.'
    assert reasoning_of(said) == 'hm'


def test_thinking_is_refused_where_there_is_no_switch(rig: Rig) -> None:
    if rig.thinks:
        pytest.skip('does not apply: thinking can be switched')
    with pytest.raises(EngineError, match=r'thinking: .* no switch for it'):
        deltas(rig.engine, asked('go', thinking=True))


# Opening


@pytest.fixture
def fresh(bench: Bench) -> Rig:
    return bench.fresh('caller')


@pytest.mark.parametrize('fault', AT_OPEN)
def test_open_with(fresh: Rig, fault: str) -> None:
    says(fresh, CALLER, fault)
    began = time.monotonic()
    with pytest.raises(EngineError, match=AT_OPEN[fault]):
        fresh.engine.open(WARM, ignored)
    assert time.monotonic() - began < 3.0
    with pytest.raises(EngineError, match='not open'):
        deltas(fresh.engine, asked('go'))


def test_open_waits_for_a_server_that_is_loading(fresh: Rig) -> None:
    assert fresh.script is not None
    fresh.script.loading = 3
    told: list[str] = []
    fresh.engine.open(WARM, lambda _part, text: told.append(text))
    assert 'the server is loading' in told
    assert deltas(fresh.engine, asked('go'))


def test_close_ends_an_open_that_waits(fresh: Rig) -> None:
    assert fresh.script is not None
    fresh.script.loading = 1_000_000
    threading.Timer(0.3, fresh.engine.close).start()
    began = time.monotonic()
    with pytest.raises(EngineError, match='closed'):
        fresh.engine.open(WARM, ignored)
    assert time.monotonic() - began < 1.0


def test_the_prompt_is_read_when_it_opens(fresh: Rig) -> None:
    assert fresh.script is not None
    fresh.engine.open(WARM, ignored)
    (asked_for,) = fresh.script.asked
    assert asked_for['messages'][0] == {'role': 'system', 'content': WARM.messages[0].content}
    assert asked_for['stream'] is True
    assert TOOLS[0].description in str(asked_for), 'the tools are a part of it'
