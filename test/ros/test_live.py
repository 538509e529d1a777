"""A tool file held against a graph: each fault by its line, and the name perhaps meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float32
from std_srvs.srv import SetBool, Trigger

from nemotron_ros.bridge.graph import Endpoint, Graph, Topic
from nemotron_ros.bridge.live import check_live, full_name
from nemotron_ros.cli import main, tool_scaffold
from nemotron_ros.tools.tool_file import load

FILE = """\
robot: bench
tools:
  drive:
    description: Drive.
    topic:
      name: cmd_vel
      type: geometry_msgs/msg/Twist
      rate_hz: 10
      until:
        topic: odom
        type: nav_msgs/msg/Odometry
        when: "{{ now.pose.pose.position.x > 1 }}"
        within_s: 5
      then: {}
    guard: {exclusive: motion}
  dock:
    description: Dock.
    service:
      name: dock
      type: std_srvs/srv/Trigger
      then: {topic: /halt, type: std_msgs/msg/Empty}
  go_to:
    description: Go.
    action: {name: ~/go_to, type: bench_msgs/action/GoTo, timeout_s: 5}
  get_level:
    description: Level.
    read: {topic: level, type: std_msgs/msg/Float32, value: "{{ data }}"}
  later:
    description: Later.
    enabled: false
    service: {name: not_there_yet, type: std_srvs/srv/Trigger}
conditions:
  warm: {topic: warmth, type: std_msgs/msg/Float32, max_age_s: 1}
estop: {topic: estop, heartbeat: {topic: beat, type: std_msgs/msg/Empty, max_silence_s: 1}}
limits: {fence: {frame: map, rectangle: {x: [0, 1], y: [0, 1]},
                 pose: {topic: where, type: nav_msgs/msg/Odometry}}}
"""


def end(type_name: str, **qos: object) -> Endpoint:
    return Endpoint('/base', type_name, QoSProfile(**{'depth': 1, **qos}))


def told(type_name: str, **qos: object) -> Topic:
    return Topic(publishers=(end(type_name, **qos),))


def heard(type_name: str, **qos: object) -> Topic:
    return Topic(subscriptions=(end(type_name, **qos),))


WHOLE = Graph(
    topics={
        '/cmd_vel': heard('geometry_msgs/msg/Twist'),
        '/odom': told('nav_msgs/msg/Odometry', reliability=ReliabilityPolicy.BEST_EFFORT),
        '/halt': heard('std_msgs/msg/Empty', durability=DurabilityPolicy.TRANSIENT_LOCAL),
        '/level': told('std_msgs/msg/Float32', durability=DurabilityPolicy.TRANSIENT_LOCAL),
        '/warmth': told('std_msgs/msg/Float32'),
        '/estop': told('std_msgs/msg/Bool'),
        '/beat': told('std_msgs/msg/Empty'),
        '/where': told('nav_msgs/msg/Odometry'),
    },
    services={'/dock': ('std_srvs/srv/Trigger',)},
    actions={'/nemotron/go_to': ('bench_msgs/action/GoTo',)},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the path of a tool file with one tool of each kind."""
    path = tmp_path / 'tools.yaml'
    path.write_text(FILE)
    return path


def told_of(file: Path, graph: Graph, namespace: str = '') -> list[str]:
    """Return each finding on a line: place, fault, problem and nearest name."""
    return [
        f'{found.where.rsplit(":", 1)[1]} {found.path}: {found.fault}: {found.problem}'
        + (f' ~ {found.nearest}' if found.nearest else '')
        for found in check_live(load(file), graph, namespace)
    ]


def without(graph: Graph, *names: str, **others: Topic) -> Graph:
    """Return a graph without some names, and with other topics; ``a__b`` stands for ``/a/b``."""
    more = {f'/{name.replace("__", "/")}': topic for name, topic in others.items()}
    kept = {name: topic for name, topic in graph.topics.items() if name not in names}
    return Graph(
        {**kept, **more},
        {name: types for name, types in graph.services.items() if name not in names},
        {name: types for name, types in graph.actions.items() if name not in names},
    )


def test_what_is_all_there_has_no_faults(file: Path) -> None:
    assert told_of(file, WHOLE) == []


def test_an_empty_graph_misses_everything_but_what_is_disabled(file: Path) -> None:
    assert told_of(file, Graph()) == [
        '6 tools.drive.topic.name: missing: no subscriber of /cmd_vel',
        '10 tools.drive.topic.until.topic: missing: no publisher of /odom',
        '19 tools.dock.service.name: missing: no service server of /dock',
        '21 tools.dock.service.then.topic: missing: no subscriber of /halt',
        '24 tools.go_to.action.name: missing: no action server of /nemotron/go_to',
        '27 tools.get_level.read.topic: missing: no publisher of /level',
        '33 conditions.warm.topic: missing: no publisher of /warmth',
        '36 limits.fence.pose.topic: missing: no publisher of /where',
        '34 estop.topic: missing: no publisher of /estop',
        '34 estop.heartbeat.topic: missing: no publisher of /beat',
    ]


def test_a_namespace_is_that_of_the_node(file: Path) -> None:
    first, *_ = told_of(file, WHOLE, '/robot_1')
    assert first.startswith('6 tools.drive.topic.name: missing: no subscriber of /robot_1/cmd_vel')
    assert full_name('~/a', 'robot_1') == '/robot_1/nemotron/a'
    assert full_name('/a/b', 'robot_1') == '/a/b'


def test_a_name_like_it_of_the_same_type_is_nearest(file: Path) -> None:
    graph = without(
        WHOLE,
        *('/odom', '/dock', '/cmd_vel'),
        base__odometry=told('nav_msgs/msg/Odometry'),
        cmd_vel_safe=heard('geometry_msgs/msg/Twist'),
        cmd_vel_stamped=heard('geometry_msgs/msg/TwistStamped'),
        odom_2=told('std_msgs/msg/Float32'),
    )
    graph = Graph(graph.topics, {'/docks': ('std_srvs/srv/SetBool',)}, graph.actions)
    assert told_of(file, graph) == [
        '6 tools.drive.topic.name: missing: no subscriber of /cmd_vel ~ /cmd_vel_safe',
        '10 tools.drive.topic.until.topic: missing: no publisher of /odom ~ /base/odometry',
        '19 tools.dock.service.name: missing: no service server of /dock ~ /docks',
    ]


READS = """\
robot: bench
tools:
  look: {description: L., read: {scan: {topic: scan}}}
  see: {description: S., read: {image: {topic: ~/image}}}
  where: {description: W., read: {transform: {target: map, source: base}}}
  know:
    description: K.
    read:
      several:
        speed: {parameter: {node: planner, name: speed}}
        level: {topic: level, type: std_msgs/msg/Float32, value: "{{ data }}"}
  do:
    description: D.
    plugin: {use: bench, timeout_s: 1, then: {topic: halt, type: std_msgs/msg/Empty}}
"""


def test_each_kind_of_read_and_a_plugin_is_looked_for(file: Path) -> None:
    file.write_text(READS)
    assert told_of(file, Graph()) == [
        '3 tools.look.read.scan.topic: missing: no publisher of /scan',
        '4 tools.see.read.image.topic: missing: no publisher of /nemotron/image',
        '5 tools.where.read.transform: missing: no publisher of /tf',
        '10 tools.know.read.several.speed.parameter.node: missing: no service server of '
        '/planner/get_parameters',
        '11 tools.know.read.several.level.topic: missing: no publisher of /level',
        '14 tools.do.plugin.then.topic: missing: no subscriber of /halt',
    ]


def test_the_wrong_side_is_nobody(file: Path) -> None:
    graph = without(WHOLE, cmd_vel=told('geometry_msgs/msg/Twist'))
    assert told_of(file, graph) == ['6 tools.drive.topic.name: nobody: no subscriber of /cmd_vel']


def test_another_type_is_told(file: Path) -> None:
    graph = without(WHOLE, cmd_vel=heard('geometry_msgs/msg/TwistStamped'))
    graph = Graph(graph.topics, {'/dock': ('std_srvs/srv/SetBool',)}, graph.actions)
    assert told_of(file, graph) == [
        '6 tools.drive.topic.name: mistyped: /cmd_vel is geometry_msgs/msg/TwistStamped',
        '19 tools.dock.service.name: mistyped: /dock is std_srvs/srv/SetBool',
    ]


@pytest.mark.parametrize(
    ('qos', 'reason'),
    [
        ({'deadline': Duration(seconds=1)}, 'deadline'),
        ({'liveliness': LivelinessPolicy.MANUAL_BY_TOPIC}, 'iveliness'),
    ],
)
def test_qos_that_the_tools_can_not_meet_is_told(
    file: Path, qos: dict[str, object], reason: str
) -> None:
    (fault,) = told_of(file, without(WHOLE, cmd_vel=heard('geometry_msgs/msg/Twist', **qos)))
    assert fault.startswith('6 tools.drive.topic.name: unreachable: /base: ERROR: ')
    assert reason in fault


def test_what_is_wrong_with_a_disabled_tool_is_a_warning(file: Path, capsys) -> None:
    text = READS[: READS.index('  where')]
    file.write_text(
        text + '  later:\n'
        '    description: L.\n'
        '    enabled: false\n'
        '    service: {name: later, type: nowhere_msgs/srv/Later}\n'
    )
    assert main(['tools', 'check', str(file)]) == 0
    said = capsys.readouterr()
    assert said.out == f'{file}: 2 tools and 1 disabled, no problem found\n'
    assert said.err.startswith(f'{file}:8: tools.later.service.type: the package nowhere_msgs is')
    assert said.err.endswith(' (warning)\n')


# On DDS


def test_check_live_on_a_real_graph(ros, file: Path, tmp_path: Path, capsys) -> None:
    base = ros.node('base')
    base.create_subscription(Twist, 'cmd_vel', lambda _: None, 1)
    base.create_publisher(Odometry, 'base_odom', 1)
    base.create_publisher(Float32, 'level', 1)
    base.create_service(SetBool, 'dock', lambda _, answer: answer)
    assert main(['tools', 'check', '--live', '--json', str(file)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document['tools'], document['disabled']) == (4, 1)
    assert len(document['problems']) == 1  # bench_msgs is nowhere
    found = {finding['path']: finding for finding in document['live']}
    assert 'tools.drive.topic.name' not in found
    assert 'tools.get_level.read.topic' not in found
    odom = found['tools.drive.topic.until.topic']
    assert odom['where'] == f'{file}:10'
    assert (odom['fault'], odom['needs']) == ('missing', 'publisher')
    assert (odom['name'], odom['nearest']) == ('/odom', '/base_odom')
    assert found['tools.dock.service.name']['fault'] == 'mistyped'


def test_what_scaffold_writes_passes_check_live(ros, tmp_path: Path, capsys) -> None:
    base = ros.node('base')
    base.create_subscription(Twist, 'cmd_vel', lambda _: None, 1)
    base.create_publisher(Odometry, 'odom', 1)
    base.create_service(Trigger, 'dock', lambda _, answer: answer)
    client = ros.node('somebody')
    client.create_client(Trigger, 'nobody_serves_this')
    output = tmp_path / 'my_robot.yaml'
    assert main(['tools', 'scaffold', '--output', str(output)]) == 0
    assert '3 tools' in capsys.readouterr().out
    robot = load(output)
    assert (list(robot.tools), list(robot.disabled)) == (['get_odom'], ['send_cmd_vel', 'dock'])
    assert main(['tools', 'check', '--live', str(output)]) == 0
    told = capsys.readouterr().out
    assert '1 tools and 2 disabled, no problem found, each within reach' in told
    assert main(['tools', 'scaffold', '--output', str(output)]) == 1
    assert 'is there already; name a new file' in capsys.readouterr().err


def test_nothing_on_ros_is_told_and_no_file_is_left(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_scaffold, 'DISCOVERY_S', 0.5)
    output = tmp_path / 'my_robot.yaml'
    assert main(['tools', 'scaffold', '--output', str(output)]) == 1
    assert 'nothing was found on ROS that could be a tool' in capsys.readouterr().err
    assert not output.exists()
