"""What is known of a node, by the events of a real agent and a real guard."""

from __future__ import annotations

import itertools

import pytest

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.confirmation import Question
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.watch.news import (
    EngineTold,
    HealthTold,
    KeyTold,
    QuestionsTold,
    SeenInGraph,
    StopTold,
)
from nemotron_ros.watch.view import (
    KEPT_CHARS,
    KEPT_COMMANDS,
    SILENT_S,
    Stage,
    View,
    after,
)

IDLE = HealthTold(True, 0, 0, 0.0, 0.0, 500)
DRIVE = ToolCall('call_1', 'drive', {'distance_m': 1.5})
PENDING = CallRecord(DRIVE, ToolResult(Status.PENDING))
OPEN = Question('a', 'drive', 'Drive straight.', {'distance_m': 1.0}, 5.0, 13.0)


def test_a_command_is_told_from_its_words_to_its_end(tell, heard):
    view = heard(*tell('please drive'))
    (command,) = view.commands
    assert (command.asked, command.said, command.status) == ('please drive', 'Done.', 'SUCCEEDED')
    assert not command.open
    assert command.whole
    (seen,) = command.calls
    assert seen.call.arguments == {'distance_m': 1.5}
    assert (seen.stage, seen.decision) == (Stage.ENDED, 'admitted')


@pytest.mark.parametrize(
    ('words', 'allowed', 'decision'),
    [('too far', ('*',), 'invalid by schema'), ('please drive', ('say',), 'denied by allowed')],
)
def test_the_rule_that_decided_is_told(tell, heard, words, allowed, decision):
    (command,) = heard(*tell(words, allowed=allowed)).commands
    assert command.calls[0].decision == decision
    assert command.status == 'NOT_DONE'
    assert command.error


def test_reasoning_is_kept_apart_from_the_answer(tell, heard):
    (command,) = heard(*tell('hello')).commands
    assert command.thought.strip() == 'I am greeted.'
    assert command.said == 'Hello there.'


def test_a_call_is_followed_as_it_runs(tell, heard):
    began = tell('please drive')[:3]
    view = heard(*began)
    assert view.commands[0].calls[0].stage is Stage.CALLED
    number = itertools.count(3)

    def then(phase: Phase, detail: object) -> View:
        event = Event('one', 's', next(number), phase, record=PENDING, detail=detail)
        return heard(event, view=view)

    view = then(Phase.CALLING, {'waiting_for': 'confirmation', 'id': 'x'})
    seen = view.commands[0].calls[0]
    assert (seen.stage, seen.waits_for, seen.decision) == (Stage.WAITING, 'confirmation', '')
    view = then(Phase.EXECUTING, {'elapsed_s': 1.0})
    seen = view.commands[0].calls[0]
    assert (seen.stage, seen.progress, seen.decision) == (
        Stage.RUNNING,
        {'elapsed_s': 1.0},
        'admitted',
    )
    assert len(view.commands[0].calls) == 1


def test_a_call_of_another_node_is_no_command(heard):
    told = (Phase.CALLING, ToolResult(Status.PENDING)), (Phase.RESULT, ToolResult(Status.FAILED))
    events = [
        Event('mine', '', number, phase, record=CallRecord(DRIVE, result))
        for number, (phase, result) in enumerate(told)
    ]
    (begun,) = heard(events[0]).commands
    assert begun.direct
    assert begun.open
    (ended,) = heard(*events).commands
    assert not ended.open
    assert ended.calls[0].result.status is Status.FAILED


def test_who_begins_to_listen_late_says_so(tell, heard):
    (command,) = heard(*tell('please drive')[2:]).commands
    assert command.asked == ''
    assert not command.whole
    assert command.status == 'SUCCEEDED'


def test_a_name_that_is_used_again_is_another_command(tell, heard):
    view = heard(*tell('too far'), *tell('please drive'))
    assert [command.status for command in view.commands] == ['SUCCEEDED']


def test_what_is_kept_is_bounded(tell, heard):
    view = View('nemotron')
    for number in range(KEPT_COMMANDS + 5):
        view = heard(*tell('hello', name=str(number)), view=view)
    assert len(view.commands) == KEPT_COMMANDS
    assert view.commands[-1].id == str(KEPT_COMMANDS + 4)
    for number in range(20):
        view = heard(Event('long', 's', number, Phase.GENERATING, 'word ' * 1000), view=view)
    assert len(view.commands[-1].said) == KEPT_CHARS
    assert view.commands[-1].whole


def test_a_question_is_known_until_it_is_closed(heard):
    view = heard(QuestionsTold((OPEN,)))
    view = heard(QuestionsTold((OPEN,)), now_s=105.0, view=view)
    assert [(seen.question, seen.since_s) for seen in view.questions] == [(OPEN, 100.0)]
    assert heard(QuestionsTold(()), view=view).questions == ()


def test_whether_a_stop_is_latched_is_not_guessed(heard):
    assert heard(IDLE).stopped is None
    assert heard(StopTold('e_stop')).stopped == 'e_stop'
    assert heard(StopTold('e_stop'), StopTold('')).stopped == ''


# A node that is not there


def test_nobody_there_is_told_with_what_to_do(heard):
    assert 'nobody publishes nemotron/events' in heard(SeenInGraph(False)).trouble(100.0)
    assert heard(SeenInGraph(True)).trouble(100.0) == 'nemotron is there, and has said nothing yet'


def test_a_silent_node_and_one_that_has_gone_are_told_apart(heard):
    view = heard(IDLE)
    assert view.trouble(100.0 + SILENT_S) == ''
    assert view.trouble(109.0) == 'nemotron has been silent for 9 s; what stands here is old'
    view = heard(SeenInGraph(False), view=view)
    assert view.trouble(100.0) == 'nemotron has gone; what stands here is old'
    assert heard(IDLE, view=view).trouble(100.0) == ''


def test_what_a_node_that_has_gone_was_doing_is_not_known(tell, heard):
    view = heard(*tell('please drive')[:3], QuestionsTold((OPEN,)), SeenInGraph(False))
    assert view.commands[0].lost
    assert not view.commands[0].open
    assert view.questions == ()
    done = heard(*tell('please drive'), SeenInGraph(False))
    assert not done.commands[0].lost


def test_a_node_that_was_started_anew_knows_nothing_of_the_command_before(tell, heard):
    view = heard(*tell('please drive')[:3])
    assert not after(view, IDLE, 101.0).commands[0].lost, 'its end may be on its way'
    busy = HealthTold(True, 1, 0, 0.0, 0.0, 500)
    assert not after(view, busy, 110.0).commands[0].lost
    assert after(view, IDLE, 110.0).commands[0].lost


def test_what_a_key_did_is_no_sign_of_the_node(heard):
    view = heard(KeyTold('stop: asked for'))
    assert view.heard_s is None
    assert view.key == KeyTold('stop: asked for')
    assert heard(EngineTold('ready'), view=view).heard_s == 100.0
