"""A robot's file made of parts: joined, each piece told with its own file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nemotron_ros.tools import parts
from nemotron_ros.tools.tool_file import ToolFile, ToolFileError, load

ROBOT = """\
robot: bench
include: [base.yaml, arm/arm.yaml]
tables: {colours: [red, blue]}
tools:
  say:
    description: Say something.
    parameters: {colour: {enum: "{{ colours }}"}}
    topic: {name: speech, type: std_msgs/msg/String, message: {data: "{{ colour }}"}}
examples:
  - ["say red, then wave", [{say: {colour: red}}, {wave: {}}]]
"""
BASE = """\
tables:
  places: {hall: {x: 1}}
tools:
  go_to:
    description: Go to a place.
    parameters: {place: {enum: "{{ places }}"}}
    topic: {name: goal, type: std_msgs/msg/String, message: {data: "{{ place }}"}}
examples:
  - ["hello", "Hi."]
"""
ARM = """\
robot: an arm alone
include: [../base.yaml]
tools:
  wave:
    description: Wave.
    service: {name: wave, type: std_srvs/srv/Trigger}
examples:
  - ["what is your name?", "Arm."]
"""


def written(folder: Path, **changes: str) -> Path:
    """Write the robot's three files, some with another text; return the path of the first."""
    texts = {'robot': ROBOT, 'base': BASE, 'arm': ARM, **changes}
    (folder / 'arm').mkdir(exist_ok=True)
    for name, text in texts.items():
        place = folder / 'arm' if name == 'arm' else folder
        (place / f'{name}.yaml').write_text(text)
    return folder / 'robot.yaml'


def problems(path: Path) -> list[str]:
    """What is wrong with a file, without the folder's name."""
    with pytest.raises(ToolFileError) as caught:
        load(path)
    return [problem.replace(f'{path.parent}/', '') for problem in caught.value.problems]


def test_parts_come_before_the_file_that_includes_them(tmp_path: Path) -> None:
    robot: ToolFile = load(written(tmp_path))
    assert robot.robot == 'bench'
    assert list(robot.tools) == ['go_to', 'wave', 'say']
    assert list(robot.tables) == ['places', 'colours']
    said = [example.utterance for example in robot.examples]
    assert said == ['hello', 'what is your name?', 'say red, then wave']


def test_each_piece_is_known_by_its_own_file_and_line(tmp_path: Path) -> None:
    robot = load(written(tmp_path))
    assert str(robot.place('tools.go_to.topic.type')) == f'{tmp_path}/base.yaml:7'
    assert str(robot.place('tools.wave.service.no.such')) == f'{tmp_path}/arm/arm.yaml:6'
    assert str(robot.place('examples[2][1][1].wave')) == f'{tmp_path}/robot.yaml:10'
    assert robot.place('nothing of it').path == f'{tmp_path}/robot.yaml'


def test_a_part_may_stand_alone_or_in_two_others(tmp_path: Path) -> None:
    written(tmp_path)
    arm = load(tmp_path / 'arm/arm.yaml')
    assert (arm.robot, list(arm.tools)) == ('an arm alone', ['go_to', 'wave'])


def test_a_problem_in_a_part_is_told_with_the_line_of_that_part(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        base=BASE.replace('{{ place }}', '{{ plaice }}'),
        arm=ARM + '  - ["go", [{go_two: {}}]]\n',
    )
    unknown, example = problems(path)
    assert unknown.startswith('base.yaml:7: tools.go_to.topic.message.data: nothing is named ')
    assert example.startswith("arm/arm.yaml:9: examples[2][1][0]: there is no tool named 'go_two'")


def test_what_stands_in_two_files_is_told_with_both_lines(tmp_path: Path) -> None:
    arm = ARM.replace('  wave:\n', '  go_to:\n') + 'tables: {places: {x: {}}}\n'
    path = written(tmp_path, arm=arm, robot=ROBOT.replace(', {wave: {}}', ''))
    assert problems(path) == [
        'arm/arm.yaml:4: tools.go_to: stands in base.yaml:4 already; keep one of them, or give '
        'this one another name',
        'arm/arm.yaml:9: tables.places: stands in base.yaml:2 already; keep one of them, or give '
        'this one another name',
    ]


def test_a_heading_with_nothing_below_it_is_no_second_one(tmp_path: Path) -> None:
    base = BASE.replace('examples:\n  - ["hello", "Hi."]', 'examples:')
    robot = ROBOT.replace('tables: {colours: [red, blue]}', 'tables:').replace(
        '"{{ colours }}"', '[red]'
    )
    loaded = load(written(tmp_path, base=base, robot=robot))
    assert (list(loaded.tables), len(loaded.examples)) == (['places'], 2)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'base': ROBOT}, ['base.yaml:2: include[0]: includes itself: base.yaml → base.yaml']),
        (
            {'base': BASE + 'include: [arm/arm.yaml]\n'},
            ['arm.yaml:2: include[0]: includes itself: base.yaml → arm.yaml → base.yaml'],
        ),
        ({'base': BASE + 'tools: {}\n'}, ["base.yaml:10: 'tools' stands here a second time"]),
        ({'base': '- a\n', 'arm': '7\n'}, ['base.yaml:1: expected a mapping', 'arm.yaml:1: expe']),
        (
            {'robot': ROBOT.replace('base.yaml', 'bass.yaml')},
            ['robot.yaml:2: include[0]: ', 'bass.yaml can not be read: '],
        ),
        (
            {'robot': ROBOT.replace('[base.yaml, arm/arm.yaml]', 'base.yaml')},
            ["robot.yaml:2: include: expected a list of files, got 'base.yaml'"],
        ),
        (
            {'robot': ROBOT.replace('base.yaml', '3')},
            ['robot.yaml:2: include[0]: expected the path of a file, got 3'],
        ),
        (
            {'robot': ROBOT.replace('include', 'incude')},
            ["robot.yaml:2: incude: is not known here; did you mean 'include'?"],
        ),
    ],
)
def test_a_part_that_can_not_be_had_is_told(
    tmp_path: Path, changes: dict[str, str], expected: list[str]
) -> None:
    found = '\n'.join(problems(written(tmp_path, **changes)))
    assert [piece for piece in expected if piece not in found] == [], found


@given(*(3 * [st.text('abt:[]{}- \n,*&!"\'0', max_size=60)]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_parts_make_it_fall_over(tmp_path: Path, robot: str, base: str, arm: str) -> None:
    path = written(tmp_path, robot=f'{ROBOT}{robot}', base=f'{BASE}{base}', arm=f'{arm}\n{ARM}')
    told: tuple[str, ...] = ()
    try:
        load(path)
    except ToolFileError as error:
        told = error.problems
    assert all(problem.startswith(str(tmp_path)) for problem in told)


def test_the_number_of_parts_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, 'MAX_FILES', 2)
    assert 'include[1]: more than 2 files' in problems(written(tmp_path))[0]
