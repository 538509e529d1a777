"""What the model is asked while items are run, and what the engine is spared."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import pytest

from nemotron_ros.agent import Limits, Sampling
from nemotron_ros.cancel import CancelToken
from nemotron_ros.engine.protocol import (
    ChatRequest,
    ContextFull,
    Delta,
    EngineError,
    ModelInfo,
    OutputError,
    Progress,
    TextDelta,
)
from nemotron_ros.evaluation.run import Conduct, Result, items_of, run_items
from nemotron_ros.evaluation.scenario import Scenario
from nemotron_ros.events import CommandStatus
from nemotron_ros.tools.model import ToolFile

Read = Callable[[str], tuple[Scenario, ...]]
SCENARIOS = """
robot: headless_robot
scenarios:
  talk:
    say: [[hello, who are you], goodbye]
    expect: {calls: []}
"""


class Talker:
    """An engine that says one thing, or stumbles; it keeps what it was asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.requests: list[ChatRequest] = []
        self.told: list[str] = []

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        self.told.append('open')
        self.requests.append(warm)
        return ModelInfo('talker', 'talker', 0)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        yield TextDelta('I am here.')
        while not cancel.ended and 'goodbye' in request.messages[-1].content:
            cancel.wait(1.0)

    def close(self) -> None:
        self.told.append('close')


def run(
    scenarios: tuple[Scenario, ...], tool_file: ToolFile, engine: Talker, conduct: Conduct
) -> list[Result]:
    results: list[Result] = []
    robots = {scenario.robot: tool_file for scenario in scenarios}
    run_items(
        items_of(scenarios), robots, lambda: engine, conduct, lambda _, __: None, results.append
    )
    return results


def said(request: ChatRequest) -> list[str]:
    """Return what the person says in a request, apart from examples."""
    turns = [message.content for message in request.messages if message.role == 'user']
    return [turn for turn in turns if turn in ('hello', 'who are you', 'goodbye')]


def test_the_last_turn_is_judged_and_the_earlier_ones_are_said(
    scenarios: Read, headless: ToolFile
) -> None:
    engine = Talker()
    conduct = Conduct(Limits(), Sampling(0.7, 5, constrained=False), runs=2, timeout_s=0.2)
    first, again, cut, _ = run(scenarios(SCENARIOS), headless, engine, conduct)
    assert [said(request) for request in engine.requests] == [
        [], ['hello'], ['hello', 'who are you'], ['hello'], ['hello', 'who are you'],
        ['goodbye'], ['goodbye'],
    ]  # fmt: skip
    assert [request.seed for request in engine.requests] == [5, 5, 5, 6, 6, 5, 6]
    assert {request.temperature for request in engine.requests} == {0.7}
    assert {request.constrained for request in engine.requests} == {False}
    assert (first.item.key, first.run, first.turns) == ('talk/1', 0, 1)
    assert (again.run, again.score.right) == (1, True)
    assert cut.outcome.status is CommandStatus.TIMED_OUT
    assert not cut.score.right


def test_the_engine_is_opened_once_for_a_robot_and_closed(
    scenarios: Read, headless: ToolFile
) -> None:
    engine = Talker()
    found = scenarios(SCENARIOS.replace(', goodbye', ''))
    run((*found, *(replace(each, robot='other') for each in found)), headless, engine, Conduct())
    assert engine.told == ['open', 'close', 'open', 'close']


@pytest.mark.parametrize(
    ('error', 'unreadable'),
    [(OutputError('neither'), 1), (ContextFull('full'), 0), (EngineError('gone'), 0)],
)
def test_an_engine_that_fails_fails_its_items_alone(
    scenarios: Read, headless: ToolFile, error: Exception, unreadable: int
) -> None:
    results = run(scenarios(SCENARIOS), headless, Talker(error), Conduct())
    assert [result.outcome.status for result in results] == [CommandStatus.ENGINE_FAILED] * 2
    assert [result.unreadable for result in results] == [unreadable] * 2
    assert not any(result.score.right for result in results)


def test_the_engine_is_closed_whatever_happens(scenarios: Read, headless: ToolFile) -> None:
    engine = Talker()

    def interrupt(_: Result) -> None:
        raise KeyboardInterrupt

    items = items_of(scenarios(SCENARIOS))
    with pytest.raises(KeyboardInterrupt):
        run_items(items, {'headless_robot': headless}, lambda: engine, Conduct(), print, interrupt)
    assert engine.told == ['open', 'close']
