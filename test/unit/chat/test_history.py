"""What sessions keep, and what a conversation leaves out first."""

from __future__ import annotations

import json

import pytest

from nemotron_ros.chat.history import (
    CUT,
    Conversation,
    History,
    Sessions,
    tokens_at_most,
)
from nemotron_ros.chat.messages import Message, ToolCall
from nemotron_ros.chat.prompt import result_content


def said(text: str) -> tuple[Message, ...]:
    return (Message('user', text), Message('assistant', 'Yes.'))


def step(number: int, value: object = None) -> tuple[Message, ...]:
    call = ToolCall(f'call_{number}', 'look', {'at': number})
    content = result_content('look', 'succeeded', value)
    return (Message('assistant', '', (call,)), Message('tool', content, (), call.id, 'look'))


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_session_is_bounded_in_tokens_the_oldest_going_first() -> None:
    one = tokens_at_most(said('x' * 300))
    sessions = Sessions(History(max_commands=100, max_tokens=3 * one))
    for number in range(10):
        sessions.add('a', said(str(number) * 300))
    kept = sessions.commands('a')
    assert [turns[0].content[0] for turns in kept] == ['7', '8', '9']


@pytest.mark.parametrize('max_tokens', [0, 10])
def test_a_command_too_long_to_be_remembered_is_not(max_tokens: int) -> None:
    sessions = Sessions(History(max_tokens=max_tokens))
    sessions.add('a', said('x' * 1000))
    assert sessions.commands('a') == ()


def test_a_session_is_bounded_in_age_since_its_last_use() -> None:
    clock = Clock()
    sessions = Sessions(History(max_age_s=60.0), clock)
    sessions.add('a', said('one'))
    sessions.add('b', said('one'))
    clock.now_s = 50.0
    sessions.add('a', said('two'))
    clock.now_s = 100.0
    assert (len(sessions.commands('a')), sessions.commands('b')) == (2, ())
    clock.now_s = 111.0
    assert sessions.commands('a') == ()
    assert sessions._sessions == {}


def test_a_conversation_leaves_out_earlier_commands_first_and_the_oldest_of_them() -> None:
    talk = Conversation((said('one'), said('two')), said('three'))
    shorter = talk.shorter()
    assert shorter == Conversation((said('two'),), said('three'))
    assert shorter.turns == (*said('two'), *said('three'))


def test_then_what_tools_returned_but_never_that_they_ran() -> None:
    far = ('x' * 400, 'y' * 400, 'z' * 400)
    steps = [step(number, value) for number, value in enumerate(far)]
    talk: Conversation | None = Conversation(
        (), (Message('user', 'look'), *steps[0], *steps[1], *steps[2])
    )
    told = []
    while talk is not None:
        results = [json.loads(turn.content) for turn in talk.said if turn.role == 'tool']
        assert [result['status'] for result in results] == ['succeeded'] * 3
        assert [turn.tool_calls[0].id for turn in talk.said if turn.tool_calls] == [
            'call_0', 'call_1', 'call_2',
        ]  # fmt: skip
        told.append([len(result.get('value', '')) for result in results])
        talk = talk.shorter()
    assert told == [[400, 400, 400], [0, 400, 400], [0, 0, 400], [0, 0, 200 + len(CUT)]]


@pytest.mark.parametrize('value', [None, 7, 'short', ['short']])
def test_a_short_result_of_the_newest_calls_is_left_as_it_is(value: object) -> None:
    assert Conversation((), (Message('user', 'look'), *step(0, value))).shorter() is None


@pytest.mark.parametrize(
    'text',
    [
        'drive to the kitchen and tell me what you see there',
        'fahre zur Küche',
        '去厨房看看',
        '{"a": 1}',
    ],
)
def test_the_count_of_tokens_errs_to_the_safe_side(text: str) -> None:
    words = len(text.split())
    assert tokens_at_most((Message('user', text),)) >= max(words, len(text) / 4)
