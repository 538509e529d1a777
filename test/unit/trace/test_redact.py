"""Secrets and long payloads stay out of a trace, whichever way they come."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.trace.hold import MAX_HELD, Hold
from nemotron_ros.trace.record import Entry, entry_json, entry_of
from nemotron_ros.trace.redact import MAX_TEXT_CHARS, REDACTED, blank, is_whole, redact

KEY = 'hf_abcdefghijklmnopqrstuv'
EVENT = Event('command', 'session', 0, Phase.RESULT)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def about(arguments: object = None, value: object = None, error: str = '') -> Event:
    call = ToolCall('call_1', 'say', arguments or {})
    return replace(EVENT, record=CallRecord(call, ToolResult(Status.FAILED, value, error)))


@pytest.mark.parametrize(
    'name',
    ['password', 'api_key', 'apiKey', 'wifi_password', 'Authorization', 'auth-token', 'PWD'],
)
def test_a_secret_is_known_by_its_name(name):
    event = redact(about({'deep': [{name: 'hush'}]}, {name: {'a': 'hush'}}))
    assert 'hush' not in repr(event)
    assert event.record.call.arguments == {'deep': [{name: REDACTED}]}


@pytest.mark.parametrize(
    'name', ['prompt_tokens', 'keyboard', 'tokenizer', 'cookies_eaten', 'key']
)
def test_other_names_are_kept(name):
    assert redact(about({name: 12})).record.call.arguments == {name: 12}


@pytest.mark.parametrize(
    'text',
    [
        f'use {KEY} please',
        'sk-proj-abcdefghij0123456789',
        'AKIAABCDEFGHIJKLMNOP',
        'Bearer abcdef0123456789',
        'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdefgh_ijk',
        'rtsp://robot:hunter2@camera/1',
        'the password is hunter2',
        'api key: hunter2',
        '-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----',
    ],
)
def test_a_secret_is_known_by_how_it_looks(text):
    event = redact(replace(about({'text': text}, [text], text), detail={'said': text}))
    for whole in (event.record.call.arguments['text'], event.record.result.error):
        assert REDACTED in whole
        assert 'hunter2' not in whole
        assert not is_whole(whole)
    assert not is_whole(event.detail)
    assert not is_whole(event.record.result.value)
    for size in (1, 3, 7):
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        told = blank(pieces)
        assert len(told) == len(pieces)
        assert ''.join(told) == event.record.result.error


def test_words_that_hold_no_secret_are_kept_as_they_came():
    pieces = ['Drive to', ' the token', ' machine, ', 'sk', '-ip the password', '.']
    assert blank(pieces) == pieces


def test_long_payloads_are_cut_and_marked():
    event = redact(about({'text': 'x' * 100_000, 'list': list(range(1000))}, 'y' * 10**7))
    text = event.record.call.arguments['text']
    assert text.startswith('x' * MAX_TEXT_CHARS)
    assert text.endswith(f'[cut: {100_000 - MAX_TEXT_CHARS} characters]')
    assert event.record.call.arguments['list'][-1] == '[cut: 800 items]'
    assert not is_whole(event.record.call.arguments)
    assert len(json.dumps(entry_json(Entry(0, 0, event)))) < 20_000


def test_names_that_a_client_chose_are_bounded_too():
    event = redact(replace(EVENT, session_id='s' * 10**6, command_id=KEY))
    assert len(event.session_id) < 2 * MAX_TEXT_CHARS
    assert event.command_id == REDACTED


def test_what_no_json_holds_is_still_written():
    event = redact(about({'a': math.nan, 'b': '\ud800'}, value=object()))
    line = json.dumps(entry_json(Entry(1, 2, event)), allow_nan=False).encode()
    assert entry_of(json.loads(line)).event.record.call.arguments == {'a': 'nan', 'b': '?'}


@given(json_values)
def test_whatever_comes_can_be_written_and_read(value):
    event = redact(replace(about({'value': value}, value), detail=value))
    entry = Entry(1, 2, event)
    line = json.dumps(entry_json(entry), allow_nan=False)
    read = entry_of(json.loads(line))
    assert read.event.detail == event.detail
    assert read.event.record.call == event.record.call
    assert redact(event) == event


def test_deltas_are_held_until_their_turn_is_over_and_keep_their_times():
    hold = Hold()
    words = [
        replace(EVENT, phase=Phase.GENERATING, text_delta=w) for w in ('a hf_', KEY[3:], ' b')
    ]
    for number, event in enumerate(words):
        assert hold.push(Entry(number, number, event)) == []
    other = replace(EVENT, command_id='other', phase=Phase.ACCEPTED)
    assert [entry.event for entry in hold.push(Entry(9, 9, other))] == [other]
    told = hold.push(Entry(10, 10, replace(EVENT, phase=Phase.DONE)))
    assert [entry.time_ns for entry in told] == [0, 1, 2, 10]
    assert [entry.event.text_delta for entry in told[:3]] == [f'a {REDACTED}', '', ' b']


def test_a_prompt_joins_the_event_of_its_turn_without_its_secrets():
    hold = Hold()
    assert hold.push(Entry(1, 1, replace(EVENT, phase=Phase.PROMPTING))) == []
    hold.add('other', {'messages': ['not mine']})
    hold.add('command', {'messages': [{'content': f'use {KEY}'}]})
    hold.push(Entry(2, 2, replace(EVENT, phase=Phase.GENERATING, text_delta='a')))
    hold.add('command', {'cost': {'prompt_tokens': 7}})
    told = hold.push(Entry(3, 3, replace(EVENT, phase=Phase.DONE)))
    assert [entry.time_ns for entry in told] == [1, 2, 3]
    assert told[0].event.detail == {
        'messages': [{'content': f'use {REDACTED}'}],
        'cost': {'prompt_tokens': 7},
    }
    hold.add('command', {'late': 1})
    assert hold.rest() == []


def test_what_is_held_is_bounded():
    hold = Hold()
    event = replace(EVENT, phase=Phase.GENERATING, reasoning_delta='x')
    told = [entry for n in range(MAX_HELD) for entry in hold.push(Entry(n, n, event))]
    assert len(told) == MAX_HELD
    assert hold.rest() == []
    told = []
    for number in range(200):
        told += hold.push(Entry(number, number, replace(event, command_id=str(number))))
    assert len(told) + len(hold.rest()) == 200
    assert len(told) > 100
