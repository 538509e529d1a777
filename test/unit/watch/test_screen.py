"""The picture, as a terminal of some size shows it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.confirmation import Question
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.watch.news import (
    EngineTold,
    HealthTold,
    KeyTold,
    QuestionsTold,
    RobotTold,
    SeenInGraph,
    StopTold,
)
from nemotron_ros.watch.screen import readable, screen
from nemotron_ros.watch.visible import call_text, visible

HEALTH = HealthTold(True, 1, 2, 23.14, 0.412, 1180)
READY = EngineTold('ready', 'llama_cpp', 'nemotron')
QUESTION = Question('a', 'open_door', 'Open the front door.', {'wide': True}, 5.0, 13.0)


def lines(view, now_s: float = 100.0, width: int = 80, height: int = 24) -> list[str]:
    """Return what stands on a terminal, line by line."""
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    console.print(screen(view, now_s, width, height), end='')
    return console.export_text().splitlines()


def test_the_first_lines_say_how_the_node_is(heard):
    view = heard(RobotTold('flat', 9), READY, HEALTH, StopTold(''))
    first, second, third, *_ = lines(view)
    assert first.split() == ['nemotron', 'flat,', '9', 'tools', 'ready', 'llama_cpp', 'nemotron']
    assert second.strip() == (
        'active  1 running · 2 queued · 23.1 tokens/s · first after 0.41 s · 1180 MB'
    )
    assert third.strip() == 'no stop is latched'


def test_what_is_not_known_is_not_made_up(heard):
    text = '\n'.join(lines(heard(SeenInGraph(True))))
    assert 'engine not heard of' in text
    assert 'no diagnostics heard yet' in text
    assert 'no stop' not in text


def test_an_engine_that_loads_or_fails_says_so(heard):
    loading = EngineTold('loading', 'llama_cpp', 'nemotron', 'reads the prompt', 0.42)
    assert 'loading 42%' in lines(heard(loading))[0]
    failed = EngineTold('failed', message='no such file; fetch it')
    assert 'no such file; fetch it' in lines(heard(failed))[0]


def test_a_latched_stop_is_told_with_its_reason_and_the_way_out(heard):
    third = lines(heard(StopTold('e_stop')), width=120)[2]
    assert 'STOPPED: e_stop' in third
    assert 'ros2 service call /nemotron/clear_stop std_srvs/srv/Trigger' in third


def test_a_node_that_is_not_active_has_another_way_out(heard):
    news = (replace(HEALTH, active=False), StopTold('the node is not active'))
    assert 'ros2 lifecycle set /nemotron activate' in lines(heard(*news), width=120)[2]


def test_a_node_that_has_gone_hides_that_nothing_is_stopped(heard):
    third = lines(heard(StopTold(''), SeenInGraph(False)))[2]
    assert third.strip() == 'nemotron has gone; what stands here is old'


def test_a_command_with_its_call_the_rule_and_the_outcome(tell, heard):
    text = '\n'.join(lines(heard(*tell('please drive'), *tell('too far', name='two')), width=160))
    assert '» please drive' in text
    assert '✓ drive(distance_m: 1.5)  admitted  succeeded in 0.0 s' in text
    assert 'succeeded after 0.0 s' in text
    assert '✗ drive(distance_m: 50)  invalid by schema  distance_m: expected at most' in text
    assert 'not_done after' in text


def test_what_ran_otherwise_than_it_was_asked_is_told(heard):
    result = ToolResult(Status.SUCCEEDED, clamped={'distance_m': 3.0})
    record = CallRecord(ToolCall('a', 'drive', {'distance_m': 50}), result)
    text = '\n'.join(lines(heard(Event('one', 's', 0, Phase.RESULT, record=record)), width=160))
    assert 'drive(distance_m: 50)  admitted  succeeded in 0.0 s  ran with distance_m: 3.0' in text


def test_the_newest_is_at_the_bottom_and_fits(tell, heard):
    view = heard(*(event for n in range(20) for event in tell('hello', name=str(n))))
    view = heard(*tell('please drive', name='last'), view=view)
    shown = lines(view, height=12)
    assert len(shown) == 12
    assert '» please drive' in '\n'.join(shown)
    assert 'succeeded' in shown[-2]
    assert 'q quit' in shown[-1]


def test_of_a_long_answer_the_end_is_shown(heard):
    said = ' '.join(map(str, range(300)))
    view = heard(
        Event('one', 's', 0, Phase.ACCEPTED), Event('one', 's', 1, Phase.GENERATING, said)
    )
    shown = lines(view, height=10)
    assert shown[-3].rstrip().endswith(' 299')
    assert 'writes' in shown[-2]


def test_a_question_is_shown_with_its_arguments_and_the_time_left(heard):
    view = heard(QuestionsTold((QUESTION, QUESTION)))
    text = '\n'.join(lines(view, now_s=103.0))
    assert 'WAITS FOR YOUR YES, and 1 more after it' in text
    assert 'open_door(wide: true)' in text
    assert 'Open the front door.' in text
    assert 'at most 5 s' in text
    assert readable(view, 80, 24)


@pytest.mark.parametrize(('width', 'height'), [(80, 10), (30, 24)])
def test_a_question_that_does_not_fit_is_not_shown_in_part(heard, width, height):
    long = Question('a', 'say', 'Say it.', {'text': 'rob the bank ' * 40}, 5.0, 13.0)
    view = heard(QuestionsTold((long,)))
    assert not readable(view, width, height)
    shown = lines(view, width=width, height=height)
    assert len(shown) == height
    text = ' '.join(' '.join(shown).replace('│', ' ').split())
    assert 'does not fit' in text
    assert 'rob the bank' not in text
    assert readable(view, 120, 40)


@pytest.mark.parametrize('width', [1, 20, 80, 200])
@pytest.mark.parametrize('height', [1, 5, 24])
def test_no_window_is_too_small(tell, heard, width, height):
    view = heard(
        *tell('please drive'), HEALTH, QuestionsTold((QUESTION,)), KeyTold('yes: it runs')
    )
    assert all(len(line) <= width for line in lines(view, width=width, height=height))


def test_what_a_model_writes_gives_the_terminal_no_orders(heard):
    evil = '\x1b[2Jhi\x07 [bold]x[/bold] \u202egnol\u2066'
    events = [Event('one', 's', n, phase, evil) for n, phase in enumerate((0, 2))]
    events[1] = Event('one', 's', 1, Phase.GENERATING, evil)
    text = '\n'.join(lines(heard(*events)))
    assert '\x1b' not in text
    assert '\u202e' not in text
    assert '[2Jhi [bold]x[/bold] gnol' in text


def test_a_text_can_not_pass_for_another_argument():
    assert call_text('say', {'text': 'hi, loud: true'}) == 'say(text: "hi, loud: true")'
    assert call_text('go_to', {'place': 'kitchen', 'fast': False}) == (
        'go_to(place: kitchen, fast: false)'
    )
    assert visible('one\ntwo\tthree  four') == 'one two three four'


def test_what_came_of_a_key_is_told_in_the_last_line(heard):
    assert lines(heard(KeyTold('stop: stopped')))[-1].rstrip().endswith('stop: stopped')
