"""The schema of a ROS type says what the converter takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import ros_types
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovariance, Twist, TwistStamped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from sensor_msgs.msg import BatteryState, Image, NavSatStatus, PointField, Range
from shape_msgs.msg import SolidPrimitive
from std_msgs.msg import Empty
from std_srvs.srv import SetBool
from test_msgs.action import Fibonacci
from test_msgs.msg import Arrays, BasicTypes, BoundedSequences, Constants, Defaults, Strings
from unique_identifier_msgs.msg import UUID
from visualization_msgs.msg import Marker

from nemotron_ros.bridge.convert import ConvertError, to_json, to_message
from nemotron_ros.bridge.fields import Byte, Many, type_name
from nemotron_ros.bridge.schema import field_schema, schema_of

quick = settings(
    max_examples=5,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)


def field(message_class: type[Any], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = schema_of(message_class)['properties'][name]
    return schema


@pytest.mark.parametrize('message_class', ros_types.message_classes(), ids=type_name)
def test_every_type_has_a_valid_schema(message_class: type[Any]) -> None:
    schema = schema_of(message_class)
    Draft202012Validator.check_schema(schema)
    assert schema['title'] == type_name(message_class)
    assert '$ref' not in json.dumps(schema)
    Draft202012Validator(schema).validate(to_json(message_class()))


@pytest.mark.parametrize('message_class', ros_types.message_classes(), ids=type_name)
def test_what_the_schema_accepts_converts_and_comes_back_accepted(
    message_class: type[Any],
) -> None:
    schema = schema_of(message_class)
    validator = Draft202012Validator(schema)

    @quick
    @given(ros_types.json_values(schema))
    def holds(data: Any) -> None:
        validator.validate(data)
        message = to_message(message_class, data)
        validator.validate(to_json(message))

    holds()


@pytest.mark.parametrize('message_class', ros_types.message_classes(), ids=type_name)
def test_finite_messages_are_accepted(message_class: type[Any]) -> None:
    schema = schema_of(message_class)
    other_than_enums = Draft202012Validator(_without_enums(schema))

    @settings(quick, max_examples=3)
    @given(ros_types.messages(message_class, finite=True))
    def holds(message: Any) -> None:
        other_than_enums.validate(to_json(message))

    holds()


def _without_enums(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_enums(value) for key, value in schema.items() if key != 'enum'}
    return schema


@settings(quick, max_examples=300)
@given(
    st.sampled_from([(UUID, 'uuid'), (BoundedSequences, 'uint8_values'), (Image, 'data')]),
    st.binary(max_size=30) | st.binary(min_size=15, max_size=17),
)
def test_base64_of_a_wrong_size_is_not_accepted(
    place: tuple[type[Any], str], octets: bytes
) -> None:
    message_class, name = place
    data = {name: to_json(Image(data=list(octets)))['data']}
    accepted = Draft202012Validator(schema_of(message_class)).is_valid(data)
    try:
        to_message(message_class, data)
    except ConvertError:
        assert not accepted
    else:
        assert accepted


@pytest.mark.parametrize('size', range(8))
def test_base64_patterns_are_exact(size: int) -> None:
    fixed = Draft202012Validator(field_schema(Many(Byte(), size, size)))
    bounded = Draft202012Validator(field_schema(Many(Byte(), 0, size)))
    for length in range(12):
        text = to_json(Image(data=[0] * length))['data']
        assert fixed.is_valid(text) == (length == size)
        assert bounded.is_valid(text) == (length <= size)
    assert not bounded.is_valid('A')
    assert not bounded.is_valid('=')


def test_the_schema_of_a_twist() -> None:
    vector = {
        'title': 'geometry_msgs/msg/Vector3',
        'type': 'object',
        'properties': {name: {'type': 'number'} for name in 'xyz'},
        'additionalProperties': False,
    }
    assert schema_of(Twist) == {
        'title': 'geometry_msgs/msg/Twist',
        'type': 'object',
        'properties': {'linear': vector, 'angular': vector},
        'additionalProperties': False,
    }


def test_an_empty_message_has_no_properties() -> None:
    assert schema_of(Empty) == {
        'title': 'std_msgs/msg/Empty',
        'type': 'object',
        'properties': {},
        'additionalProperties': False,
    }


def test_parts_of_services_and_actions_have_schemas() -> None:
    assert schema_of(SetBool.Request)['title'] == 'std_srvs/srv/SetBool_Request'
    assert schema_of(Fibonacci.Goal)['title'] == 'test_msgs/action/Fibonacci_Goal'
    assert field(Fibonacci.Goal, 'order')['maximum'] == 2**31 - 1


@pytest.mark.parametrize('bits', [8, 16, 32, 64])
def test_integers_have_their_exact_range(bits: int) -> None:
    assert field(BasicTypes, f'uint{bits}_value') == {
        'type': 'integer', 'minimum': 0, 'maximum': 2**bits - 1,
    }  # fmt: skip
    assert field(BasicTypes, f'int{bits}_value') == {
        'type': 'integer', 'minimum': -(2 ** (bits - 1)), 'maximum': 2 ** (bits - 1) - 1,
    }  # fmt: skip


def test_bytes_and_chars_are_small_integers() -> None:
    for name in ('byte_value', 'char_value'):
        assert field(BasicTypes, name) == {'type': 'integer', 'minimum': 0, 'maximum': 255}


def test_times_have_less_than_a_second_of_nanoseconds() -> None:
    stamp = field(TwistStamped, 'header')['properties']['stamp']
    for schema in (stamp, schema_of(Duration)):
        assert schema['properties'] == {
            'sec': {'type': 'integer', 'minimum': -(2**31), 'maximum': 2**31 - 1},
            'nanosec': {'type': 'integer', 'minimum': 0, 'maximum': 999_999_999},
        }


def test_sizes_are_told() -> None:
    assert field(Strings, 'bounded_string_value')['maxLength'] == 22
    assert 'maxLength' not in field(Strings, 'string_value')
    covariance = field(PoseWithCovariance, 'covariance')
    assert (covariance['minItems'], covariance['maxItems']) == (36, 36)
    bounded = field(BoundedSequences, 'string_values')
    assert 'minItems' not in bounded
    assert bounded['maxItems'] == 3
    uuid = field(UUID, 'uuid')
    assert (uuid['contentEncoding'], uuid['minLength'], uuid['maxLength']) == ('base64', 24, 24)
    assert 'maxLength' not in field(Image, 'data')


def test_defaults_are_told() -> None:
    assert field(Defaults, 'int8_value')['default'] == -50
    assert field(Defaults, 'bool_value')['default'] is True
    assert field(Arrays, 'string_values_default')['default'] == ['', 'max value', 'min value']
    assert field(Arrays, 'uint8_values_default')['default'] == 'AAH/'
    assert 'default' not in field(BasicTypes, 'int8_value')


def test_constants_that_count_the_cases_of_a_field_are_its_enum() -> None:
    status = field(GoalStatus, 'status')
    assert status['enum'] == [0, 1, 2, 3, 4, 5, 6]
    assert 'STATUS_SUCCEEDED = 4' in status['description']
    assert field(DiagnosticStatus, 'level') == {
        'type': 'integer',
        'enum': [0, 1, 2, 3],
        'description': 'OK = 0, WARN = 1, ERROR = 2, STALE = 3.',
    }
    assert field(Range, 'radiation_type')['enum'] == [0, 1]
    battery = schema_of(BatteryState)
    assert battery['properties']['power_supply_health']['enum'] == list(range(9))
    assert 'POWER_SUPPLY_STATUS_FULL' not in json.dumps(
        battery['properties']['power_supply_health']
    )
    assert 'description' not in battery


def test_flags_are_no_enum() -> None:
    service = field(NavSatStatus, 'service')
    assert 'enum' not in service
    assert 'SERVICE_GPS = 1' in service['description']


@pytest.mark.parametrize(
    ('message_class', 'constant'),
    [
        (Marker, 'CUBE = 1'),
        (PointField, 'FLOAT32 = 7'),
        (SolidPrimitive, 'SPHERE = 2'),
        (Strings, 'STRING_CONST = "Hello world!"'),
        (Constants, 'BOOL_CONST = true'),
    ],
)
def test_constants_of_no_one_field_are_told_of_the_message(
    message_class: type[Any], constant: str
) -> None:
    schema = schema_of(message_class)
    assert constant in schema['description']
    for name, part in schema['properties'].items():
        assert not {'enum', 'description'} & set(part), name
