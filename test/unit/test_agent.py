"""The loop: what a command does, what it may not do, and an account that is true."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder import ROBOT, Act, Recorder, dispatcher, until_canceled

from nemotron_ros.agent import Agent, Command, Limits, Line, Priority, Sampling
from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.history import History
from nemotron_ros.chat.messages import Message, ToolCall
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    ContextFull,
    Delta,
    EngineError,
    ModelInfo,
    Progress,
    PromptTooLong,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.engine.scripted import ScriptedEngine
from nemotron_ros.events import CommandStatus, Event, Outcome, Phase
from nemotron_ros.tools.confirmation import Confirmations, Question
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.tool_file import ToolFileError, load

LONG_S = 10.0
SOON_S = 0.3


def call(name: str, **arguments: Any) -> CallDelta:
    return CallDelta(ToolCall('whatever', name, arguments))


DRIVE = call('drive', distance_m=1.0)
BACK = call('drive', distance_m=1.0, direction='backward')
TURN = call('turn', angle_deg=90)
SAY = call('say', text='hi')
FLY = call('fly')
TOO_FAR = call('drive', distance_m=5.0)
BATTERY = call('get_battery')
WHERE = call('ask_user', question='Where to?')
DONE = TextDelta('Done.')

Turn = Sequence[Delta | Exception]


class Turns:
    """An engine that says one prepared turn after another, and keeps what it was asked."""

    def __init__(self, *turns: Turn) -> None:
        self._turns = list(turns)
        self.requests: list[ChatRequest] = []

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        return ModelInfo('turns', '', 0)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        self.requests.append(request)
        for delta in self._turns.pop(0) if self._turns else [DONE]:
            if isinstance(delta, Exception):
                raise delta
            if cancel.ended:
                return
            yield delta

    def close(self) -> None:
        pass


class Robot:
    """An agent with a robot that records."""

    def __init__(
        self, *turns: Turn, act: Act | None = None, limits: Limits | None = None, **options: Any
    ) -> None:
        self.engine = Turns(*turns)
        self.recorder = Recorder(act) if act else Recorder()
        self.dispatcher = dispatcher(self.recorder)
        self.agent = Agent(self.engine, ROBOT, self.dispatcher, limits, **options)
        self.events: list[Event] = []

    def do(self, text: str = 'do it', token: CancelToken | None = None, **command: Any) -> Outcome:
        """Carry out a command to its end."""
        asked = Command('id', text, **command)
        return self.agent.execute(asked, token or CancelToken(LONG_S), self.events.append)

    def names(self) -> list[str]:
        return [name for name, _ in self.recorder.calls]

    def told(self, index: int = -1) -> list[Message]:
        """The turns of a request after the part that all of them share."""
        shared = len(self.agent.warm_request().messages)
        return list(self.engine.requests[index].messages[shared:])


def statuses(outcome: Outcome) -> list[tuple[str, Status]]:
    return [(record.call.name, record.result.status) for record in outcome.calls]


def failing(*names: str) -> Act:
    """A robot on which these tools fail."""

    def act(name: str, cancel: CancelToken) -> ToolResult:
        if name in names:
            return ToolResult(Status.FAILED, None, f'{name} is stuck')
        return ToolResult(Status.SUCCEEDED, 42)

    return act


# What a command does


def test_an_answer_in_words() -> None:
    robot = Robot([ReasoningDelta('hm'), TextDelta('Hello'), TextDelta(' there.')])
    outcome = robot.do('hello')
    assert (outcome.status, outcome.text) == (CommandStatus.ANSWERED, 'Hello there.')
    assert (outcome.calls, robot.recorder.calls) == ((), [])
    assert robot.told() == [Message('user', 'hello')]


def test_one_call_and_its_result_fed_back() -> None:
    robot = Robot([DRIVE], [DONE], act=failing())
    outcome = robot.do('go')
    assert (outcome.status, outcome.text) == (CommandStatus.SUCCEEDED, 'Done.')
    assert robot.recorder.calls == [('drive', {'distance_m': 1.0, 'direction': 'forward'})]
    asked, answered = robot.told()[1:]
    assert asked.role == 'assistant'
    assert [(c.id, c.name) for c in asked.tool_calls] == [('call_1', 'drive')]
    assert (answered.role, answered.tool_name, answered.tool_call_id) == (
        'tool',
        'drive',
        'call_1',
    )
    assert json.loads(answered.content) == {'tool': 'drive', 'status': 'succeeded', 'value': 42}


def test_several_calls_of_a_turn_run_in_order() -> None:
    robot = Robot([DRIVE, TURN, SAY], [DONE])
    outcome = robot.do()
    assert robot.names() == ['drive', 'turn', 'say']
    assert [record.call.id for record in outcome.calls] == ['call_1', 'call_2', 'call_3']
    assert outcome.status is CommandStatus.SUCCEEDED
    assert [turn.tool_call_id for turn in robot.told()[2:]] == ['call_1', 'call_2', 'call_3']


def test_no_call_runs_before_the_whole_turn_has_come() -> None:
    robot = Robot([DRIVE, EngineError('cut off')])
    assert robot.do().status is CommandStatus.ENGINE_FAILED
    assert robot.recorder.calls == []


def test_several_turns() -> None:
    robot = Robot([DRIVE], [TURN], [SAY], [DONE])
    outcome = robot.do()
    assert robot.names() == ['drive', 'turn', 'say']
    assert [record.call.id for record in outcome.calls] == ['call_1', 'call_2', 'call_3']
    assert (outcome.status, len(robot.engine.requests)) == (CommandStatus.SUCCEEDED, 4)


def test_every_prompt_begins_alike_and_names_every_tool() -> None:
    robot = Robot([DRIVE], [DONE])
    robot.do(allowed_tools=('drive',))
    warm = robot.agent.warm_request()
    for request in robot.engine.requests:
        assert request.messages[: len(warm.messages)] == warm.messages
        assert request.tools == warm.tools == tuple(t.spec for t in ROBOT.tools.values())


@pytest.mark.parametrize(
    ('by_default', 'asked', 'thinks'),
    [(False, None, False), (True, None, True), (False, True, True), (True, False, False)],
)
def test_thinking_is_the_commands_own_or_as_by_default(
    by_default: bool, asked: bool | None, thinks: bool
) -> None:
    robot = Robot()
    robot.agent = Agent(
        robot.engine,
        ROBOT,
        robot.dispatcher,
        Limits(max_tokens=100, thinking_tokens=50),
        Sampling(thinking=by_default),
    )
    robot.do(thinking=asked)
    (request,) = robot.engine.requests
    assert (request.thinking, request.max_tokens) == (thinks, 150 if thinks else 100)
    assert request.max_thinking_tokens == 0


def test_the_engine_is_asked_to_bound_the_reasoning() -> None:
    robot = Robot()
    limits = Limits(thinking_tokens=50)
    sampling = Sampling(thinking=True, bound_thinking=True)
    robot.agent = Agent(robot.engine, ROBOT, robot.dispatcher, limits, sampling)
    robot.do()
    assert robot.engine.requests[0].max_thinking_tokens == 50


def test_a_script_does_a_whole_command(tmp_path: Path) -> None:
    script = tmp_path / 'script.yaml'
    drive = {'name': 'drive', 'arguments': {'distance_m': 1}}
    script.write_text(
        yaml.safe_dump(
            [
                {'when': 'go', 'reasoning': 'Well.', 'calls': [drive]},
                {'when': '"status": "succeeded"', 'text': 'I drove a metre.'},
            ]
        )
    )
    engine, recorder = ScriptedEngine(script), Recorder()
    agent = Agent(engine, ROBOT, dispatcher(recorder))
    engine.open(agent.warm_request(), lambda *_: None)
    outcome = agent.execute(Command('id', 'go ahead'), CancelToken(LONG_S), lambda _: None)
    assert (outcome.status, outcome.text) == (CommandStatus.SUCCEEDED, 'I drove a metre.')
    assert recorder.calls == [('drive', {'distance_m': 1, 'direction': 'forward'})]
    assert outcome.usage.completion_tokens > 0


def test_usage_is_that_of_all_turns() -> None:
    robot = Robot([DRIVE, UsageDelta(10, 3, 5)], [DONE, UsageDelta(20, 10, 2)])
    usage = robot.do().usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (30, 13, 7)
    assert 0 < usage.time_to_first_token_s <= usage.time_to_first_call_s <= usage.total_s
    assert 0 < usage.generating_s <= usage.total_s


# What a command may not do


def test_turns_have_a_limit() -> None:
    turns = [[call('turn', angle_deg=5 + i)] for i in range(9)]
    robot = Robot(*turns, limits=Limits(max_turns=3))
    outcome = robot.do()
    assert (len(robot.engine.requests), robot.names()) == (3, ['turn'] * 3)
    assert len(outcome.calls) == 3


def test_calls_have_a_limit() -> None:
    robot = Robot([DRIVE, TURN], [SAY, call('get_battery')], limits=Limits(max_calls=3))
    robot.do()
    assert set(robot.names()) <= {'drive', 'turn', 'say'}
    flood = Robot([SAY] * 1000, limits=Limits(max_calls=3))
    assert flood.do().status is CommandStatus.NOT_DONE
    assert len(flood.recorder.calls) <= 3


def test_calls_over_the_limit_are_told() -> None:
    robot = Robot([DRIVE], [SAY, TURN], limits=Limits(max_calls=2))
    outcome = robot.do()
    assert (outcome.status, robot.names()) == (CommandStatus.NOT_DONE, ['drive'])
    assert '2 more calls (say, turn) are over the limit of 2' in outcome.error


def test_a_model_that_never_answers_has_not_done_it() -> None:
    robot = Robot([DRIVE], [TURN], [BACK], limits=Limits(max_turns=2))
    outcome = robot.do()
    assert (outcome.status, outcome.error) == (CommandStatus.NOT_DONE, 'no answer after 2 turns')


def test_a_model_that_says_nothing_has_not_done_it() -> None:
    outcome = Robot([]).do()
    assert (outcome.status, outcome.error) == (CommandStatus.NOT_DONE, 'the model said nothing')
    assert Robot([DRIVE], []).do().status is CommandStatus.SUCCEEDED


def test_a_model_that_repeats_itself_moves_the_robot_no_further() -> None:
    robot = Robot(*[[DRIVE]] * 9)
    outcome = robot.do()
    assert (robot.names(), len(robot.engine.requests)) == (['drive'], 3)
    assert outcome.status is CommandStatus.NOT_DONE
    assert 'again and again' in outcome.error


def test_a_model_that_repeats_itself_once_may_find_its_way() -> None:
    robot = Robot([DRIVE], [DRIVE], [DONE])
    outcome = robot.do()
    assert robot.names() == ['drive']
    assert statuses(outcome) == [('drive', Status.SUCCEEDED), ('drive', Status.NOT_RUN)]
    assert outcome.calls[1].result.rule == 'repeated'
    assert outcome.status is CommandStatus.SUCCEEDED
    assert 'in the turn before' in robot.told()[-1].content


def test_what_comes_after_a_repeated_call_is_run() -> None:
    robot = Robot([DRIVE, TURN], [DRIVE, TURN, SAY], [DONE])
    assert robot.do().status is CommandStatus.SUCCEEDED
    assert robot.names() == ['drive', 'turn', 'say']


def test_the_same_call_after_another_one_is_no_repetition() -> None:
    robot = Robot([DRIVE], [TURN], [DRIVE], [TURN], [DONE])
    assert robot.do().status is CommandStatus.SUCCEEDED
    assert robot.names() == ['drive', 'turn', 'drive', 'turn']


def test_the_same_call_with_its_arguments_in_another_order_is_the_same() -> None:
    once = call('drive', distance_m=1.0, direction='forward')
    again = call('drive', direction='forward', distance_m=1.0)
    plain, turned = Robot(*[[once]] * 5), Robot([once], [again], [once], [again], [once])
    plain.do()
    turned.do()
    assert turned.recorder.calls == plain.recorder.calls


def test_the_same_tool_with_other_arguments_is_no_repetition() -> None:
    robot = Robot([DRIVE], [BACK], [DONE])
    assert robot.do().status is CommandStatus.SUCCEEDED
    assert robot.names() == ['drive', 'drive']


def test_a_refused_call_may_be_mended() -> None:
    robot = Robot([TOO_FAR], [DRIVE], [DONE])
    outcome = robot.do()
    assert statuses(outcome) == [('drive', Status.INVALID), ('drive', Status.SUCCEEDED)]
    assert outcome.status is CommandStatus.SUCCEEDED
    assert 'expected at most 2, got 5.0' in robot.told(1)[-1].content


@pytest.mark.parametrize(
    ('first', 'status'),
    [(TURN, Status.FAILED), (FLY, Status.INVALID), (TOO_FAR, Status.INVALID)],
    ids=['fails', 'unknown', 'invalid'],
)
def test_after_a_call_that_fails_the_rest_of_the_turn_is_not_run(
    first: CallDelta, status: Status
) -> None:
    robot = Robot([SAY, first, call('get_battery'), DRIVE], [DONE], act=failing('turn'))
    outcome = robot.do()
    assert statuses(outcome) == [
        ('say', Status.SUCCEEDED),
        (first.call.name, status),
        ('get_battery', Status.NOT_RUN),
        ('drive', Status.NOT_RUN),
    ]
    assert not {'get_battery', 'drive'} & set(robot.names())
    told = [json.loads(turn.content)['status'] for turn in robot.told()[2:]]
    assert told == ['succeeded', status.name.lower(), 'not_run', 'not_run']


@pytest.mark.parametrize('allowed', [(), ('say',), ('say', 'get_battery')])
def test_a_tool_that_the_goal_does_not_allow_is_refused(allowed: tuple[str, ...]) -> None:
    robot = Robot([DRIVE], [DONE])
    outcome = robot.do(allowed_tools=allowed)
    assert (statuses(outcome), robot.names()) == ([('drive', Status.DENIED)], [])
    assert outcome.status is CommandStatus.NOT_DONE
    assert 'allowed' in outcome.error


@pytest.mark.parametrize('allowed', [('drive',), ('*',), ('say', '*'), ('drive', 'turn')])
def test_a_tool_that_the_goal_allows_is_run(allowed: tuple[str, ...]) -> None:
    robot = Robot([DRIVE], [DONE])
    assert robot.do(allowed_tools=allowed).status is CommandStatus.SUCCEEDED
    assert robot.names() == ['drive']


def test_a_dry_run_moves_nothing_and_tells_what_is_wrong() -> None:
    robot = Robot([DRIVE, TURN], [DONE])
    outcome = robot.do(dry_run=True)
    assert statuses(outcome) == [('drive', Status.NOT_RUN), ('turn', Status.NOT_RUN)]
    assert all('dry run' in record.result.error for record in outcome.calls)
    assert robot.recorder.calls == []
    wrong = Robot([TOO_FAR], [DONE])
    outcome = wrong.do(dry_run=True)
    assert (outcome.status, wrong.recorder.calls) == (CommandStatus.NOT_DONE, [])


@pytest.mark.parametrize(
    ('text', 'options', 'error'),
    [
        ('', {}, 'command: is empty'),
        (' \n\t', {}, 'command: is empty'),
        ('x' * 2001, {}, 'command: 2001 characters; at most 2000'),
        ('go', {'allowed_tools': ('fly',)}, "allowed_tools: no tool named 'fly'"),
        ('go', {'allowed_tools': ('*', '/drive')}, "allowed_tools: no tool named '/drive'"),
        ('go', {'allowed_tools': ('drive ',)}, "allowed_tools: no tool named 'drive '"),
    ],
)
def test_a_bad_command_is_rejected_and_nothing_is_done(
    text: str, options: dict[str, Any], error: str
) -> None:
    robot = Robot([DRIVE])
    outcome = robot.do(text, **options)
    assert outcome.status is CommandStatus.REJECTED
    assert outcome.error.startswith(error)
    assert (robot.engine.requests, robot.recorder.calls) == ([], [])
    assert [event.phase for event in robot.events] == [Phase.DONE]


def test_a_model_may_correct_itself_so_often_and_no_more() -> None:
    turns = [[call('drive', distance_m=5.0 + i)] for i in range(9)]
    robot = Robot(*turns, limits=Limits(max_turns=32, max_corrections=2))
    outcome = robot.do()
    assert (outcome.status, len(robot.engine.requests)) == (CommandStatus.NOT_DONE, 3)
    assert outcome.error.endswith('the model has not got its calls right in 3 turns')
    mended = Robot(*turns[:2], [DRIVE], [DONE], limits=Limits(max_corrections=2))
    assert mended.do().status is CommandStatus.SUCCEEDED


def test_a_call_that_was_refused_by_the_guard_is_no_mistake_of_the_model() -> None:
    turns = [[DRIVE], [TURN], [SAY], [DONE]]
    robot = Robot(*turns, limits=Limits(max_corrections=0))
    robot.do(allowed_tools=())
    assert len(robot.engine.requests) == 4


# What only reads


def test_readings_that_follow_each_other_run_at_once_and_are_told_in_order() -> None:
    both = threading.Barrier(3)

    def act(name: str, cancel: CancelToken) -> ToolResult:
        if name == 'get_battery':
            both.wait(LONG_S)
        return ToolResult(Status.SUCCEEDED)

    robot = Robot([DRIVE, BATTERY, BATTERY, BATTERY, TURN], [DONE], act=act)
    outcome = robot.do()
    assert outcome.status is CommandStatus.SUCCEEDED
    assert robot.names() == ['drive', *['get_battery'] * 3, 'turn']
    assert [record.call.id for record in outcome.calls] == [f'call_{i}' for i in range(1, 6)]
    assert [turn.tool_call_id for turn in robot.told()[2:]] == [f'call_{i}' for i in range(1, 6)]
    assert [event.sequence for event in robot.events] == list(range(len(robot.events)))


@pytest.mark.parametrize('rule', ['max_in_flight: 1', 'confirm: true', 'exclusive: sensor'])
def test_readings_that_the_guard_counts_run_one_by_one(tmp_path: Path, rule: str) -> None:
    path = tmp_path / 'tools.yaml'
    path.write_text(
        'robot: r\ntools:\n  look: {description: Look., read: {topic: t, '
        f'type: std_msgs/msg/Empty, value: 1}}, guard: {{{rule}}}}}\n'
    )
    tools, now, most = load(path), 0, 0

    def act(name: str, cancel: CancelToken) -> ToolResult:
        nonlocal now, most
        now += 1
        most = max(most, now)
        cancel.wait(0.02)
        now -= 1
        return ToolResult(Status.SUCCEEDED)

    def yes(questions: tuple[Question, ...]) -> None:
        for question in questions:
            threading.Thread(
                target=confirmations.answer, args=(question.id, True, 'me'), daemon=True
            ).start()

    confirmations = Confirmations(yes)
    guard = Guard(tools, ask=confirmations.ask)
    agent = Agent(
        Turns([call('look')] * 3, [DONE]), tools, Dispatcher(tools, guard, Recorder(act))
    )
    outcome = agent.execute(Command('id', 'look'), CancelToken(LONG_S), lambda _: None)
    assert (outcome.status, most) == (CommandStatus.SUCCEEDED, 1), outcome.error


def test_what_acts_runs_alone() -> None:
    now: list[str] = []

    def act(name: str, cancel: CancelToken) -> ToolResult:
        now.append(name)
        cancel.wait(0.02)
        assert now.pop() == name
        assert not now
        return ToolResult(Status.SUCCEEDED)

    assert Robot([SAY, DRIVE, BATTERY, TURN], [DONE], act=act).do().status == 1


def test_after_a_reading_that_fails_nothing_acts() -> None:
    robot = Robot([BATTERY, BATTERY, DRIVE], [DONE], act=failing('get_battery'))
    outcome = robot.do()
    assert [status for _, status in statuses(outcome)] == [
        Status.FAILED, Status.FAILED, Status.NOT_RUN,
    ]  # fmt: skip


# The context


class Small(Turns):
    """An engine whose context holds so many characters of a conversation."""

    holds = 10**9
    error: type[EngineError] = PromptTooLong

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        if sum(len(turn.content) for turn in request.messages) > self.holds:
            self.requests.append(request)
            if self.error is ContextFull:
                yield TextDelta('I was say')
            raise self.error('the context is full')
        yield from super().stream(request, cancel)


def small(robot: Robot, holds: int, error: type[EngineError] = PromptTooLong) -> Small:
    """Give a robot an engine that holds so many characters after the opening."""
    engine = Small(*robot.engine._turns)
    shared = sum(len(turn.content) for turn in robot.agent.warm_request().messages)
    engine.holds, engine.error = shared + holds, error
    robot.engine = robot.agent._engine = engine
    return engine


@pytest.mark.parametrize('error', [PromptTooLong, ContextFull])
def test_a_context_that_is_full_makes_the_oldest_commands_forgotten(
    error: type[EngineError],
) -> None:
    robot = Robot(*[[TextDelta('Fine.')]] * 4)
    for number in range(3):
        robot.do(f'{number} ' + 'x' * 100, session_id='a')
    engine = small(robot, 250, error)
    outcome = robot.do('and now?', session_id='a')
    assert (outcome.status, outcome.text) == (CommandStatus.ANSWERED, 'Fine.')
    assert [turn.content[0] for turn in robot.told() if turn.role == 'user'] == ['1', '2', 'a']
    warm = robot.agent.warm_request()
    assert engine.requests[-1].messages[: len(warm.messages)] == warm.messages
    told = [event.detail for event in robot.events if event.phase is Phase.PROMPTING]
    assert told[-2:] == [None, {'left_out': 1}]


def test_a_long_mission_goes_on_though_its_results_fill_the_context() -> None:
    def act(name: str, cancel: CancelToken) -> ToolResult:
        return ToolResult(Status.SUCCEEDED, 'seen ' * 60)

    calls = [[call('turn', angle_deg=5 + i)] for i in range(3)]
    robot = Robot([BATTERY], *calls, [TextDelta('I looked round.')], act=act)
    small(robot, 800)
    outcome = robot.do('look round')
    assert (outcome.status, outcome.text) == (CommandStatus.SUCCEEDED, 'I looked round.')
    assert robot.names() == ['get_battery', *['turn'] * 3], 'nothing is done twice'
    told = [turn for turn in robot.told() if turn.role == 'tool']
    assert [json.loads(turn.content)['status'] for turn in told] == ['succeeded'] * 4
    forgotten = sum('value' not in json.loads(turn.content) for turn in told)
    assert forgotten > 0
    assert len(robot.engine.requests) == 5 + forgotten, 'what was left out stays so'


def test_a_command_that_can_never_fit_is_told() -> None:
    robot = Robot()
    small(robot, 3)
    outcome = robot.do('hello')
    assert (outcome.status, outcome.error) == (
        CommandStatus.ENGINE_FAILED, 'the context is full',
    )  # fmt: skip


def test_the_history_has_bounds_of_its_own() -> None:
    robot = Robot(history=History(max_tokens=0))
    robot.do('one', session_id='a')
    robot.do('two', session_id='a')
    assert robot.told() == [Message('user', 'two')]


# Questions to the person


def test_a_question_ends_the_command_and_the_next_one_answers() -> None:
    robot = Robot([SAY, WHERE, DRIVE], [DRIVE], [TextDelta('There I am.')], asking=True)
    first = robot.do('go there', session_id='a')
    assert (first.status, first.text) == (CommandStatus.ASKED, 'Where to?')
    assert first.calls[2].result.rule == 'after_question'
    assert statuses(first) == [
        ('say', Status.SUCCEEDED), ('ask_user', Status.SUCCEEDED), ('drive', Status.NOT_RUN),
    ]  # fmt: skip
    assert robot.names() == ['say']
    asking = [event for event in robot.events if event.phase is Phase.ASKING]
    assert [(event.text_delta, event.detail) for event in asking] == [
        ('Where to?', {'question': 'Where to?'})
    ]
    second = robot.do('to the kitchen', session_id='a')
    assert second.status is CommandStatus.SUCCEEDED
    assert [turn.content for turn in robot.told(1)][-2:] == ['Where to?', 'to the kitchen']


def test_a_question_needs_no_permission_of_the_goal_and_no_robot() -> None:
    robot = Robot([WHERE], asking=True)
    assert robot.do(allowed_tools=()).status is CommandStatus.ASKED
    assert robot.recorder.calls == []


@pytest.mark.parametrize(
    'arguments', [{}, {'question': ''}, {'question': 7}, {'question': 'x' * 301}]
)
def test_a_bad_question_is_for_the_model_to_correct(arguments: dict[str, Any]) -> None:
    robot = Robot([call('ask_user', **arguments)], [WHERE], asking=True)
    outcome = robot.do()
    assert statuses(outcome) == [('ask_user', Status.INVALID), ('ask_user', Status.SUCCEEDED)]
    assert outcome.status is CommandStatus.ASKED


def test_after_a_call_that_failed_nobody_is_asked() -> None:
    robot = Robot([TURN, WHERE], [DONE], act=failing('turn'), asking=True)
    outcome = robot.do()
    assert statuses(outcome) == [('turn', Status.FAILED), ('ask_user', Status.NOT_RUN)]
    assert outcome.calls[1].result.rule == 'after_failure'
    assert outcome.status is CommandStatus.NOT_DONE


def test_there_are_no_questions_by_default() -> None:
    robot = Robot([WHERE], [DONE])
    assert statuses(robot.do()) == [('ask_user', Status.INVALID)]
    assert 'ask_user' not in {tool.name for tool in robot.agent.warm_request().tools}


def test_a_tool_of_that_name_is_refused_where_the_node_asks(tmp_path: Path) -> None:
    path = tmp_path / 'tools.yaml'
    path.write_text(
        'robot: r\ntools:\n  ask_user: {description: Ask., topic: {name: q, '
        'type: std_msgs/msg/Empty}}\n'
    )
    tools = load(path)
    Agent(Turns(), tools, dispatcher(Recorder()))
    with pytest.raises(ToolFileError, match=r'tools.yaml:3: tools.ask_user: the node has a tool'):
        Agent(Turns(), tools, dispatcher(Recorder()), asking=True)


# The account is true


@pytest.mark.parametrize(
    'words', ['Paris.', 'Done.', 'The robot drives half a metre.', 'Fertig, ich bin da.']
)
def test_words_alone_never_succeed(words: str) -> None:
    outcome = Robot([TextDelta(words)]).do('drive half a metre')
    assert (outcome.status, outcome.text) == (CommandStatus.ANSWERED, words)
    assert outcome.error == 'no tool was called: nothing was done on the robot'
    assert Robot([DRIVE], [TextDelta(words)]).do().status is CommandStatus.SUCCEEDED


@pytest.mark.parametrize('status', [s for s in Status if s not in (1, 8)])
def test_no_command_succeeds_whose_call_did_not(status: Status) -> None:
    robot = Robot([DRIVE], [TextDelta('I did it!')], act=lambda *_: ToolResult(status, None, 'no'))
    outcome = robot.do()
    assert outcome.status is CommandStatus.NOT_DONE
    assert (outcome.text, 'no' in outcome.error) == ('I did it!', True)


def test_a_good_call_does_not_make_up_for_a_bad_one() -> None:
    robot = Robot([TURN], [DRIVE, SAY], [DONE], act=failing('turn'))
    outcome = robot.do()
    assert robot.names() == ['turn', 'drive', 'say']
    assert (outcome.status, outcome.error) == (CommandStatus.NOT_DONE, 'turn: turn is stuck')


def test_a_robot_that_raises_is_a_call_that_fails() -> None:
    robot = Robot([DRIVE], [DONE], act=lambda *_: ToolResult(1 / 0))  # type: ignore[arg-type]
    outcome = robot.do()
    assert (statuses(outcome), outcome.status) == (
        [('drive', Status.FAILED)], CommandStatus.NOT_DONE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('turns', 'act'),
    [
        ([[DRIVE, BACK], [DONE]], failing('drive')),
        ([[DRIVE], [BACK], [DONE]], lambda name, _: next(FIRST_FAILS)),
        ([[TOO_FAR, TURN], [DRIVE], [DONE]], failing()),
    ],
    ids=['rest not run', 'failed, then another succeeded', 'one was never run'],
)
def test_what_was_not_made_good_counts(turns: list[Turn], act: Act) -> None:
    assert Robot(*turns, act=act).do().status is CommandStatus.NOT_DONE


FIRST_FAILS = iter([ToolResult(Status.FAILED, None, 'stuck'), ToolResult(Status.SUCCEEDED)])


def test_an_outcome_is_owed_whatever_goes_wrong() -> None:
    robot = Robot([DRIVE], [ValueError('x')])
    outcome = robot.do()
    assert (outcome.status, statuses(outcome)) == (
        CommandStatus.ENGINE_FAILED, [('drive', Status.SUCCEEDED)],
    )  # fmt: skip
    assert 'ValueError: x' in outcome.error
    assert robot.events[-1].phase is Phase.DONE


def test_an_outcome_is_owed_when_nobody_hears_of_it() -> None:
    def deaf(event: Event) -> None:
        raise RuntimeError('gone')

    robot = Robot([DRIVE])
    outcome = robot.agent.execute(Command('id', 'go'), CancelToken(LONG_S), deaf)
    assert outcome.status is CommandStatus.ENGINE_FAILED
    assert robot.names() == []


def test_an_engine_that_fails_is_told_with_what_was_done_before() -> None:
    robot = Robot([DRIVE], [TextDelta('I '), EngineError('out of memory')])
    outcome = robot.do()
    assert (outcome.status, outcome.error) == (CommandStatus.ENGINE_FAILED, 'out of memory')
    assert (outcome.text, statuses(outcome)) == ('I ', [('drive', Status.SUCCEEDED)])


def test_after_an_engine_failure_the_next_command_works() -> None:
    robot = Robot([EngineError('gone')], [DRIVE], [DONE])
    robot.do(session_id='a')
    assert robot.do(session_id='a').status is CommandStatus.SUCCEEDED


# Events


def test_events_tell_the_story_in_order() -> None:
    robot = Robot([ReasoningDelta('Well'), TextDelta('I go.'), DRIVE], [DONE])
    outcome = robot.do(session_id='s')
    assert [event.phase for event in robot.events] == [
        Phase.ACCEPTED,
        Phase.PROMPTING,
        Phase.GENERATING,
        Phase.GENERATING,
        Phase.CALLING,
        Phase.EXECUTING,
        Phase.RESULT,
        Phase.PROMPTING,
        Phase.GENERATING,
        Phase.DONE,
    ]
    assert [event.sequence for event in robot.events] == list(range(10))
    assert {(event.command_id, event.session_id) for event in robot.events} == {('id', 's')}
    assert [e.reasoning_delta for e in robot.events if e.reasoning_delta] == ['Well']
    assert [e.text_delta for e in robot.events if e.text_delta] == ['I go.', 'Done.']
    calling, executing, result = robot.events[4:7]
    assert [e.record.result.status for e in (calling, executing, result) if e.record] == [
        Status.PENDING, Status.PENDING, Status.SUCCEEDED,
    ]  # fmt: skip
    assert executing.detail == {'began': 'drive'}
    assert result.record == outcome.calls[0]
    assert robot.events[-1].detail == {'status': 'SUCCEEDED', 'error': ''}


anything = st.sampled_from(
    [
        *(DRIVE, BACK, TURN, SAY, FLY, TOO_FAR, BATTERY, WHERE, DONE),
        *(EngineError('gone'), PromptTooLong('full')),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(anything, max_size=4), max_size=5),
    st.sets(st.sampled_from(['drive', 'turn', 'say', 'get_battery'])),
    st.booleans(),
    st.booleans(),
)
def test_whatever_the_model_says_the_account_is_whole(
    turns: list[list[Any]], broken: set[str], dry_run: bool, asking: bool
) -> None:
    limits = Limits(max_turns=4, max_calls=5)
    robot = Robot(*turns, act=failing(*broken), limits=limits, asking=asking)
    outcome = robot.do(dry_run=dry_run)
    # A call that reached the robot is in the account, and the other way round.
    ran = [
        record.call.name
        for record in outcome.calls
        if record.result.status in (Status.SUCCEEDED, Status.FAILED)
        and record.call.name != 'ask_user'
    ]
    assert robot.names() == ran
    asked = [
        record.call.name for record in outcome.calls if record.result.status is Status.SUCCEEDED
    ]
    assert ('ask_user' in asked) == (outcome.status is CommandStatus.ASKED)
    assert len(outcome.calls) <= 5
    assert [e.record for e in robot.events if e.phase is Phase.RESULT] == list(outcome.calls)
    assert [event.sequence for event in robot.events] == list(range(len(robot.events)))
    assert [e.phase for e in robot.events].count(Phase.DONE) == 1
    assert robot.events[-1].detail['status'] == outcome.status.name  # type: ignore[index]
    if outcome.calls and outcome.calls[-1].result.status in (Status.FAILED, Status.INVALID):
        assert outcome.status is not CommandStatus.SUCCEEDED


# Sessions


def test_a_session_goes_on() -> None:
    robot = Robot([DRIVE], [DONE], [TextDelta('Yes.')])
    robot.do('go', session_id='a')
    robot.do('did you?', session_id='a')
    turns = [(turn.role, turn.content) for turn in robot.told()]
    assert [role for role, _ in turns] == ['user', 'assistant', 'tool', 'assistant', 'user']
    assert (turns[0], turns[3], turns[4]) == (
        ('user', 'go'), ('assistant', 'Done.'), ('user', 'did you?'),
    )  # fmt: skip


def test_sessions_do_not_hear_each_other() -> None:
    robot = Robot()
    robot.do('one', session_id='a')
    robot.do('two', session_id='b')
    assert robot.told() == [Message('user', 'two')]


def test_a_command_without_a_session_gets_one_of_its_own() -> None:
    robot = Robot()
    first, second = robot.do('one'), robot.do('two')
    assert first.session_id
    assert second.session_id not in ('', first.session_id)
    robot.do('three', session_id=first.session_id)
    assert [turn.content for turn in robot.told()] == ['one', 'Done.', 'three']


def test_a_session_is_bounded() -> None:
    robot = Robot()
    for number in range(50):
        robot.do(f'command {number}', session_id='a')
    said = [turn.content for turn in robot.told() if turn.role == 'user']
    assert 2 <= len(said) <= 10
    assert said == [f'command {number}' for number in range(50 - len(said), 50)]


def test_the_session_unused_for_longest_is_forgotten() -> None:
    robot = Robot()
    robot.do('hello', session_id='kept')
    for number in range(50):
        robot.do('hello', session_id=f's{number}')
        robot.do('again', session_id='kept')
        assert len(robot.told()) > 1
    robot.do('and', session_id='s0')
    assert [turn.content for turn in robot.told()] == ['and']


def test_a_rejected_command_is_not_remembered() -> None:
    robot = Robot()
    robot.do('go', session_id='a', allowed_tools=('fly',))
    robot.do('hello', session_id='a')
    assert robot.told() == [Message('user', 'hello')]


# Stop, cancel, deadline


class Background(Robot):
    """A robot whose calls wait for their end, with commands in threads of their own."""

    def __init__(self, *turns: Turn, **options: Any) -> None:
        self._began = threading.Semaphore(0)
        self._pool = ThreadPoolExecutor()
        super().__init__(*turns, act=self._wait, **options)

    def _wait(self, name: str, cancel: CancelToken) -> ToolResult:
        self._began.release()
        return until_canceled(name, cancel)

    def begin(self, token: CancelToken | None = None) -> Callable[[], Outcome]:
        """Begin a command and wait for its first call; the answer waits for its outcome."""
        future = self._pool.submit(self.do, 'go', token)
        assert self._began.acquire(timeout=LONG_S)
        return lambda: future.result(LONG_S)


@pytest.mark.parametrize('text', ['stop', 'STOP!!!', 'Robot, please stop now', "don't move"])
def test_a_stop_never_asks_the_model(text: str) -> None:
    robot = Robot([DRIVE])
    outcome = robot.do(text)
    assert outcome.status is CommandStatus.SUCCEEDED
    assert (robot.engine.requests, robot.recorder.calls) == ([], [])
    assert [event.phase for event in robot.events] == [Phase.ACCEPTED, Phase.DONE]


@pytest.mark.parametrize('text', ['stop at the door', "don't stop", 'drive and stop'])
def test_a_command_that_speaks_of_stopping_is_for_the_model(text: str) -> None:
    robot = Robot()
    robot.do(text)
    assert robot.told() == [Message('user', text)]


def test_a_stop_ends_what_other_commands_do() -> None:
    robot = Background([DRIVE, SAY], [SAY])
    first = robot.begin()
    stop = robot.do('stop')
    outcome = first()
    assert stop.status is CommandStatus.SUCCEEDED
    assert outcome.status is CommandStatus.STOPPED
    assert statuses(outcome) == [('drive', Status.CANCELED), ('say', Status.NOT_RUN)]
    assert (robot.names(), len(robot.engine.requests)) == (['drive'], 1)


def test_after_a_stop_word_the_next_command_moves_again() -> None:
    robot = Robot([DRIVE], [DONE])
    robot.do('stop')
    assert robot.do('go').status is CommandStatus.SUCCEEDED
    assert robot.names() == ['drive']


def test_a_stop_word_does_not_undo_a_stop_from_elsewhere() -> None:
    robot = Robot([DRIVE], [DONE], [BACK], [DONE])
    robot.agent.stop()
    assert robot.do('stop').status is CommandStatus.SUCCEEDED
    assert robot.do('go').status is CommandStatus.NOT_DONE
    assert robot.names() == []
    robot.agent.resume()
    assert robot.do('go').status is CommandStatus.SUCCEEDED


@pytest.mark.parametrize('options', [{'allowed_tools': ('fly',)}, {'allowed_tools': ()}])
def test_a_stop_is_never_a_bad_command(options: dict[str, Any]) -> None:
    robot = Background([DRIVE])
    first = robot.begin()
    assert robot.do('stop ' * 500, **options).status is CommandStatus.SUCCEEDED
    assert first().status is CommandStatus.STOPPED


def test_a_stop_from_elsewhere_stays() -> None:
    robot = Robot([DRIVE], [DONE])
    assert robot.agent.stop() is True
    outcome = robot.do('go')
    assert (statuses(outcome), robot.names()) == ([('drive', Status.DENIED)], [])
    assert outcome.status is CommandStatus.NOT_DONE


def test_a_stop_that_does_not_see_the_end_says_so() -> None:
    release = threading.Event()

    class Deaf(Background):
        def _wait(self, name: str, cancel: CancelToken) -> ToolResult:
            self._began.release()
            release.wait(LONG_S)
            return ToolResult(Status.CANCELED)

    robot = Deaf([DRIVE])
    first = robot.begin()
    try:
        assert robot.agent.stop(timeout_s=SOON_S) is False
    finally:
        release.set()
    assert first().status is CommandStatus.STOPPED


def test_a_cancel_ends_the_call_and_the_command() -> None:
    robot = Background([DRIVE, TURN], [DONE])
    token = CancelToken(LONG_S)
    first = robot.begin(token)
    token.cancel()
    outcome = first()
    assert outcome.status is CommandStatus.CANCELED
    assert statuses(outcome) == [('drive', Status.CANCELED), ('turn', Status.NOT_RUN)]
    assert len(robot.engine.requests) == 1


def test_a_cancel_while_the_model_speaks_runs_nothing() -> None:
    token = CancelToken(LONG_S)

    class Cancels(Turns):
        def stream(
            self, request: ChatRequest, cancel: CancelToken
        ) -> Generator[Delta, None, None]:
            yield TextDelta('I will')
            yield DRIVE
            token.cancel()
            assert cancel.ended

    robot = Robot()
    agent = Agent(Cancels(), ROBOT, robot.dispatcher)
    outcome = agent.execute(Command('id', 'go'), token, robot.events.append)
    assert (outcome.status, outcome.text) == (CommandStatus.CANCELED, 'I will')
    assert (outcome.calls, robot.recorder.calls) == ((), [])
    assert robot.events[-1].phase is Phase.DONE


@pytest.mark.parametrize(
    ('cause', 'status'),
    [
        (Cause.CANCELED, CommandStatus.CANCELED),
        (Cause.STOPPED, CommandStatus.STOPPED),
        (Cause.DEADLINE, CommandStatus.TIMED_OUT),
    ],
)
def test_a_command_that_ended_before_it_began(cause: Cause, status: CommandStatus) -> None:
    token = CancelToken()
    token.cancel(cause)
    robot = Robot([DRIVE], [DONE])
    assert robot.do(token=token).status is status
    assert robot.recorder.calls == []


def test_a_deadline_ends_a_call() -> None:
    robot = Robot([DRIVE, TURN], [DONE], act=until_canceled)
    outcome = robot.do(token=CancelToken(SOON_S))
    assert outcome.status is CommandStatus.TIMED_OUT
    assert [status for _, status in statuses(outcome)] == [Status.CANCELED, Status.NOT_RUN]
    assert SOON_S <= outcome.usage.total_s < LONG_S


def test_a_deadline_ends_the_model(tmp_path: Path) -> None:
    script = tmp_path / 'script.yaml'
    script.write_text('- {text: I will think about that for a while., delay_s: 9}')
    engine, robot = ScriptedEngine(script), Robot()
    agent = Agent(engine, ROBOT, robot.dispatcher)
    engine.open(agent.warm_request(), lambda *_: None)
    outcome = agent.execute(Command('id', 'go'), CancelToken(SOON_S), robot.events.append)
    assert outcome.status is CommandStatus.TIMED_OUT
    assert outcome.usage.total_s < LONG_S / 2


def test_a_cancel_counts_though_the_engine_fails_of_it() -> None:
    token = CancelToken(LONG_S)
    token.cancel()
    robot = Robot([EngineError('the connection was closed')])
    assert robot.do(token=token).status is CommandStatus.CANCELED


# Several commands


def test_a_command_waits_its_turn_and_is_told_so() -> None:
    robot = Background([DRIVE], [TextDelta('Hello.')], line=Line(1, 1))
    token = CancelToken(LONG_S)
    first = robot.begin(token)
    events: list[Event] = []
    waiting = threading.Event()

    def emit(event: Event) -> None:
        events.append(event)
        if event.phase is Phase.QUEUED:
            waiting.set()

    second = robot._pool.submit(
        robot.agent.execute, Command('second', 'hello'), CancelToken(LONG_S), emit
    )
    assert waiting.wait(LONG_S)
    third = robot.do('me too')
    assert (third.status, 'and 1 waiting' in third.error) == (CommandStatus.REJECTED, True)
    assert [event.phase for event in events] == [Phase.ACCEPTED, Phase.QUEUED]
    assert events[-1].detail == {'ahead': 1}
    token.cancel()
    assert first().status is CommandStatus.CANCELED
    assert second.result(LONG_S).text == 'Hello.'


@pytest.mark.parametrize(
    ('cause', 'status'),
    [
        (Cause.CANCELED, CommandStatus.CANCELED),
        (Cause.STOPPED, CommandStatus.STOPPED),
        (Cause.DEADLINE, CommandStatus.TIMED_OUT),
    ],
)
def test_a_command_that_ends_while_it_waits_asks_nobody(
    cause: Cause, status: CommandStatus
) -> None:
    robot = Background([DRIVE], line=Line(1, 1))
    running, waiting = CancelToken(LONG_S), CancelToken(SOON_S)
    first = robot.begin(running)
    if cause is not Cause.DEADLINE:
        threading.Timer(0.05, waiting.cancel, (cause,)).start()
    outcome = robot.do('hello', waiting)
    assert (outcome.status, outcome.calls) == (status, ())
    assert len(robot.engine.requests) == 1
    running.cancel()
    first()


def test_a_stop_ends_those_that_wait_as_well() -> None:
    robot = Background([DRIVE], line=Line(1, 5))
    first = robot.begin()
    waiting = [robot._pool.submit(robot.do, 'hello') for _ in range(5)]
    while sum(event.phase is Phase.QUEUED for event in robot.events) < 5:
        CancelToken().wait(0.001)
    assert robot.do('stop').status is CommandStatus.SUCCEEDED
    assert first().status is CommandStatus.STOPPED
    assert {w.result(LONG_S).status for w in waiting} == {CommandStatus.STOPPED}
    assert len(robot.engine.requests) == 1


def test_an_operators_command_ends_another_and_both_are_told_truthfully() -> None:
    robot = Background([DRIVE, TURN], [TextDelta('Here.')])
    first = robot.begin()
    operator = robot.do('to the dock', priority=Priority.OPERATOR)
    outcome = first()
    assert (outcome.status, outcome.error) == (
        CommandStatus.PREEMPTED, "ended for the operator's command 'to the dock'",
    )  # fmt: skip
    assert statuses(outcome) == [('drive', Status.CANCELED), ('turn', Status.NOT_RUN)]
    assert (operator.status, operator.text) == (CommandStatus.ANSWERED, 'Here.')


def test_commands_that_move_the_same_thing_take_turns() -> None:
    now = most = 0
    lock = threading.Lock()

    def act(name: str, cancel: CancelToken) -> ToolResult:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        cancel.wait(0.02)
        with lock:
            now -= 1
        return ToolResult(Status.SUCCEEDED)

    class Drives(Turns):
        def stream(
            self, request: ChatRequest, cancel: CancelToken
        ) -> Generator[Delta, None, None]:
            yield DONE if request.messages[-1].role == 'tool' else DRIVE

    robot = Robot(act=act, line=Line(8, 0))
    robot.agent._engine = Drives()
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: robot.do(), range(8)))
    assert {outcome.status for outcome in outcomes} == {CommandStatus.SUCCEEDED}
    assert (most, len(robot.recorder.calls)) == (1, 8)
    waited = [e for e in robot.events if e.detail == {'waiting_for': 'motion'}]
    assert waited
    assert {event.phase for event in waited} == {Phase.CALLING}
