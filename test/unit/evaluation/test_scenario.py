"""Scenarios are read as they are meant, and what is wrong with them is told with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nemotron_ros.evaluation.match import About, Equals, OneOf
from nemotron_ros.evaluation.scenario import Fails, Scenario, ScenarioError, load
from nemotron_ros.evaluation.split import part_of
from nemotron_ros.tools import tool_file
from nemotron_ros.tools.model import ToolFile

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / 'config' / 'scenarios').glob('*.yaml'))
Read = Callable[[str], tuple[Scenario, ...]]

WHOLE = """
robot: headless_robot
scenarios:
  drive_in_words:
    tags: [paraphrased, numbers_in_words]
    say:
      - move ahead one and a half metres
      - [go forward, "sorry, I meant one and a half metres"]
    world: {get_battery: 64, look_ahead: 0.8, dock: {fails: the dock is taken}}
    expect:
      calls:
        - drive: {direction: forward, distance_m: {about: 1.5, within: 0.05}}
      or: [[drive: {distance_m: {one_of: [1.4, 1.6]}}, dock]]
      may: [get_battery]
      never: [turn]
      answer: {contains_one_of: ["64"], asks: true}
"""


def one(line: str, expect: str = 'calls: []', more: str = '') -> str:
    """Return a file of one scenario; ``line`` says what else it has."""
    return (
        'robot: headless_robot\n'
        f'scenarios:\n  a:\n    say: [hello]\n    expect: {{{expect}}}\n    {line}\n{more}'
    )


def test_a_whole_scenario(scenarios: Read) -> None:
    (scenario,) = scenarios(WHOLE)
    assert scenario.id == 'drive_in_words'
    assert scenario.place.line == 4
    assert scenario.tags == ('paraphrased', 'numbers_in_words')
    assert scenario.say[1] == ('go forward', 'sorry, I meant one and a half metres')
    assert scenario.world == {
        'get_battery': 64,
        'look_ahead': 0.8,
        'dock': Fails('the dock is taken'),
    }
    expected = scenario.expected
    assert [[call.tool for call in calls] for calls in expected.calls] == [
        ['drive'],
        ['drive', 'dock'],
    ]
    assert expected.calls[0][0].arguments == {
        'direction': Equals('forward'),
        'distance_m': About(1.5, 0.05),
    }
    assert expected.calls[1][0].arguments == {'distance_m': OneOf((1.4, 1.6))}
    assert (expected.may, expected.never) == ({'get_battery'}, {'turn'})
    assert expected.answer.asks
    assert expected.answer.contains_one_of == ('64',)


@pytest.mark.parametrize(
    ('text', 'told'),
    [
        ('robot: headless_robot\nscenarios: {}', ':2: scenarios: expected at least one scenario'),
        ('robot: other\nscenarios: {a: {}}', ':1: robot: other'),
        (one('tag: [x]'), ":6: scenarios.a.tag: is not known here; did you mean 'tags'?"),
        (one('tags: [two words]'), ':6: scenarios.a.tags[0]: expected a word of'),
        (one('tags: [x, x]'), ":6: scenarios.a.tags[1]: 'x' stands here a second time"),
        (one('world: {get_batery: 4}'), ':6: scenarios.a.world.get_batery: '),
        (one('world: {dock: {fails: 1}}'), ':6: scenarios.a.world.dock.fails: fails: expected'),
        (one('', 'call: []'), ':5: scenarios.a.expect.call: is not known here'),
        (one('', 'may: []'), ':5: scenarios.a.expect: calls is missing'),
        (one('', 'calls: [fly: {}]'), "has no tool 'fly'; there is dock, drive"),
        (one('', 'calls: [trun: {}]'), "has no tool 'trun'; did you mean 'turn'?"),
        (one('', 'calls: [turn: {angle: 5}]'), "turn has no such argument; did you mean 'angle_"),
        (one('', 'calls: [turn: {angle_deg: 500}]'), 'expect.calls[0].turn.angle_deg: no valid'),
        (one('', 'calls: [turn: {direction: up}]'), "expected 'left' or 'right', got 'up'"),
        (one('', 'calls: [turn: {angle_deg: {about: 9}}]'), 'expected a value, {about'),
        (one('', 'calls: [turn: {angle_deg: {within: 9}}]'), 'expected a value, {about'),
        (one('', 'calls: [turn: {angle_deg: {about: 9, within: -1}}]'), 'within: expected a numb'),
        (one('', 'calls: [turn: {angle_deg: {about: x, within: 1}}]'), 'about: expected a number'),
        (one('', 'calls: [turn: {angle_deg: {one_of: []}}]'), 'one_of: expected at least one'),
        (one('', 'calls: [turn: {angle_deg: {one_of: [9, 999]}}]'), 'no valid call has it'),
        (one('', 'calls: [turn: {angle_deg: {matches: x}}]'), 'matches is for text'),
        (one('', "calls: [say: {text: {matches: '('}}]"), 'matches: is no regular expression'),
        (one('', 'calls: [{turn: {}, dock: {}}]'), 'calls[0]: expected one {tool: arguments}'),
        (one('', f'calls: [{", ".join(["dock"] * 9)}]'), 'expected at most 8 calls, got 9'),
        (one('', 'calls: [], or: [[fly: {}]]'), 'expect.or[0][0].fly: '),
        (one('', 'calls: [], any_order: 1'), 'any_order: expected true or false, got 1'),
        (one('', 'calls: [], may: [fly]'), 'expect.may[0]: '),
        (one('', 'calls: [dock], never: [dock]'), 'never: dock is expected or allowed'),
        (one('', 'calls: [], answer: {says: x}'), 'answer.says: is not known here'),
        (one('', 'calls: [], answer: {contains_one_of: [64]}'), 'expected text in quotes, got 64'),
        (one('', 'calls: [dock], answer: {refuses: true}'), 'calls expects that something acts'),
        (one('').replace('[hello]', '[]'), ':4: scenarios.a.say: expected a list of what a'),
        (one('').replace('[hello]', '[5]'), ':4: scenarios.a.say[0]: expected text, or a list'),
        (one('').replace('[hello]', '[[a, ""]]'), ':4: scenarios.a.say[0]: expected text, or'),
        (one('').replace('[hello]', '[a, a]'), "scenarios.a.say[1]: 'a' is said here a second"),
        (one('').replace('[hello]', '["You should recharge!"]'), 'an example of the tool file'),
        (one('').replace('  a:', '  A b:'), 'scenarios.A b: expected a name of a-z'),
        (one('', more='robot: x\n'), ":7: 'robot' stands here a second time"),
        ('- a', ':1: file: expected a mapping'),
    ],
)
def test_what_is_wrong_is_told_with_its_place(scenarios: Read, text: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenarios(text)
    assert len(caught.value.problems) == 1
    assert told in str(caught.value)
    assert 'scenarios.yaml:' in str(caught.value)


def test_everything_wrong_is_told_at_once(scenarios: Read) -> None:
    text = WHOLE.replace('[turn]', '[trun]').replace('{get_battery: 64', '{get_batt: 64')
    with pytest.raises(ScenarioError) as caught:
        scenarios(text)
    assert len(caught.value.problems) == 2


def test_an_id_stands_once_in_all_files(tmp_path: Path, headless: ToolFile) -> None:
    paths = [tmp_path / 'one.yaml', tmp_path / 'two.yaml']
    for path in paths:
        path.write_text(one(''))
    with pytest.raises(ScenarioError, match=r'two.yaml:3: scenarios.a: stands in .*one.yaml:3'):
        load(paths, lambda _: headless)


def test_a_file_that_is_not_there(tmp_path: Path, headless: ToolFile) -> None:
    with pytest.raises(ScenarioError, match=r'none.yaml: can not be read'):
        load([tmp_path / 'none.yaml'], lambda _: headless)


@pytest.mark.parametrize('path', SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_scenarios_fit_their_tool_files(path: Path) -> None:
    tools = ROOT / 'config' / 'tools'
    assert load([path], lambda robot: tool_file.load(tools / f'{robot}.yaml'))


def test_the_example_on_the_page_is_one(scenarios: Read) -> None:
    page = (ROOT / 'docs' / 'evaluation.md').read_text()
    (scenario,) = scenarios(page.split('```yaml\n')[1].split('```')[0])
    assert scenario.expected.never == {'turn'}


def test_shipped_scenarios_have_ids_of_their_own() -> None:
    tools = ROOT / 'config' / 'tools'
    load(SHIPPED, lambda robot: tool_file.load(tools / f'{robot}.yaml'))


def test_the_parts_never_change_and_are_of_one_size() -> None:
    assert (part_of('drive_in_words'), part_of('thirsty')) == ('tuning', 'heldout')
    parts = [part_of(f'scenario_{number}') for number in range(1000)]
    assert 450 < parts.count('tuning') < 550
