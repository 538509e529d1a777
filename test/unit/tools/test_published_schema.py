"""The schema that editors use: it takes what the loader takes, and knows the same keys."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from nemotron_ros.tools.bounds import KEYWORDS, MOTION_TYPES
from nemotron_ros.tools.tool_file import TAKEN, ToolFileError, load
from nemotron_ros.tools.yaml_lines import parse

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / 'config/tool_file.schema.json').read_text())
SHIPPED = sorted((ROOT / 'config/tools').glob('*.yaml'))
FILES = [*SHIPPED, *sorted((ROOT / 'test/fixtures').glob('tools_*.yaml'))]

EVERYTHING = """\
robot: bench
tools:
  move:
    description: Move.
    topic:
      name: cmd_vel
      type: geometry_msgs/msg/Twist
      rate_hz: 10
      until: {topic: odom, type: nav_msgs/msg/Odometry, when: "{{ now }}", within_s: 5}
      then: {}
    guard: {exclusive: motion}
    examples: [[go, {}, {answer: Done.}]]
  call:
    description: Call.
    service: {name: a, type: a/srv/A}
  act:
    description: Act.
    action: {name: a, type: a/action/A, timeout_s: 5}
  run:
    description: Run.
    plugin: {use: a, timeout_s: 5}
  look: {description: L., read: {topic: a, type: a/msg/A, value: 1}}
  find: {description: F., read: {transform: {target: a, source: b}}}
  know: {description: K., read: {parameter: {node: a, name: b}}}
  scan: {description: S., read: {scan: {topic: a}}}
  picture: {description: P., read: {image: {topic: a}}}
  more: {description: M., read: {several: {x: {image: {topic: a}}}}}
examples: [[go, [{move: {}}], {answer: Done.}]]
conditions:
  fresh: {topic: a, type: a/msg/A, max_age_s: 1}
  known: {transform: {target: a, source: b}, max_age_s: 1}
limits:
  fence:
    frame: map
    rectangle: {x: [0, 1], y: [0, 1]}
    pose: {topic: a, type: nav_msgs/msg/Odometry}
estop: {heartbeat: {topic: a, type: a/msg/A, max_silence_s: 1}}
"""

# Where a key is put that nobody knows, and the part of the schema that is about this place.
PLACES = {
    '': '',
    'tools.move': 'definitions.tool',
    'tools.move.topic': 'definitions.topic',
    'tools.move.topic.until': 'definitions.topic.properties.until',
    'tools.move.topic.then': 'definitions.then',
    'tools.move.guard': 'definitions.guard',
    'tools.call.service': 'definitions.service',
    'tools.act.action': 'definitions.action',
    'tools.run.plugin': 'definitions.plugin',
    'tools.find.read.transform': 'definitions.read.properties.transform',
    'tools.know.read.parameter': 'definitions.read.properties.parameter',
    'tools.scan.read.scan': 'definitions.read.properties.scan',
    'tools.picture.read.image': 'definitions.read.properties.image',
    'conditions.fresh': 'definitions.topicCondition',
    'conditions.known': 'definitions.transformCondition',
    'conditions.known.transform': 'definitions.transformCondition.properties.transform',
    'limits': 'properties.limits',
    'limits.fence': 'definitions.fence',
    'limits.fence.rectangle': 'definitions.fence.properties.rectangle',
    'limits.fence.pose': 'definitions.fence.properties.pose',
    'estop': 'properties.estop',
    'estop.heartbeat': 'properties.estop.properties.heartbeat',
}


def refuses(text: str) -> bool:
    """Whether an editor that has the schema marks a file."""
    data, _ = parse(text)
    return any(Draft7Validator(SCHEMA).iter_errors(data))


def inside(data: Any, path: str) -> Any:
    for part in path.split('.') if path else ():
        data = data[part]
    return data


def keys_that_are_taken(folder: Path, path: str) -> set[str]:
    """Return the keys that the loader says it knows at a place."""
    data = yaml.safe_load(EVERYTHING)
    inside(data, path)['zzzz'] = 1
    file = folder / 'tools.yaml'
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(ToolFileError) as caught:
        load(file)
    known = re.search(r'zzzz: is not known here; known are (.*)', str(caught.value))
    assert known, caught.value
    return set(known[1].split(', '))


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_it_takes_the_files_that_are_here(path: Path) -> None:
    assert not refuses(path.read_text())


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_each_shipped_file_tells_editors_where_it_is(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    name = first.removeprefix('# yaml-language-server: $schema=')
    assert (path.parent / name).resolve() == ROOT / 'config/tool_file.schema.json'


def test_it_takes_the_file_that_has_everything(tmp_path: Path) -> None:
    file = tmp_path / 'tools.yaml'
    file.write_text(EVERYTHING)
    assert load(file).tools
    assert not refuses(EVERYTHING)


@pytest.mark.parametrize(('path', 'part'), PLACES.items(), ids=PLACES)
def test_it_knows_the_keys_that_the_loader_knows(tmp_path: Path, path: str, part: str) -> None:
    schema = inside(SCHEMA, part)
    assert schema['additionalProperties'] is False
    assert set(schema['properties']) == keys_that_are_taken(tmp_path, path)


def test_it_knows_the_keys_of_each_kind_of_read(tmp_path: Path) -> None:
    reads = ('look', 'find', 'know', 'scan', 'picture', 'more')
    taken = set().union(*(keys_that_are_taken(tmp_path, f'tools.{name}.read') for name in reads))
    assert set(SCHEMA['definitions']['read']['properties']) == taken


def test_it_knows_the_words_that_the_loader_knows() -> None:
    definitions = SCHEMA['definitions']
    assert set(definitions['parameter']['properties']) == KEYWORDS
    assert set(definitions['variable']['allOf'][1]['not']['enum']) == TAKEN
    motion = definitions['tool']['allOf'][1]['if']['allOf'][1]['properties']['topic']
    assert set(motion['properties']['type']['enum']) == MOTION_TYPES


@pytest.mark.parametrize(
    'parameter',
    [
        '{type: number, minimum: 0}', '{type: number, exclusiveMaximum: 0}', '{type: integer}',
        '{type: string}', '{type: array, maxItems: 3}', '{description: any}',
        '{type: array, maxItems: 3, items: {type: string}}', '{type: object}',
        '{type: object, additionalProperties: false, properties: {a: {type: number}}}',
    ],
)  # fmt: skip
def test_what_acts_must_be_bounded_once_it_is_enabled(tmp_path: Path, parameter: str) -> None:
    text = EVERYTHING.replace('Call.\n', f'Call.\n    parameters: {{a: {parameter}}}\n')
    file = tmp_path / 'tools.yaml'
    file.write_text(text)
    with pytest.raises(ToolFileError):
        load(file)
    assert refuses(text)
    text = text.replace('Call.\n', 'Call.\n    enabled: false\n')
    file.write_text(text)
    assert load(file).disabled
    assert not refuses(text)


def test_the_rules_of_the_page_can_be_written(tmp_path: Path) -> None:
    page = (ROOT / 'docs/tool_file.md').read_text()
    (rules,) = re.findall(r'^```yaml\n(conditions:.*?)^```', page, re.DOTALL | re.MULTILINE)
    file = tmp_path / 'tools.yaml'
    file.write_text(f'{EVERYTHING[: EVERYTHING.index("conditions:")]}{rules}')
    robot = load(file)
    assert {*robot.conditions} == {'odometry_fresh', 'battery_ok', 'localised'}
    assert robot.estop.heartbeat
    assert not refuses(file.read_text())
