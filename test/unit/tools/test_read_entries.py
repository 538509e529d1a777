"""The read: and plugin: entries of a tool file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nemotron_ros.tools.model import (
    Read,
    ReadImage,
    ReadParameter,
    ReadScan,
    ReadSeveral,
    ReadTransform,
    UsePlugin,
)
from nemotron_ros.tools.tool_file import ToolFileError, load


def tool(tmp_path: Path, entry: str):
    """Return the tool that an entry makes."""
    path = tmp_path / 'tools.yaml'
    path.write_text(f'robot: r\ntools:\n  it: {{description: d, {entry}}}\n')
    return load(path).tools['it']


def test_transform(tmp_path):
    entry = 'read: {transform: {target: map, source: base_link}, max_age_s: 2}'
    assert tool(tmp_path, entry).binding == ReadTransform('map', 'base_link', None, 2.0)


def test_parameter(tmp_path):
    entry = 'read: {parameter: {node: /nav/controller, name: a.b}, timeout_s: 3}'
    assert tool(tmp_path, entry).binding == ReadParameter('/nav/controller', 'a.b', None, 3.0)


def test_scan(tmp_path):
    entry = 'read: {scan: {topic: scan, sectors: 8, mounted_deg: 180}}'
    assert tool(tmp_path, entry).binding == ReadScan('scan', 8, 180.0, None, 5.0)


def test_image(tmp_path):
    entry = 'read: {image: {topic: camera/image_raw}, max_age_s: 1}'
    assert tool(tmp_path, entry).binding == ReadImage('camera/image_raw', None, 1.0)


def test_several(tmp_path):
    entry = (
        'read: {several: {charge: {topic: b, type: sensor_msgs/msg/BatteryState, value: 1}, '
        'place: {transform: {target: map, source: base_link}}}}'
    )
    binding = tool(tmp_path, entry).binding
    assert isinstance(binding, ReadSeveral)
    assert {name: type(part) for name, part in binding.parts.items()} == {
        'charge': Read,
        'place': ReadTransform,
    }


def test_plugin(tmp_path):
    entry = (
        'plugin: {use: wave, timeout_s: 5, '
        'then: {topic: cmd_vel, type: geometry_msgs/msg/Twist, message: {}}}'
    )
    binding = tool(tmp_path, entry).binding
    assert isinstance(binding, UsePlugin)
    assert (binding.use, binding.timeout_s) == ('wave', 5.0)
    assert binding.then is not None
    assert binding.then.topic == 'cmd_vel'


@pytest.mark.parametrize(
    ('entry', 'word'),
    [
        ('read: {}', 'expected exactly one of topic, transform'),
        ('read: {scan: {topic: s}, image: {topic: i}}', 'got 2'),
        ('read: {transform: {target: map}}', 'source: expected text'),
        ('read: {transform: {target: map, source: "a b"}}', 'no name of a frame'),
        ('read: {transform: {target: map, source: b}, value: "{{ translatoin.x }}"}',
         "did you mean 'translation'"),
        ('read: {parameter: {node: "a b", name: n}}', 'no ROS name'),
        ('read: {parameter: {node: a}}', 'name: expected text'),
        ('read: {parameter: {node: a, name: n}, max_age_s: 1}', 'max_age_s: is not known'),
        ('read: {scan: {topic: s, sectors: 5}}', 'expected 4 or 8, got 5'),
        ('read: {scan: {topic: s, sectors: true}}', 'got True'),
        ('read: {scan: {topic: s, mounted_deg: 1000}}', 'from -360 to 360'),
        ('read: {scan: {topic: s}, value: "{{ nearest }}"}', "did you mean 'nearest_m'"),
        ('read: {image: camera}', "expected a mapping, got 'camera'"),
        ('read: {image: {topic: i}, max_age_s: 0}', 'max_age_s: expected a number'),
        ('read: {several: {}}', 'at least one'),
        ('read: {several: {A: {image: {topic: i}}}}', 'beginning with a letter'),
        ('read: {several: {a: {several: {b: {image: {topic: i}}}}}}', 'within several'),
        ('plugin: {use: wave}', 'timeout_s is missing'),
        ('plugin: {timeout_s: 1}', 'use: expected text'),
        ('plugin: {use: wave, timeout_s: 1, module: os}', 'module: is not known'),
        ('parameters: {speed_mps: {type: number}}, plugin: {use: wave, timeout_s: 1}',
         'has no upper bound'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, entry, word):
    with pytest.raises(ToolFileError) as caught:
        tool(tmp_path, entry)
    assert word in str(caught.value)
    assert str(caught.value).startswith(f'{tmp_path}/tools.yaml:3: tools.it')
