"""JSON ⇄ message: what fits goes there and back unchanged, what does not is refused by path."""

from __future__ import annotations

import array
import base64
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import ros_types
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Polygon, PoseStamped, PoseWithCovariance, Twist
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, LaserScan, PointCloud2
from std_msgs.msg import Byte, Empty, Float32, Float64MultiArray, String
from test_msgs.msg import (
    Arrays,
    BasicTypes,
    BoundedSequences,
    Defaults,
    Strings,
    UnboundedSequences,
    WStrings,
)
from unique_identifier_msgs.msg import UUID

from nemotron_ros.bridge.convert import ConvertError, to_json, to_message
from nemotron_ros.bridge.fields import type_name

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32 = 'expected a finite number from -3.4028235e+38 to 3.4028235e+38'

quick = settings(
    max_examples=12,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def refused(message_class: type[Any], data: Any, **options: Any) -> str:
    with pytest.raises(ConvertError) as caught:
        to_message(message_class, data, **options)
    return str(caught.value)


@pytest.mark.parametrize('message_class', ros_types.message_classes(), ids=type_name)
def test_every_message_comes_back_from_json(message_class: type[Any]) -> None:
    @quick
    @given(ros_types.messages(message_class, finite=False))
    def holds(message: Any) -> None:
        text = json.dumps(to_json(message), allow_nan=False)
        back = to_message(message_class, json.loads(text), allow_nonfinite=True)
        assert ros_types.same(back, message)

    holds()


@pytest.mark.parametrize('message_class', ros_types.message_classes(), ids=type_name)
def test_converted_messages_go_over_the_wire(message_class: type[Any]) -> None:
    @settings(quick, max_examples=2)
    @given(ros_types.messages(message_class, finite=True))
    def holds(message: Any) -> None:
        wire = serialize_message(to_message(message_class, to_json(message)))
        assert ros_types.same(deserialize_message(wire, message_class), message)

    holds()


def test_the_fixtures_of_test_msgs_come_back() -> None:
    fixtures = pytest.importorskip('test_msgs.message_fixtures')
    makers = [value for name, value in vars(fixtures).items() if name.startswith('get_msg_')]
    assert makers
    for message in (message for make in makers for message in make()):
        assert to_message(type(message), to_json(message), allow_nonfinite=True) == message


def test_ros_own_checks_agree() -> None:
    """Older releases check each assignment; newer ones only when told to."""
    code = (
        'from nemotron_ros.bridge.convert import to_json, to_message\n'
        'from std_msgs.msg import Float32\n'
        'from test_msgs import message_fixtures as fixtures\n'
        'makers = [getattr(fixtures, name) for name in dir(fixtures) if name[:8] == "get_msg_"]\n'
        'for message in (message for make in makers for message in make()):\n'
        '    again = to_message(type(message), to_json(message), allow_nonfinite=True)\n'
        '    assert again == message, message\n'
        f'print(to_message(Float32, {{"data": {-FLOAT32_MAX!r}}}).data)\n'
    )
    pytest.importorskip('test_msgs.message_fixtures')
    run = subprocess.run(
        [sys.executable, '-c', code],
        env={
            **os.environ,
            'ROS_PYTHON_CHECK_FIELDS': '1',
            'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert np.float32(run.stdout) == np.float32(-FLOAT32_MAX)


def test_fields_left_out_keep_their_defaults() -> None:
    assert to_message(Defaults, {'int8_value': 3}) == Defaults(int8_value=3)
    assert to_message(Defaults, {}) == Defaults()
    assert Defaults().int8_value == -50
    assert to_message(PoseStamped, {'pose': {'position': {'x': 1}}}).pose.orientation.w == 1.0


def test_an_empty_message_has_no_fields() -> None:
    assert to_json(Empty()) == {}
    assert to_message(Empty, {}) == Empty()
    assert refused(Empty, {'data': 1}) == (
        'data: no such field in std_msgs/msg/Empty; it has no fields'
    )


def test_to_json_gives_plain_values() -> None:
    message = PoseWithCovariance(covariance=np.arange(36.0))
    message.pose.position.x = np.float64(2.5)
    data = to_json(message)
    assert data['covariance'] == [float(number) for number in range(36)]
    assert {type(number) for number in data['covariance']} == {float}
    assert type(data['pose']['position']['x']) is float
    assert to_json(Image(data=array.array('B', b'\x00\xff')))['data'] == 'AP8='
    assert to_json(Arrays())['byte_values_default'] == base64.b64encode(b'\x00\x01\xff').decode()
    assert to_json(Byte(data=b'\x07')) == {'data': 7}


def test_nonfinite_numbers_are_spelled() -> None:
    scan = LaserScan(ranges=array.array('f', [1.0, np.inf, -np.inf, np.nan]), range_max=np.inf)
    data = to_json(scan)
    assert data['ranges'] == [1.0, 'Infinity', '-Infinity', 'NaN']
    assert data['range_max'] == 'Infinity'
    assert ros_types.same(to_message(LaserScan, data, allow_nonfinite=True), scan)
    floats = {'ranges': [1, np.inf, -np.inf, np.nan], 'range_max': np.inf}
    assert ros_types.same(to_message(LaserScan, floats, allow_nonfinite=True), scan)
    floats['ranges'] = np.array(floats['ranges'])
    assert ros_types.same(to_message(LaserScan, floats, allow_nonfinite=True), scan)


def test_what_is_no_message_is_a_type_error() -> None:
    with pytest.raises(TypeError, match='not a ROS message class'):
        to_json({'x': 1})
    with pytest.raises(TypeError, match='not a ROS message class'):
        to_message(dict, {'x': 1})


@pytest.mark.parametrize(
    ('message_class', 'data', 'error'),
    [
        (Twist, {'linaer': {}}, 'linaer: no such field in geometry_msgs/msg/Twist; '
         'did you mean linear?'),
        (Twist, {'linear': {'w': 1}}, 'linear.w: no such field in geometry_msgs/msg/Vector3; '
         'it has x, y, z'),
        (Twist, {1: {}}, '1: no such field in geometry_msgs/msg/Twist; it has linear, angular'),
        (Twist, {'linear': {'x': 'fast'}}, "linear.x: expected a finite number, got 'fast'"),
        (Twist, {'linear': {'x': True}}, 'linear.x: expected a finite number, got True'),
        (Twist, {'linear': {'x': None}}, 'linear.x: expected a finite number, got None'),
        (Twist, {'linear': {'x': [1.0]}}, 'linear.x: expected a finite number, got [1.0]'),
        (Twist, {'linear': {'x': float('nan')}}, 'linear.x: expected a finite number, got nan'),
        (Twist, {'linear': {'x': float('inf')}}, 'linear.x: expected a finite number, got inf'),
        (Twist, {'linear': {'x': 'NaN'}}, "linear.x: expected a finite number, got 'NaN'"),
        (Twist, {'linear': {'x': 10**5000}},
         'linear.x: expected a finite number, got a huge int'),
        (Twist, {'linear': 1.0}, 'linear: expected the fields of geometry_msgs/msg/Vector3 '
         'by name, got 1.0'),
        (Twist, [1.0], 'expected the fields of geometry_msgs/msg/Twist by name, got [1.0]'),
        (BasicTypes, {'bool_value': 1}, 'bool_value: expected true or false, got 1'),
        (BasicTypes, {'bool_value': 'true'}, "bool_value: expected true or false, got 'true'"),
        (BasicTypes, {'int32_value': True}, 'int32_value: expected an integer from -2147483648 '
         'to 2147483647, got True'),
        (BasicTypes, {'int8_value': 1.5}, 'int8_value: expected an integer from -128 to 127, '
         'got 1.5'),
        (BasicTypes, {'int8_value': '1'}, 'int8_value: expected an integer from -128 to 127, '
         "got '1'"),
        (BasicTypes, {'int8_value': float('nan')}, 'int8_value: expected an integer from -128 '
         'to 127, got nan'),
        (BasicTypes, {'uint64_value': 2.0**64}, 'uint64_value: expected an integer from 0 to '
         '18446744073709551615, got 1.8446744073709552e+19'),
        (BasicTypes, {'float32_value': 3.5e38}, f'float32_value: {FLOAT32}, got 3.5e+38'),
        (BasicTypes, {'float32_value': 10**40}, f'float32_value: {FLOAT32}, '
         'got 100000000000000000...0000000000000000000'),
        (Strings, {'string_value': 5}, 'string_value: expected a string, got 5'),
        (Strings, {'string_value': b'a'}, "string_value: expected a string, got b'a'"),
        (Strings, {'string_value': 'ab\0'}, 'string_value: expected a string without NUL, '
         'got one at character 2'),
        (Strings, {'string_value': 'a\ud800'}, 'string_value: expected valid Unicode, '
         'got a lone surrogate at character 1'),
        (WStrings, {'wstring_value': '\udfff'}, 'wstring_value: expected valid Unicode, '
         'got a lone surrogate at character 0'),
        (WStrings, {'wstring_value': '\0'}, 'wstring_value: expected a string without NUL, '
         'got one at character 0'),
        (Strings, {'bounded_string_value': 'x' * 23}, 'bounded_string_value: expected at most '
         '22 characters, got 23'),
        (BoundedSequences, {'int16_values': [0] * 4}, 'int16_values: expected at most 3 items, '
         'got 4'),
        (BoundedSequences, {'string_values': ['a'] * 4}, 'string_values: expected at most '
         '3 items, got 4'),
        (BoundedSequences, {'uint8_values': 'AAAAAA=='}, 'uint8_values: expected at most '
         '3 bytes, got 4'),
        (Arrays, {'float64_values': [1.0]}, 'float64_values: expected 3 items, got 1'),
        (Arrays, {'bool_values': [True] * 4}, 'bool_values: expected 3 items, got 4'),
        (Arrays, {'basic_types_values': []}, 'basic_types_values: expected 3 items, got 0'),
        (Arrays, {'basic_types_values': [{}, {'int8_value': 200}, {}]},
         'basic_types_values[1].int8_value: expected an integer from -128 to 127, got 200'),
        (UUID, {'uuid': 'AAAA'}, 'uuid: expected 16 bytes, got 3'),
        (UUID, {'uuid': [0] * 15}, 'uuid: expected 16 items, got 15'),
        (Image, {'data': 'A'}, "data: expected base64, got 'A'"),
        (Image, {'data': 'AA=A'}, "data: expected base64, got 'AA=A'"),
        (Image, {'data': 'é'}, "data: expected base64, got 'é'"),
        (Image, {'data': 'AAAA\n'}, "data: expected base64, got 'AAAA\\n'"),
        (Image, {'data': 7}, 'data: expected base64 or an array of integers, got 7'),
        (Image, {'data': [1, 256]}, 'data[1]: expected an integer from 0 to 255, got 256'),
        (Image, {'data': [True]}, 'data[0]: expected an integer from 0 to 255, got True'),
        (Byte, {'data': 256}, 'data: expected an integer from 0 to 255, got 256'),
        (Byte, {'data': -1}, 'data: expected an integer from 0 to 255, got -1'),
        (LaserScan, {'ranges': [1, 2, 3, 'x']}, f"ranges[3]: {FLOAT32}, got 'x'"),
        (LaserScan, {'ranges': [1, True]}, f'ranges[1]: {FLOAT32}, got True'),
        (LaserScan, {'ranges': [1, float('nan')]}, f'ranges[1]: {FLOAT32}, got nan'),
        (LaserScan, {'ranges': [1e39]}, f'ranges[0]: {FLOAT32}, got 1e+39'),
        (LaserScan, {'ranges': 'far'}, "ranges: expected an array, got 'far'"),
        (LaserScan, {'ranges': {0: 1.0}}, 'ranges: expected an array, got {0: 1.0}'),
        (UnboundedSequences, {'bool_values': [True, 0]}, 'bool_values[1]: expected true or '
         'false, got 0'),
        (UnboundedSequences, {'int32_values': [0, 2**31]}, 'int32_values[1]: expected an '
         'integer from -2147483648 to 2147483647, got 2147483648'),
        (UnboundedSequences, {'int32_values': [0, 0.5]}, 'int32_values[1]: expected an '
         'integer from -2147483648 to 2147483647, got 0.5'),
        (UnboundedSequences, {'string_values': 'abc'}, "string_values: expected an array, "
         "got 'abc'"),
        (UnboundedSequences, {'string_values': ['a', None]}, 'string_values[1]: expected a '
         'string, got None'),
        (Polygon, {'points': [{}, {'x': 'a'}]}, f"points[1].x: {FLOAT32}, got 'a'"),
        (Polygon, {'points': [{}, 3]}, 'points[1]: expected the fields of '
         'geometry_msgs/msg/Point32 by name, got 3'),
        (PointCloud2, {'fields': [{'nme': 'x'}]}, 'fields[0].nme: no such field in '
         'sensor_msgs/msg/PointField; did you mean name?'),
        (Time, {'nanosec': 10**9}, 'nanosec: expected an integer from 0 to 999999999, '
         'got 1000000000'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(message_class: type[Any], data: Any, error: str) -> None:
    assert refused(message_class, data) == error


def test_the_path_begins_where_the_caller_says() -> None:
    error = refused(Twist, {'linear': {'x': 'a'}}, path='tools.drive.message')
    assert error == "tools.drive.message.linear.x: expected a finite number, got 'a'"
    assert refused(Twist, 1, path='goal').startswith('goal: expected the fields of')


def test_only_the_three_spellings_are_numbers() -> None:
    error = refused(Twist, {'linear': {'x': 'nan'}}, allow_nonfinite=True)
    assert error == ("linear.x: expected a number, 'NaN', 'Infinity' or '-Infinity', got 'nan'")
    error = refused(Float32, {'data': 1e39}, allow_nonfinite=True)
    assert error.startswith('data: expected a number from -3.4028235e+38 to 3.4028235e+38')
    assert refused(LaserScan, {'ranges': [np.inf, 1e39]}, allow_nonfinite=True).startswith(
        'ranges[1]: expected a number from'
    )
    assert refused(Float32, {'data': 10**400}, allow_nonfinite=True).startswith('data: expected')


@pytest.mark.parametrize(
    ('field', 'low', 'high'),
    [
        ('byte_value', 0, 255),
        ('char_value', 0, 255),
        ('int8_value', -(2**7), 2**7 - 1),
        ('uint8_value', 0, 2**8 - 1),
        ('int16_value', -(2**15), 2**15 - 1),
        ('uint16_value', 0, 2**16 - 1),
        ('int32_value', -(2**31), 2**31 - 1),
        ('uint32_value', 0, 2**32 - 1),
        ('int64_value', -(2**63), 2**63 - 1),
        ('uint64_value', 0, 2**64 - 1),
    ],
)
def test_integers_have_their_exact_range(field: str, low: int, high: int) -> None:
    for number in (low, high):
        assert to_json(to_message(BasicTypes, {field: number}))[field] == number
    for number in (low - 1, high + 1):
        expected = f'{field}: expected an integer from {low} to {high}, got {number}'
        assert refused(BasicTypes, {field: number}) == expected
    sequence = field.replace('value', 'values')
    ends = to_message(UnboundedSequences, {sequence: [low, high]})
    assert ends == to_message(UnboundedSequences, to_json(ends))
    for number in (low - 1, high + 1):
        expected = f'{sequence}[1]: expected an integer from {low} to {high}, got {number}'
        assert refused(UnboundedSequences, {sequence: [low, number]}) == expected
        assert refused(UnboundedSequences, {sequence: np.array([low, number], object)}) == expected


def test_floats_without_a_fraction_are_integers() -> None:
    message = to_message(BasicTypes, {'int8_value': 1.0})
    assert message.int8_value == 1
    assert type(message.int8_value) is int
    values = to_message(UnboundedSequences, {'int16_values': [1.0, 2]}).int16_values
    assert values == array.array('h', [1, 2])


def test_integers_are_floats() -> None:
    message = to_message(Twist, {'linear': {'x': 1}})
    assert message.linear.x == 1.0
    assert type(message.linear.x) is float


def test_the_largest_float32_fits() -> None:
    assert to_message(Float32, {'data': FLOAT32_MAX}).data == FLOAT32_MAX
    for given_ranges in ([FLOAT32_MAX], np.array([FLOAT32_MAX])):
        assert to_message(LaserScan, {'ranges': given_ranges}).ranges[0] == FLOAT32_MAX


def test_numpy_scalars_are_numbers() -> None:
    data = {
        'bool_value': np.bool_(True),
        'int8_value': np.int64(-3),
        'uint8_value': np.float32(4),
        'float32_value': np.float32(0.5),
        'float64_value': np.int8(7),
    }
    message = to_message(BasicTypes, data)
    assert message == BasicTypes(
        bool_value=True, int8_value=-3, uint8_value=4, float32_value=0.5, float64_value=7.0
    )
    assert {type(getattr(message, name)) for name in data} == {bool, int, float}


@pytest.mark.parametrize(
    'values',
    [
        [1, 2, 255],
        (1, 2, 255),
        b'\x01\x02\xff',
        bytearray(b'\x01\x02\xff'),
        'AQL/',
        array.array('B', [1, 2, 255]),
        array.array('q', [1, 2, 255]),
        array.array('d', [1, 2, 255]),
        np.array([1, 2, 255], np.uint8),
        np.array([1, 2, 255], '>i8'),
        np.array([1, 2, 255], np.float32),
        np.array([1, 2, 255], object),
        np.array([1, 0, 2, 0, 255, 0])[::2],
    ],
    ids=repr,
)
def test_octets_come_in_many_forms(values: Any) -> None:
    assert to_message(Image, {'data': values}).data == array.array('B', [1, 2, 255])
    assert to_message(Arrays, {'uint8_values': values}) == Arrays(
        uint8_values=np.array([1, 2, 255], np.uint8)
    )
    assert to_message(Arrays, {'byte_values': values}).byte_values == [b'\x01', b'\x02', b'\xff']


@pytest.mark.parametrize(
    ('message_class', 'field', 'values', 'error'),
    [
        (LaserScan, 'ranges', np.array([0, np.nan]), f'ranges[1]: {FLOAT32}, got nan'),
        (LaserScan, 'ranges', array.array('f', [0, np.inf]), f'ranges[1]: {FLOAT32}, got inf'),
        (LaserScan, 'ranges', np.array([0, 1e39]), f'ranges[1]: {FLOAT32}, got 1e+39'),
        (LaserScan, 'ranges', np.array([True]), f'ranges[0]: {FLOAT32}, got True'),
        (LaserScan, 'ranges', np.array(['1']), f"ranges[0]: {FLOAT32}, got '1'"),
        (LaserScan, 'ranges', np.array([1j]), f'ranges[0]: {FLOAT32}, got 1j'),
        (LaserScan, 'ranges', array.array('u', 'ab'), f"ranges[0]: {FLOAT32}, got 'a'"),
        (LaserScan, 'ranges', np.ones((2, 2)), 'ranges: expected an array of one dimension, '
         'got one of 2'),
        (LaserScan, 'ranges', np.array(1.0), 'ranges: expected an array of one dimension, '
         'got one of 0'),
        (UnboundedSequences, 'int8_values', np.array([1, 128]), 'int8_values[1]: expected an '
         'integer from -128 to 127, got 128'),
        (UnboundedSequences, 'int8_values', np.array([1, 0.5]), 'int8_values[1]: expected an '
         'integer from -128 to 127, got 0.5'),
        (UnboundedSequences, 'int8_values', np.array([1, np.nan]), 'int8_values[1]: expected '
         'an integer from -128 to 127, got nan'),
        (UnboundedSequences, 'int64_values', np.array([2**63], np.uint64), 'int64_values[0]: '
         'expected an integer from -9223372036854775808 to 9223372036854775807, '
         'got 9223372036854775808'),
        (UnboundedSequences, 'uint64_values', np.array([2.0**64]), 'uint64_values[0]: expected '
         'an integer from 0 to 18446744073709551615, got 1.8446744073709552e+19'),
        (Arrays, 'int8_values', np.array([1, 2]), 'int8_values: expected 3 items, got 2'),
        (BoundedSequences, 'float32_values', array.array('f', [0] * 4), 'float32_values: '
         'expected at most 3 items, got 4'),
    ],
)  # fmt: skip
def test_numeric_arrays_are_checked(
    message_class: type[Any], field: str, values: Any, error: str
) -> None:
    assert refused(message_class, {field: values}) == error


@quick
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=5))
def test_any_form_of_numbers_gives_the_same_array(values: list[float]) -> None:
    forms = [values, tuple(values), np.array(values, np.float32), array.array('d', values)]
    first, *rest = [to_message(LaserScan, {'ranges': form}) for form in forms]
    assert first.ranges == array.array('f', values)
    assert all(ros_types.same(other, first) for other in rest)


@pytest.mark.parametrize('form', [list, tuple, np.array])
def test_numbers_at_the_edge_of_their_type_are_told_apart(form: Any) -> None:
    just_above = float(np.nextafter(np.float64(FLOAT32_MAX), np.inf))
    assert refused(LaserScan, {'ranges': form([0.0, just_above])}) == (
        f'ranges[1]: {FLOAT32}, got {just_above!r}'
    )
    assert refused(LaserScan, {'range_max': just_above}).startswith('range_max: expected')
    largest = [1.7e308, 1.7e308, -1.7e308]
    made = to_message(Float64MultiArray, {'data': form(largest)})
    assert made.data == array.array('d', largest)
    assert to_json(made)['data'] == largest


@pytest.mark.filterwarnings('error')
def test_large_numbers_in_numpy_arrays_fit_without_a_warning() -> None:
    large = np.full(600_000, 3e38, np.float32)
    assert to_message(LaserScan, {'ranges': large}).ranges == array.array('f', large.tolist())
    long = np.arange(600_000, dtype=np.float32)
    assert to_message(LaserScan, {'ranges': long}).ranges == array.array('f', long.tolist())
    large[-1] = np.inf
    assert refused(LaserScan, {'ranges': large}) == f'ranges[599999]: {FLOAT32}, got inf'


@pytest.mark.parametrize(
    'values', [np.zeros((0,)), np.zeros(6)[::2], np.zeros(3, '>f8')], ids=repr
)
def test_numpy_arrays_of_any_layout_go_in(values: Any) -> None:
    made = to_message(Float64MultiArray, {'data': values})
    assert made.data == array.array('d', values.tolist())


def test_messages_share_no_part() -> None:
    one, other = (to_message(PoseStamped, {'pose': {'position': {'x': x}}}) for x in (1, 2))
    assert (one.pose.position.x, other.pose.position.x) == (1.0, 2.0)
    assert PoseStamped().pose.position.x == 0.0


def test_a_message_keeps_nothing_of_what_it_was_made_from() -> None:
    covariance = np.zeros(36)
    data = array.array('d', [1.0])
    pose = to_message(PoseWithCovariance, {'covariance': covariance})
    many = to_message(Float64MultiArray, {'data': data})
    covariance[0] = data[0] = 5.0
    assert pose.covariance[0] == 0.0
    assert many.data[0] == 1.0


def test_long_values_are_cut_short_in_errors() -> None:
    error = refused(String, {'data': [list(range(10_000))] * 10_000})
    assert error.startswith('data: expected a string, got [[0, 1, 2')
    assert len(error) < 400
