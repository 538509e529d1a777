"""The scripted engine: what the file says, in its order, and no later than the token allows."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import yaml

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message, ToolCall
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    EngineError,
    ModelFileError,
    ModelInfo,
    PromptTooLong,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.engine.scripted import MAX_DELAY_S, ScriptedEngine


def nothing(_part: float, _text: str) -> None:
    pass


def opened(folder: Path, *replies: object) -> ScriptedEngine:
    path = folder / 'script.yaml'
    path.write_text(yaml.safe_dump(list(replies)))
    engine = ScriptedEngine(path)
    engine.open(ChatRequest(()), nothing)
    return engine


def say(engine: ScriptedEngine, text: str, cancel: CancelToken | None = None) -> list[Delta]:
    request = ChatRequest((Message('system', 'You are'), Message('user', text)))
    return list(engine.stream(request, cancel or CancelToken(10.0)))


def test_open_tells_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / 'script.yaml'
    path.write_text('[]')
    told: list[tuple[float, str]] = []
    info = ScriptedEngine(path).open(ChatRequest(()), lambda *news: told.append(news))
    assert info == ModelInfo('scripted', 'script.yaml', 0)
    assert told == [(1.0, 'ready')]


def test_a_prompt_of_more_words_than_the_context_holds(tmp_path: Path) -> None:
    path = tmp_path / 'script.yaml'
    path.write_text('- {text: Yes.}')
    engine = ScriptedEngine(path, 5)
    assert engine.open(ChatRequest(()), nothing).context_tokens == 5
    assert say(engine, 'one two three')
    with pytest.raises(PromptTooLong, match='the prompt has 6 words and the context holds 5'):
        say(engine, 'one two three four')


def test_reasoning_then_words_then_calls_then_usage(tmp_path: Path) -> None:
    calls = [{'name': 'turn', 'arguments': {'angle_deg': 90}}, {'name': 'halt', 'arguments': {}}]
    engine = opened(tmp_path, {'text': 'I  will.', 'reasoning': 'It asks', 'calls': calls})
    assert say(engine, 'turn round please') == [
        ReasoningDelta('It'),
        ReasoningDelta(' asks'),
        TextDelta('I'),
        TextDelta(' '),
        TextDelta(' will.'),
        CallDelta(ToolCall('call_1', 'turn', {'angle_deg': 90})),
        CallDelta(ToolCall('call_2', 'halt', {})),
        UsageDelta(prompt_tokens=5, cached_tokens=0, completion_tokens=7),
    ]


def test_first_match_in_the_newest_turn_wins(tmp_path: Path) -> None:
    replies = [
        {'when': 'You are', 'text': 'system'},
        {'when': 'turn round', 'text': 'round'},
        {'when': 'turn', 'text': 'turn'},
        {'text': 'any'},
    ]
    engine = opened(tmp_path, *replies)
    said = [say(engine, text)[0] for text in ('please turn round', 'turn left', 'Turn')]
    assert said == [TextDelta('round'), TextDelta('turn'), TextDelta('any')]


def test_no_reply_is_an_error_that_quotes_the_turn(tmp_path: Path) -> None:
    engine = opened(tmp_path, {'when': 'go', 'text': 'Going.'})
    with pytest.raises(EngineError, match=r"script.yaml: has no reply to 'dance'"):
        say(engine, 'dance')


def test_a_reply_may_be_empty(tmp_path: Path) -> None:
    assert say(opened(tmp_path, {}), 'go') == [UsageDelta(3, 0, 0)]


def test_words_come_over_the_delay(tmp_path: Path) -> None:
    engine = opened(tmp_path, {'text': 'one two three four', 'delay_s': 0.4})
    request = ChatRequest((Message('user', 'go'),))
    times = []
    began = time.monotonic()
    for _ in engine.stream(request, CancelToken(10.0)):
        times.append(time.monotonic() - began)
    assert all(time_s >= 0.1 * (i + 1) for i, time_s in enumerate(times[:4]))
    assert times[0] < 0.3, 'they are spread, not held back'


def test_cancel_cuts_the_delay(tmp_path: Path) -> None:
    engine = opened(tmp_path, {'text': 'one two', 'delay_s': 600})
    token = CancelToken(60.0)
    threading.Timer(0.1, token.cancel).start()
    began = time.monotonic()
    assert say(engine, 'go', token) == []
    assert time.monotonic() - began < 2.0


def test_deadline_cuts_the_delay(tmp_path: Path) -> None:
    engine = opened(tmp_path, {'text': 'one two', 'delay_s': 0.4})
    assert say(engine, 'go', CancelToken(0.3)) == [TextDelta('one')]


def test_streams_only_while_open(tmp_path: Path) -> None:
    engine = opened(tmp_path, {'text': 'Yes.'})
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match='not open'):
        say(engine, 'go')


def test_calls_are_not_checked(tmp_path: Path) -> None:
    engine = opened(tmp_path, {'calls': [{'name': 'no such tool', 'arguments': {'speed': 1e9}}]})
    assert say(engine, 'go')[0] == CallDelta(ToolCall('call_1', 'no such tool', {'speed': 1e9}))


BAD = {
    'words': ('reply 2: expected', 'go'),
    'unknown key': ('reply 2: expected calls, delay_s, reasoning, text, when', {'txt': 'a'}),
    'text': ('reply 2: when, text and reasoning are texts', {'text': 5}),
    'when': ('reply 2: when, text and reasoning are texts', {'when': None}),
    'delay': ('reply 2: delay_s: expected seconds from 0 to 600', {'delay_s': MAX_DELAY_S + 1}),
    'negative delay': ('reply 2: delay_s: expected', {'delay_s': -1}),
    'no delay': ('reply 2: delay_s: expected', {'delay_s': float('nan')}),
    'true delay': ('reply 2: delay_s: expected', {'delay_s': True}),
    'calls': ('reply 2: calls: expected a list', {'calls': {'name': 'turn'}}),
    'call': ('reply 2: calls: expected {name: ', {'calls': [{'name': 'turn'}]}),
    'name': ('reply 2: calls: expected {name: ', {'calls': [{'name': 1, 'arguments': {}}]}),
    'arguments': ('reply 2: calls: expected', {'calls': [{'name': 'turn', 'arguments': []}]}),
    'argument': (
        'reply 2: calls: light: put the name True in quotes',
        {'calls': [{'name': 'light', 'arguments': {True: 1}}]},
    ),
}


@pytest.mark.parametrize(('reason', 'reply'), BAD.values(), ids=BAD.keys())
def test_bad_replies_are_named(tmp_path: Path, reason: str, reply: object) -> None:
    with pytest.raises(ModelFileError) as error:
        opened(tmp_path, {'text': 'Yes.'}, reply)
    assert str(error.value).startswith(f'{tmp_path / "script.yaml"}: {reason}')


@pytest.mark.parametrize('text', [b'a: 1', b'', b'[1', b'- text: \xff'])
def test_bad_files_are_named(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / 'script.yaml'
    path.write_bytes(text)
    with pytest.raises(ModelFileError, match=r'script\.yaml: '):
        ScriptedEngine(path).open(ChatRequest(()), nothing)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r'none.yaml: the script can not be read'):
        ScriptedEngine(tmp_path / 'none.yaml').open(ChatRequest(()), nothing)
