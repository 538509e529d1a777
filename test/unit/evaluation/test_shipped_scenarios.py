"""The scenarios that are shipped: enough of every kind, true to their tags, new to the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import pytest

from nemotron_ros.agent.asking import ASK_USER
from nemotron_ros.evaluation.scenario import Scenario, load
from nemotron_ros.evaluation.split import PARTS, part_of
from nemotron_ros.tools import tool_file
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.stop import is_stop

CONFIG = Path(__file__).resolve().parents[3] / 'config'
LIKE_AN_EXAMPLE = 0.7
"""From so many words in common on, by :class:`SequenceMatcher`, one could be made of the other."""
TAGS = (
    'direct', 'paraphrased', 'indirect', 'multi_step', 'numbers_in_words', 'mixed_units',
    'left_right', 'sign', 'negation', 'correction', 'ambiguous', 'out_of_bounds', 'unsafe',
    'no_tool', 'chat', 'prompt_injection', 'other_language', 'failure',
)  # fmt: skip


@cache
def tools_of(robot: str) -> ToolFile:
    return tool_file.load(CONFIG / 'tools' / f'{robot}.yaml')


@pytest.fixture(scope='module')
def shipped() -> tuple[Scenario, ...]:
    return load(sorted((CONFIG / 'scenarios').glob('*.yaml')), tools_of)


def with_tag(scenarios: tuple[Scenario, ...], tag: str) -> list[Scenario]:
    found = [scenario for scenario in scenarios if tag in scenario.tags]
    assert found
    return found


def words(text: str) -> list[str]:
    return re.findall(r'\w+', text.casefold())


def examples_of(robot: str) -> list[str]:
    file = tools_of(robot)
    of_tools = (example for tool in file.tools.values() for example in tool.spec.examples)
    return [each.utterance for each in (*file.examples, *of_tools, *ASK_USER.examples)]


def test_there_are_enough_of_every_kind(shipped: tuple[Scenario, ...]) -> None:
    assert len(shipped) >= 220
    assert all(1 <= len(scenario.say) <= 4 for scenario in shipped)
    robots = Counter(scenario.robot for scenario in shipped)
    assert len(robots) >= 4
    assert robots['headless_robot'] > len(shipped) / 2
    tags = Counter(tag for scenario in shipped for tag in scenario.tags)
    assert set(tags) == set(TAGS)
    assert min(tags.values()) >= 8


def test_both_parts_have_every_kind(shipped: tuple[Scenario, ...]) -> None:
    kinds = Counter((part_of(each.id), tag) for each in shipped for tag in each.tags)
    assert [(part, tag) for part in PARTS for tag in TAGS if kinds[part, tag] < 2] == []


def test_every_tool_of_every_robot_is_asked_for(shipped: tuple[Scenario, ...]) -> None:
    asked = {(s.robot, call.tool) for s in shipped for calls in s.expected.calls for call in calls}
    for robot in {scenario.robot for scenario in shipped}:
        assert [tool for tool in tools_of(robot).tools if (robot, tool) not in asked] == []


def test_nothing_is_said_as_the_model_has_been_shown_it(shipped: tuple[Scenario, ...]) -> None:
    alike = [
        (scenario.id, say[-1], example)
        for scenario in shipped
        for say in scenario.say
        for example in examples_of(scenario.robot)
        if SequenceMatcher(None, words(say[-1]), words(example)).ratio() >= LIKE_AN_EXAMPLE
    ]
    assert alike == []


def test_nothing_is_said_twice_to_a_robot(shipped: tuple[Scenario, ...]) -> None:
    said = Counter(
        (each.robot, *map(tuple, map(words, say))) for each in shipped for say in each.say
    )
    assert [what for what, times in said.items() if times > 1] == []


def test_nothing_that_is_said_is_a_stop(shipped: tuple[Scenario, ...]) -> None:
    stops = [
        turn
        for scenario in shipped
        for say in scenario.say
        for turn in say
        if is_stop(turn, tools_of(scenario.robot).stop_words)
    ]
    assert stops == []


def nothing_acts(scenario: Scenario) -> bool:
    return scenario.expected.calls == ((),)


def asks(scenario: Scenario) -> bool:
    return nothing_acts(scenario) and scenario.expected.answer.asks


def refuses(scenario: Scenario) -> bool:
    # Nought metres are out of bounds too, but to say that they are done is no lie.
    return nothing_acts(scenario) and (
        scenario.expected.answer.refuses or scenario.id == 'zero_metres'
    )


def takes_several_calls(scenario: Scenario) -> bool:
    return max(map(len, scenario.expected.calls)) > 1 or bool(scenario.world)


def is_given_orders_by_a_tool(scenario: Scenario) -> bool:
    return (
        bool(scenario.expected.never)
        and re.search(r'[A-Za-z]{4}', str(scenario.world)) is not None
    )


@pytest.mark.parametrize(
    ('tag', 'is_so'),
    [
        ('ambiguous', asks),
        ('out_of_bounds', refuses),
        ('unsafe', refuses),
        ('no_tool', refuses),
        ('chat', nothing_acts),
        ('multi_step', takes_several_calls),
        ('prompt_injection', is_given_orders_by_a_tool),
        ('failure', lambda scenario: 'Fails' in str(scenario.world)),
        ('correction', lambda scenario: scenario.expected.calls != ((),)),
    ],
)
def test_a_tag_says_what_is_expected(
    shipped: tuple[Scenario, ...], tag: str, is_so: Callable[[Scenario], bool]
) -> None:
    assert [each.id for each in with_tag(shipped, tag) if not is_so(each)] == []
