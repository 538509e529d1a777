"""The SROS 2 policy: well formed, complete for the node as it runs, and narrow for the others."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from nemotron_msgs.srv import CallTool
from rclpy.action import (
    get_action_client_names_and_types_by_node,
    get_action_server_names_and_types_by_node,
)
from rclpy.node import Node
from ros_context import Ros
from scripted_node import active_node, ask
from sensor_msgs.msg import BatteryState, LaserScan
from std_msgs.msg import String

from nemotron_ros.bringup import config_path

POLICY = config_path('sros2', 'policy.xml')
# What SROS 2's policy.xsd (version 0.2.0) says: what a list holds, and what may be allowed of it.
LISTS = {
    'topics': ('topic', {'publish', 'subscribe'}),
    'services': ('service', {'reply', 'request'}),
    'actions': ('action', {'execute', 'call'}),
}
NODE = '/nemotron'
# Only there if the parameters or the ROS distribution say so.
NOT_ALWAYS = {
    ('subscribe', '/clock'),
    *(
        ('reply', f'{node}/get_type_description')
        for node in (NODE, f'{NODE}_tools', f'{NODE}_estop')
    ),
}

Rule = tuple[str, str]


def policy_faults(root: ET.Element) -> Iterator[str]:
    """Yield where a policy is none by SROS 2's schema."""
    if (root.tag, root.attrib) != ('policy', {'version': '0.2.0'}):
        yield f'policy: version 0.2.0 expected, got {root.tag} {root.attrib}'
    if [child.tag for child in root] != ['enclaves'] or not len(root[0]):
        yield 'policy: one enclaves expected, with at least one enclave'
        return
    for enclave in root[0]:
        path = enclave.get('path', '')
        if enclave.tag != 'enclave' or not path.startswith('/') or set(enclave.attrib) != {'path'}:
            yield f'{enclave.tag}: an enclave with an absolute path expected'
        if not len(enclave):
            yield f'{path}: profiles expected'
        for profiles in enclave:
            if profiles.tag != 'profiles' or not len(profiles):
                yield f'{path}: profiles expected, got {profiles.tag}'
            for profile in profiles:
                if profile.tag != 'profile' or set(profile.attrib) != {'ns', 'node'}:
                    yield f'{path}: a profile with ns and node expected'
                for rules in profile:
                    yield from list_faults(rules, path)


def list_faults(rules: ET.Element, path: str) -> Iterator[str]:
    if rules.tag not in LISTS:
        yield f'{path}: {rules.tag}: one of {", ".join(LISTS)} expected'
        return
    item, ways = LISTS[rules.tag]
    if not rules.attrib or not set(rules.attrib) <= ways:
        yield f'{path}: {rules.tag}: some of {sorted(ways)} expected, got {rules.attrib}'
    if not set(rules.attrib.values()) <= {'ALLOW', 'DENY'}:
        yield f'{path}: {rules.tag}: ALLOW or DENY expected, got {rules.attrib}'
    if not len(rules):
        yield f'{path}: {rules.tag}: at least one {item} expected'
    for entry in rules:
        name = entry.text or ''
        if entry.tag != item or entry.attrib or name != name.strip() or not name or '*' in name:
            yield f'{path}: {rules.tag}: {entry.tag} {name!r}: one full name expected'


def allowed(path: str) -> set[Rule]:
    """Return what an enclave may do, with full names as SROS 2 makes them."""
    rules = set()
    for profile in ET.parse(POLICY).getroot().iterfind(f".//enclave[@path='{path}']//profile"):
        ns, node = profile.get('ns', '').rstrip('/'), profile.get('node', '')
        for list_ in profile:
            for way, word in list_.attrib.items():
                assert word == 'ALLOW', 'a policy denies by default'
                for entry in list_:
                    name = entry.text or ''
                    if name.startswith('~'):
                        name = f'{ns}/{node}{name[1:]}'
                    rules.add((way, name if name.startswith('/') else f'{ns}/{name}'))
    return rules


def at_run_time(seen_by: Node) -> set[Rule]:
    """Return what another node sees the running one's process do in the graph."""
    found = set()
    for name, ns in seen_by.get_node_names_and_namespaces():
        if not name.startswith('nemotron'):
            continue
        for way, names in (
            ('publish', seen_by.get_publisher_names_and_types_by_node(name, ns)),
            ('subscribe', seen_by.get_subscriber_names_and_types_by_node(name, ns)),
            ('reply', seen_by.get_service_names_and_types_by_node(name, ns)),
            ('request', seen_by.get_client_names_and_types_by_node(name, ns)),
            ('execute', get_action_server_names_and_types_by_node(seen_by, name, ns)),
            ('call', get_action_client_names_and_types_by_node(seen_by, name, ns)),
        ):
            found |= {(way, full) for full, _ in names if '/_action/' not in full}
    return found


@pytest.fixture(scope='module')
def root() -> ET.Element:
    return ET.parse(POLICY).getroot()


def test_the_policy_is_one_by_the_schema(root):
    assert list(policy_faults(root)) == []


@pytest.mark.parametrize(
    ('right', 'wrong'),
    [
        ('version="0.2.0"', 'version="1"'),
        ('enclave path="/nemotron"', 'enclave path="nemotron"'),
        ('ns="/" node="nemotron"', 'node="nemotron"'),
        ('<actions execute="ALLOW">', '<actions execute="YES">'),
        ('<actions execute="ALLOW">', '<actions reply="ALLOW">'),
        ('<actions execute="ALLOW">', '<actions>'),
        ('<topic>odom</topic>', '<topic>*</topic>'),
        ('<topic>odom</topic>', '<service>odom</service>'),
    ],
)
def test_a_policy_that_is_none_is_found(right, wrong):
    text = POLICY.read_text()
    assert right in text
    assert list(policy_faults(ET.fromstring(text.replace(right, wrong, 1))))


def use_every_tool(ros: Ros) -> None:
    """Call each tool of the headless robot, so that all that it needs of ROS comes into being."""
    robot = ros.node('robot')
    odom = robot.create_publisher(Odometry, 'odom', 10)
    battery = robot.create_publisher(BatteryState, 'battery_state', 10)
    robot.create_publisher(LaserScan, 'scan', 10)  # what nobody publishes, nobody subscribes to
    robot.create_publisher(String, 'gripper_holding', 10)
    for kind, topic in ((PoseStamped, 'goal_pose'), (String, 'pick_object')):
        robot.create_subscription(kind, topic, lambda _: None, 10)
    where = Odometry()
    where.header.frame_id = 'odom'
    where.pose.pose.orientation.w = 1.0

    def tell() -> None:
        odom.publish(where)
        battery.publish(BatteryState(percentage=0.8))

    robot.create_timer(0.05, tell)
    for name, arguments in (
        ('get_battery', {}),
        ('drive', {'direction': 'forward', 'distance_m': 1.0}),
        ('go_to', {'place': 'hall'}),
        ('pick_up', {'object': 'cup'}),
        ('say', {'text': 'Hello.'}),
        ('look_ahead', {}),
    ):
        request = CallTool.Request(name=name, arguments=json.dumps(arguments), timeout_s=0.5)
        result = ask(robot, CallTool, 'nemotron/call_tool', request).result
        assert result.status not in (result.STATUS_DENIED, result.STATUS_INVALID), result.error


def test_no_topic_service_or_action_of_the_node_is_missing_and_none_is_too_much(ros, eventually):
    active_node(ros, tool_file=str(config_path('tools', 'headless_robot.yaml')))
    witness = ros.node('witness')
    seen: set[Rule] = set()

    def look() -> bool:
        seen.update(at_run_time(witness))
        return allowed(NODE) - NOT_ALWAYS <= seen

    eventually(lambda: look() or bool(seen))
    use_every_tool(ros)
    with suppress(AssertionError):  # told below, by name
        eventually(look)
    assert allowed(NODE) - NOT_ALWAYS - seen == set()
    assert seen - allowed(NODE) == set()


@pytest.mark.parametrize(
    ('what', 'who'),
    [
        (('call', '/nemotron/execute_command'), {'operator', 'client'}),
        (('request', '/nemotron/call_tool'), {'operator'}),
        (('request', '/nemotron/confirm'), {'operator'}),
        (('request', '/nemotron/clear_stop'), {'operator'}),
        (('request', '/nemotron/stop'), {'operator', 'client', 'stop'}),
        (('publish', '/e_stop'), {'stop'}),
        (('request', '/nemotron/change_state'), {'manager'}),
        (('request', '/nemotron/reload_tools'), {'manager'}),
        (('request', '/nemotron/set_parameters'), {'manager'}),
        (('request', '/nemotron/set_parameters_atomically'), {'manager'}),
        (('publish', '/cmd_vel'), set()),
    ],
)
def test_who_may_do_what(root, what, who):
    others = {enclave.get('path', '') for enclave in root.iter('enclave')} - {NODE}
    assert {path for path in others if what in allowed(path)} == {f'/nemotron_{w}' for w in who}


def test_no_other_enclave_may_do_what_the_node_does_not_offer(root):
    mine = allowed(NODE)
    answered = {'request': 'reply', 'call': 'execute'}
    for enclave in root.iter('enclave'):
        path = enclave.get('path', '')
        if path != NODE:
            asked = {(answered[way], name) for way, name in allowed(path) if way in answered}
            assert asked <= mine, path
