"""The tool file: what it gives, and a line for each thing that is wrong in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from recorder import ROBOT

from nemotron_ros.chat.messages import Example, ToolCall
from nemotron_ros.tools.model import (
    CallService,
    OutOfRange,
    Publish,
    Read,
    Rules,
    Send,
    SendGoal,
)
from nemotron_ros.tools.stop import DEFAULT_STOP_WORDS
from nemotron_ros.tools.templates import Template, evaluate
from nemotron_ros.tools.tool_file import ToolFileError, load
from nemotron_ros.tools.yaml_lines import MAX_BYTES, YamlError, parse

CONFIG = Path(__file__).resolve().parents[3] / 'config/tools'

# Line 5 is `parameters`, line 7 `topic`.
GOOD = """\
robot: bench
tables: {places: {hall: {x: 1.5}}, speeds: [1, 2]}
tools:
  move:
    parameters:
      mps: {type: number, minimum: 0, maximum: 1}
    topic:
      name: cmd_vel
      type: geometry_msgs/msg/Twist
      message:
        linear:
          x: "{{ mps }}"
      rate_hz: 10
      for_s: 2
      then: {}
    description: Move.
    guard: {exclusive: motion}
    examples:
      - ["go", {mps: 0.5}]
examples:
  - ["hello", "Hi."]
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a file of this text: each problem without the file's name."""
    path = tmp_path / 'tools.yaml'
    path.write_text(text, encoding='utf-8')
    try:
        load(path)
    except ToolFileError as error:
        return [problem.removeprefix(f'{path}:') for problem in error.problems]
    return []


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def with_tool(entry: str) -> str:
    """The good file with a tool more, on line 4."""
    return changed('tools:\n', f'tools:\n  act: {{description: A., {entry}}}\n')


def test_a_good_file_has_no_problems(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == []


@pytest.mark.parametrize('path', sorted(CONFIG.glob('*.yaml')), ids=lambda path: path.stem)
def test_each_file_that_is_shipped_is_good(path: Path) -> None:
    assert load(path).tools


def test_a_tool_reaches_a_topic() -> None:
    drive = ROBOT.tools['drive']
    assert drive.rules == Rules(None, 'motion')
    assert ROBOT.place('tools.drive').line == 6
    assert isinstance(drive.binding, Publish)
    assert drive.binding.send == Send('cmd_vel', 'geometry_msgs/msg/Twist', {'linear': {'x': 0.2}})
    assert drive.binding.then == Send('cmd_vel', 'geometry_msgs/msg/Twist', {})
    assert drive.binding.rate_hz == 20.0
    assert evaluate(drive.binding.for_s, {'distance_m': 1.0}) == 5.0


def test_a_tool_reaches_a_service_an_action_or_reads() -> None:
    pick, go_to, battery = (ROBOT.tools[name].binding for name in ('pick', 'go_to', 'get_battery'))
    assert isinstance(pick, CallService)
    assert (pick.name, pick.type, pick.timeout_s) == ('pick', 'bench_msgs/srv/Pick', 10.0)
    assert isinstance(go_to, SendGoal)
    assert (go_to.name, go_to.timeout_s) == ('go_to', 60.0)
    assert evaluate(go_to.goal, {**ROBOT.tables, 'place': 'hall'}) == {'x': 2.0}
    assert isinstance(battery, Read)
    assert (battery.topic, battery.max_age_s) == ('battery_state', 5.0)


def test_the_model_sees_a_closed_schema() -> None:
    assert ROBOT.tools['drive'].spec.parameters == {
        'type': 'object',
        'properties': {
            'distance_m': {'type': 'number', 'exclusiveMinimum': 0, 'maximum': 2},
            'direction': {
                'type': 'string',
                'enum': ['forward', 'backward'],
                'default': 'forward',
            },
        },
        'required': ['distance_m'],
        'additionalProperties': False,
    }
    assert ROBOT.tools['get_battery'].spec.parameters == {
        'type': 'object', 'properties': {}, 'required': [], 'additionalProperties': False,
    }  # fmt: skip


def test_an_enum_may_name_the_entries_of_a_table() -> None:
    (place,) = ROBOT.tools['go_to'].spec.parameters['properties'].values()
    assert place == {'enum': ['kitchen', 'hall'], 'type': 'string'}


@pytest.mark.parametrize(
    ('enum', 'kind'),
    [
        ('[a, b]', 'string'), ('[1, 2]', 'integer'), ('[1.5, 2.5]', 'number'),
        ('[true]', 'boolean'), ('[null]', 'null'), ('[[1], [2]]', 'array'), ('[{a: 1}]', 'object'),
        ('[a, 1]', None), ('[true, 1]', None), ('"{{ speeds }}"', 'integer'),
    ],
)  # fmt: skip
def test_an_enum_has_the_type_of_its_values(tmp_path: Path, enum: str, kind: str | None) -> None:
    path = tmp_path / 'tools.yaml'
    path.write_text(
        with_tool(
            f'parameters: {{a: {{enum: {enum}}}}}, read: {{topic: a, type: a/msg/A, value: 1}}'
        )
    )
    schema = load(path).tools['act'].spec.parameters['properties']['a']
    assert schema.get('type') == kind


def test_examples_are_calls(tmp_path: Path) -> None:
    path = tmp_path / 'tools.yaml'
    text = changed('  - ["hello", "Hi."]', MORE_EXAMPLES)
    path.write_text(text)
    tool_file = load(path)
    move = ToolCall('call_1', 'move', {'mps': 0.5})
    assert tool_file.tools['move'].spec.examples == (Example('go', (move,)),)
    twice = (move, ToolCall('call_2', 'move', {'mps': 1}))
    assert tool_file.examples == (
        Example('hello', (), 'Hi.'),
        Example('go, then faster', twice, 'Done.', (1, None)),
    )


MORE_EXAMPLES = """\
  - ["hello", "Hi."]
  - ["go, then faster", [{move: {mps: 0.5}}, {move: {mps: 1}}], {answer: Done., values: [1, null]}]
"""


def test_stop_words_are_known_unless_the_file_names_its_own(tmp_path: Path) -> None:
    assert ROBOT.stop_words == DEFAULT_STOP_WORDS
    path = tmp_path / 'tools.yaml'
    path.write_text(GOOD + 'stop_words: [arrête, ne bouge plus]\n')
    assert load(path).stop_words == ('arrête', 'ne bouge plus')


WRONG = [
    # Names of the file
    ('robot: bench', 'robto: bench', "1: robto: is not known here; did you mean 'robot'?"),
    ('robot: bench', 'robot: ""', "1: robot: robot: expected text, got ''"),
    ('guard:', 'gaurd:', "17: tools.move.gaurd: is not known here; did you mean 'guard'?"),
    ('rate_hz:', 'rate:', '13: tools.move.topic.rate: is not known here; did you mean'),
    ('exclusive:', 'exclusiv:', '17: tools.move.guard.exclusiv: is not known here; did'),
    ('  move:', '  Move:', '4: tools.Move: expected a name of a-z, 0-9 and _'),
    ('  move:', '  /move:', '4: tools./move: expected a name of a-z, 0-9 and _'),
    ('  move:', '  "m\\u043eve":', '4: tools.m\u043eve: expected a name of a-z, 0-9 and _'),
    ('  move:', '  "move ":', '4: tools.move : expected a name of a-z, 0-9 and _'),
    ('Move.', '""', '16: tools.move.description: description: expected text'),
    # Ways to ROS
    ('    topic:', '    topik:', '7: tools.move.topik: is not known here; did you mean'),
    ('Move.', 'Move.\n    read: {}', '4: tools.move: expected exactly one of topic, read'),
    ('    parameters:', '    x: 1\n    parameters:', '5: tools.move.x: is not known here'),
    ('cmd_vel', 'cmd vel', "8: tools.move.topic.name: 'cmd vel' is no ROS name"),
    ('cmd_vel', '"cmd_vel "', "8: tools.move.topic.name: 'cmd_vel ' is no ROS name"),
    ('cmd_vel', '/cmd_vel/', "8: tools.move.topic.name: '/cmd_vel/' is no ROS name"),
    ('cmd_vel', 'a//b', "8: tools.move.topic.name: 'a//b' is no ROS name"),
    ('cmd_vel', '2nd', "8: tools.move.topic.name: '2nd' is no ROS name"),
    ('cmd_vel', '"{{ mps }}"', "8: tools.move.topic.name: '{{ mps }}' is no ROS name"),
    ('cmd_vel', '"cmd_vel\\n"', "8: tools.move.topic.name: 'cmd_vel\\n' is no ROS name"),
    ('cmd_vel', '7', '8: tools.move.topic.name: name: expected text, got 7'),
    ('geometry_msgs/msg/Twist', 'geometry_msgs/Twist', '9: tools.move.topic.type: '),
    ('geometry_msgs/msg/Twist', 'a_msgs/srv/A', '9: tools.move.topic.type: '),
    ('geometry_msgs/msg/Twist', 'a_msgs/msg/a', '9: tools.move.topic.type: '),
    ('      type: geometry_msgs/msg/Twist\n', '', '7: tools.move.topic: type: expected text'),
    ('rate_hz: 10', 'rate_hz: 0', '13: tools.move.topic.rate_hz: expected a number from 0.1'),
    ('rate_hz: 10', 'rate_hz: true', '13: tools.move.topic.rate_hz: expected a number'),
    ('rate_hz: 10', 'rate_hz: "9"', '13: tools.move.topic.rate_hz: expected a number'),
    ('      for_s: 2\n', '', '13: tools.move.topic.rate_hz: needs for_s or until'),
    ('for_s: 2', 'for_s: 2\n      until: {}', '7: tools.move.topic: expected for_s or until'),
    ('for_s: 2', 'until: {topic: a, type: a/msg/A}', '14: tools.move.topic.until: when is'),
    (
        'for_s: 2',
        'until: {topic: a, type: a/msg/A, when: "{{ now.x }}"}',
        '14: tools.move.topic.until: within_s is missing',
    ),
    ('then: {}', 'then: {topic: a}', '15: tools.move.topic.then: type: expected text'),
    ('then: {}', 'then: 0', '15: tools.move.topic.then: expected a mapping, got 0'),
    # Motion
    ('      then: {}\n', '', '7: tools.move.topic: moves the robot and needs then'),
    ('{exclusive: motion}', '{}', '4: tools.move: moves the robot and needs guard'),
    ('{exclusive: motion}', '{exclusive: 3}', '17: tools.move.guard.exclusive: expected the'),
    (
        '{exclusive: motion}',
        '{exclusive: motion, max_per_minute: 0}',
        '17: tools.move.guard.max_per_minute: expected a number from 1 to 6000, got 0',
    ),
    # Parameters
    (', maximum: 1', '', '6: tools.move.parameters.mps: has no upper bound; add maximum'),
    ('minimum: 0, ', '', '6: tools.move.parameters.mps: has no lower bound; add minimum'),
    ('maximum: 1', 'maximum: .inf', '6: expected a finite number, got inf'),
    ('maximum: 1', 'maximum: "1"', "6: tools.move.parameters.mps: is no JSON Schema: '1' is"),
    (
        'maximum: 1',
        'maximun: 1',
        "6: tools.move.parameters.mps.maximun: is no JSON Schema keyword known here; "
        "did you mean 'maximum'?",
    ),
    ('type: number', 'type: float', '6: tools.move.parameters.mps: is no JSON Schema: '),
    ('maximum: 1', 'maximum: 1, default: 3', '6: tools.move.parameters.mps.default: '),
    ('maximum: 1', 'maximum: 1, default: "0"', '6: tools.move.parameters.mps.default: '),
    ('maximum: 1', 'maximum: 1, default: true', '6: tools.move.parameters.mps.default: '),
    ('maximum: 1', 'maximum: 1, pattern: "["', '6: tools.move.parameters.mps: is no '),
    ('mps: {type: number, minimum: 0, maximum: 1}', 'mps: 3', '6: tools.move.parameters.mps'),
    ('mps: {', 'pi: {', '6: tools.move.parameters.pi: this name is taken'),
    ('mps: {', 'places: {', '6: tools.move.parameters.places: this name is taken'),
    ('mps: {', 'start: {', '6: tools.move.parameters.start: this name is taken'),
    ('mps: {', 'self: {', '6: tools.move.parameters.self: this name is taken'),
    ('mps: {', '__class__: {', '6: tools.move.parameters.__class__: expected a name'),
    ('maximum: 1', 'enum: "{{ nowhere }}"', '6: tools.move.parameters.mps.enum: nothing is'),
    ('maximum: 1', 'enum: "{{ 3 }}"', '6: tools.move.parameters.mps.enum: expected a list'),
    ('maximum: 1', 'enum: []', '6: tools.move.parameters.mps.enum: expected at least'),
    ('maximum: 1', 'enum: 5', '6: tools.move.parameters.mps: is no JSON Schema'),
    # Templates
    (
        '"{{ mps }}"',
        '"{{ mpx }}"',
        "12: tools.move.topic.message.linear.x: nothing is named 'mpx' here; there is mps, "
        "places, speeds and the functions; did you mean 'mps'?",
    ),
    ('"{{ mps }}"', '["{{ mps +"]', '12: tools.move.topic.message.linear.x[0]: '),
    ('"{{ mps }}"', '"{{ now }}"', '12: tools.move.topic.message.linear.x: nothing is'),
    ('"{{ mps }}"', '"{% if %}"', '12: tools.move.topic.message.linear.x: '),
    ('for_s: 2', 'for_s: "{{ range(9) }}"', '14: tools.move.topic.for_s: nothing is'),
    # Examples
    ('{mps: 0.5}]', '{mps: 5}]', '19: tools.move.examples[0][1]: the example breaks'),
    ('{mps: 0.5}]', '{}]', '19: tools.move.examples[0][1]: the example breaks the'),
    ('"go", {mps: 0.5}', '"go"', '19: tools.move.examples[0]: expected [what a person says'),
    ('"Hi."', '[{fly: {}}]', "21: examples[0][1][0]: there is no tool named 'fly'"),
    ('"Hi."', '[{move: {mps: 2}}]', '21: examples[0][1][0].move: the example breaks the'),
    ('"Hi."', '[{move: {mps: 1}}], {values: [1, 2]}', '21: examples[0][2].values: expected 1'),
    # Tables and stop words
    ('places: {', 'pi: {', '2: tables.pi: expected a name of a-z, 0-9 and _, not that of'),
    ('speeds: [1, 2]', 'speeds: 3', '2: tables.speeds: expected a table or a list, got 3'),
    ('robot: bench', 'robot: bench\nstop_words: halt', '2: stop_words: expected a list'),
    ('robot: bench', 'robot: bench\nstop_words: [halt, ""]', '2: stop_words[1]: expected a'),
    # YAML
    ('robot: bench', 'robot: bench\nrobot: b', "2: 'robot' stands here a second time"),
    ('rate_hz: 10', 'name: other', "13: 'name' stands here a second time"),
    ('for_s: 2', 'for_s: [', '1'),
    ('tables: {places', 'tables: &t {again: *t, places', '2: more than'),
]  # fmt: skip


@pytest.mark.parametrize(('old', 'new', 'expected'), WRONG)
def test_a_problem_is_told_by_line_and_path(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    found = problems(tmp_path, changed(old, new))
    assert any(problem.startswith(expected) for problem in found), found


@pytest.mark.parametrize('kind', ['service', 'action', 'topic'])
def test_bounds_are_mandatory_whichever_way_a_tool_acts(tmp_path: Path, kind: str) -> None:
    kinds = {'service': 'a/srv/A', 'action': 'a/action/A, timeout_s: 5', 'topic': 'a/msg/A'}
    wide = '{n: {type: number}, s: {type: string}, a: {type: array}, o: {type: object}}'
    text = with_tool(f'parameters: {wide}, {kind}: {{name: a, type: {kinds[kind]}}}')
    assert problems(tmp_path, text) == [
        '4: tools.act.parameters.n: has no lower bound; add minimum',
        '4: tools.act.parameters.n: has no upper bound; add maximum',
        '4: tools.act.parameters.s: has no bound; add maxLength or enum',
        '4: tools.act.parameters.a: has no bound; add maxItems',
        '4: tools.act.parameters.a.items: takes any type; add type',
        '4: tools.act.parameters.o: takes anything; add additionalProperties: false',
    ]


@pytest.mark.parametrize(
    ('then', 'expected'),
    [
        ('{topic: cmd_vel, type: geometry_msgs/msg/Twist}', []),
        ('{}', ['4: tools.act.service.then: topic: expected text, got None']),
        ('{topic: cmd_vel}', ['4: tools.act.service.then: type: expected text, got None']),
        (
            '{topic: cmd_vel, type: geometry_msgs/msg/Twist, message: {x: "{{ y }}"}}',
            [
                "4: tools.act.service.then.message.x: nothing is named 'y' here; "
                'there is places, speeds and the functions'
            ],
        ),
    ],
)
def test_a_service_may_end_with_a_message(tmp_path: Path, then: str, expected: list[str]) -> None:
    text = with_tool(f'service: {{name: a, type: a/srv/A, then: {then}}}')
    assert problems(tmp_path, text) == expected


def test_an_action_needs_a_timeout(tmp_path: Path) -> None:
    assert problems(tmp_path, with_tool('action: {name: a, type: a/action/A}')) == [
        '4: tools.act.action: timeout_s is missing: how long the goal may take, seconds'
    ]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = with_tool('action: {name: a, type: a/action/A}').replace('{{ mps }}', '{{ x }}')
    text = text.replace('"Hi."', '7') + 'stop_words: [1]\n'
    assert [problem.split(': ')[1] for problem in problems(tmp_path, text)] == [
        'tools.act.action',
        'tools.move.topic.message.linear.x',
        'examples[0][1]',
        'stop_words[0]',
    ]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', '1: the file is empty'),
        ('[]', '1: file: expected a mapping, got []'),
        ('robot: r', '1: tools: expected at least one tool'),
        ('robot: r\ntools: {}', '2: tools: expected at least one tool'),
        ('robot: r\ntools: [a]', "2: tools: expected a mapping, got ['a']"),
        ('robot: r\ntools: {a: }', '2: tools.a: expected exactly one of topic, read, service'),
        ('robot: r\ntools: {a: {topic: }}', '2: tools.a.topic: name: expected text, got None'),
    ],
)
def test_a_file_that_is_no_tool_file(tmp_path: Path, text: str, expected: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(expected)


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / 'latin').write_bytes(b'robot: r\xe4')
    (tmp_path / 'big').write_text('#' * (MAX_BYTES + 1))
    for path in (tmp_path, tmp_path / 'none', tmp_path / 'latin', tmp_path / 'big'):
        with pytest.raises(ToolFileError, match=str(path)):
            load(path)
    with pytest.raises(ToolFileError, match='tool_file: is not set'):
        load('')


PIECES = [
    'true', 'null', '[]', '{}', '3', '.5', '""', 'a', '[a]', '{a: 1}', '[[1]]', '[{}]', '*t',
    '!!int a',
    '"{{ mps }}"', '"{{ 1 / 0 }}"', '"{{ self }}"', '"{%"', '{type: number}', '{type: [string]}',
    '{items: true}', '{properties: [a]}', '{enum: 5}', '{enum: {}}', '2026-01-01',
]  # fmt: skip
PLACES = [
    'bench', '{hall: {x: 1.5}}', '[1, 2]', '{type: number, minimum: 0, maximum: 1}', 'number',
    '      mps: {type: number, minimum: 0, maximum: 1}', 'cmd_vel', 'geometry_msgs/msg/Twist',
    '"{{ mps }}"', '10', '2\n', 'Move.', '{exclusive: motion}', 'motion', '["go", {mps: 0.5}]',
    '{mps: 0.5}', '["hello", "Hi."]', '"Hi."',
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(PIECES)), max_size=3))
def test_no_file_makes_it_fall_over(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str]]
) -> None:
    text = GOOD
    for place, piece in changes:
        text = text.replace(place, piece)
    for problem in problems(tmp_path_factory.getbasetemp(), text):
        assert problem.split(':')[0].isdigit()


@pytest.mark.parametrize(
    ('said', 'way', 'holds'),
    [
        ('', OutOfRange.REFUSE, False),
        ('out_of_range: refuse, ', OutOfRange.REFUSE, False),
        ('out_of_range: clamp, ', OutOfRange.CLAMP, False),
        ('out_of_range: constrain, ', OutOfRange.CONSTRAIN, True),
    ],
)
def test_what_becomes_of_a_number_out_of_range(
    tmp_path: Path, said: str, way: OutOfRange, holds: bool
) -> None:
    path = tmp_path / 'tools.yaml'
    path.write_text(with_tool(f'{said}read: {{topic: a, type: a/msg/A, value: 1}}'))
    tool = load(path).tools['act']
    assert (tool.out_of_range, tool.spec.holds_ranges) == (way, holds)


@pytest.mark.parametrize(
    ('said', 'problem'),
    [
        ('bend', "expected refuse, clamp or constrain, got 'bend'"),
        ('[clamp]', "expected refuse, clamp or constrain, got ['clamp']"),
        ('clamp', 'clamp needs minimum and maximum, not exclusive ones, of x'),
    ],
)
def test_out_of_range_that_can_not_be(tmp_path: Path, said: str, problem: str) -> None:
    text = with_tool(
        f'out_of_range: {said}, parameters: {{x: {{type: number, exclusiveMinimum: 0, '
        'maximum: 1}}, read: {topic: a, type: a/msg/A, value: 1}'
    )
    assert problems(tmp_path, text) == [f'4: tools.act.out_of_range: {problem}']


def test_templates_are_compiled_once() -> None:
    binding = ROBOT.tools['say'].binding
    assert isinstance(binding, Publish)
    assert isinstance(binding.send.message['data'], Template)


DISABLED = """\
  fly:
    description: Fly.
    enabled: false
    parameters: {height_m: {type: number}}
    topic: {name: lift, type: geometry_msgs/msg/Twist, message: {linear: {z: "{{ height_m }}"}}}
"""


def test_a_disabled_tool_does_not_exist_and_needs_no_bounds_yet(tmp_path: Path) -> None:
    path = tmp_path / 'tools.yaml'
    text = changed('examples:\n  - ["hello"', f'{DISABLED}examples:\n  - ["hello"')
    text += '  - ["go, then up", [{move: {mps: 1}}, {fly: {height_m: 9}}]]\n'
    path.write_text(text)
    robot = load(path)
    assert (list(robot.tools), list(robot.disabled)) == (['move'], ['fly'])
    assert [example.utterance for example in robot.examples] == ['hello']


def test_what_is_enabled_without_bounds_is_refused(tmp_path: Path) -> None:
    enabled = DISABLED.replace('false', 'true')
    text = changed('examples:\n  - ["hello"', f'{enabled}examples:\n  - ["hello"')
    assert problems(tmp_path, text) == [
        '23: tools.fly.parameters.height_m: has no lower bound; add minimum',
        '23: tools.fly.parameters.height_m: has no upper bound; add maximum',
        '24: tools.fly.topic: moves the robot and needs then: a message that ends it',
    ]


def test_a_disabled_tool_is_read_all_the_same(tmp_path: Path) -> None:
    text = with_tool('enabled: false, topic: {name: a, type: a/msg/A, message: "{{ x }}"}')
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("4: tools.act.topic.message: nothing is named 'x' here")
    text = with_tool('enabled: off ish, topic: {name: a, type: a/msg/A}')
    assert problems(tmp_path, text) == [
        "4: tools.act.enabled: expected true or false, got 'off ish'"
    ]


# What a schema can't see: what depends on other places, templates, patterns, and a line's end.
BEYOND_A_SCHEMA = (
    *("name: 'cmd_vel\\n' is", 'mps.default: ', 'mps: is no JSON Schema: ', 'taken by a table'),
    *(
        'nothing is named ',
        'expected a list, or a table',
        'message.linear.x',
        'the example breaks',
    ),
    *('the example breaks', 'there is no tool', 'values: expected 1'),
)


@pytest.mark.parametrize(('old', 'new', 'expected'), WRONG)
def test_editors_mark_what_the_loader_refuses(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    text = changed(old, new)
    schema = json.loads((CONFIG.parent / 'tool_file.schema.json').read_text())
    try:
        data, _ = parse(text)
    except YamlError:
        return
    marked = not Draft7Validator(schema).is_valid(data)
    told = '\n'.join(problems(tmp_path, text))
    assert marked or any(phrase in told for phrase in BEYOND_A_SCHEMA), told
