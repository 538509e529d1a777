"""What users of other bridges between language models and ROS complain about, at the node's door.

Each test has the number and the words of its complaint. Those of engines and of files are in
``test/unit/test_complaints.py``.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from action_msgs.msg import GoalStatus, GoalStatusArray
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import EngineStatus, Event, ToolResult
from nemotron_msgs.srv import CallTool, ListTools
from plugin_package import install
from rclpy.duration import Duration
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_context import Ros
from scripted_node import active_node, ask
from servers import FibonacciServer, SwitchServer, UndecidedServer, VelocityLog
from std_msgs.msg import Empty, Float32
from std_srvs.srv import Trigger
from threads import in_thread

from nemotron_ros.bridge import action, executor
from nemotron_ros.bridge.graph import settled
from nemotron_ros.bridge.live import check_live
from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient
from nemotron_ros.node import NemotronNode
from nemotron_ros.tools.tool_file import load

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / 'test/fixtures'
BENCH_TOOLS = str(FIXTURES / 'tools_bench.yaml')
R = ExecuteCommand.Result
S = ToolResult
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
SOON_S = 5.0
SLACK_S = 1.0
"""What a busy machine may add to a deadline."""

TOOLS = f"""
include: [{FIXTURES / 'tools_faults.yaml'}]
robot: complaints
tools:
  open_door:
    description: Open the door.
    topic: {{name: door, type: std_msgs/msg/Empty}}
    guard: {{confirm: true, confirm_within_s: 1}}
  count_in_time:
    description: Count for half a second at most.
    action: {{name: fibonacci, type: test_msgs/action/Fibonacci, goal: {{order: 1000}},
             timeout_s: 0.5}}
  get_level:
    description: The level.
    read: {{topic: level, type: std_msgs/msg/Float32, value: "{{{{ data }}}}", max_age_s: 2}}
  lift:
    description: Lift the arm.
    plugin: {{use: fails, timeout_s: 2}}
"""
WORDS = ' '.join(f'word{number}' for number in range(100))
SCRIPT = f"""
- {{when: '"tool": "beep"', calls: [{{name: beep, arguments: {{}}}}]}}
- {{when: '"status"', text: Done.}}
- {{when: think, text: I think., delay_s: 60}}
- {{when: talk, text: {WORDS}, delay_s: 10}}
- {{when: beep, calls: [{{name: beep, arguments: {{}}}}]}}
- {{when: drive, calls: [{{name: drive, arguments: {{seconds: 10}}}}]}}
- {{when: door, calls: [{{name: open_door, arguments: {{}}}}]}}
- {{when: switch, calls: [{{name: switch, arguments: {{'on': true}}}}]}}
- {{when: slowly, calls: [{{name: count, arguments: {{order: 1000}}}}], delay_s: 0.5}}
- {{when: count a little, calls: [{{name: count, arguments: {{order: 20}}}}]}}
- {{when: count, calls: [{{name: count, arguments: {{order: 1000}}}}]}}
- {{when: begin, calls: [{{name: begin, arguments: {{}}}}]}}
- {{when: lift, calls: [{{name: lift, arguments: {{}}}}]}}
- {{when: zero, calls: [{{name: drive, arguments: {{seconds: 0}}}}]}}
- {{when: minus, calls: [{{name: drive, arguments: {{seconds: -1}}}}]}}
- {{when: nan, calls: [{{name: drive, arguments: {{seconds: .nan}}}}]}}
- {{when: infinity, calls: [{{name: drive, arguments: {{seconds: .inf}}}}]}}
- {{when: 'true', calls: [{{name: drive, arguments: {{seconds: true}}}}]}}
- {{when: call a method, calls: [{{name: halt, arguments: {{}}}}]}}
"""


@pytest.fixture(scope='module')
def bench(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """Give an active node with a place to wait, all that its tools speak to, and a client."""
    folder: Path = tmp_path_factory.mktemp('complaints')
    (folder / 'tools.yaml').write_text(TOOLS)
    (folder / 'script.yaml').write_text(SCRIPT)
    ros = Ros()
    with pytest.MonkeyPatch.context() as patch:
        install(patch, folder / 'site')
        node = active_node(
            ros,
            tool_file=str(folder / 'tools.yaml'),
            script=str(folder / 'script.yaml'),
            max_queued=1,
        )
    body, outside = ros.node('body'), ros.node('outside')
    base = VelocityLog(body)
    beeps: list[Empty] = []
    opened: list[Empty] = []
    body.create_subscription(Empty, 'beep', beeps.append, 10)
    body.create_subscription(Empty, 'door', opened.append, 10)
    ends: dict[str, int] = {}
    outside.create_subscription(
        GoalStatusArray,
        'nemotron/execute_command/_action/status',
        lambda told: ends.update(
            {bytes(s.goal_info.goal_id.uuid).hex(): s.status for s in told.status_list}
        ),
        QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    client, other = (CommandClient(ros.node(name)) for name in ('client', 'other'))
    client.wait_ready(10.0)
    other.wait_ready(10.0)

    def call(name: str, arguments: str = '{}', timeout_s: float = 20.0) -> ToolResult:
        request = CallTool.Request(name=name, arguments=arguments, timeout_s=timeout_s)
        return ask(outside, CallTool, 'nemotron/call_tool', request).result

    def trigger(name: str) -> bool:
        return ask(outside, Trigger, f'nemotron/{name}', Trigger.Request()).success

    yield SimpleNamespace(
        ros=ros, node=node, outside=outside, base=base, beeps=beeps, opened=opened, ends=ends,
        client=client, other=other, call=call, trigger=trigger, tool_file=folder / 'tools.yaml',
        switch=SwitchServer(ros.node('switches')), counter=FibonacciServer(ros.node('counter')),
        undecided=UndecidedServer(ros.node('ditherer')),
    )  # fmt: skip
    node.trigger_shutdown()
    ros.close()


@pytest.fixture
def robot(bench) -> SimpleNamespace:
    """Give the node at rest, nothing heard yet, and a way to send commands that keeps events."""
    events: list[Event] = []

    def send(command: str, cancel: CancelToken | None = None, **fields: object) -> R:
        goal = ExecuteCommand.Goal(command=command, **fields)
        return bench.client.send(goal, events.append, cancel or CancelToken(30.0))

    for heard in (bench.base.speeds, bench.beeps, bench.opened):
        heard.clear()
    bench.undecided.decide.set()
    bench.counter.mode = 'good'
    return SimpleNamespace(**vars(bench), send=send, events=events)


def wait_until(condition, what: str) -> None:
    assert until_true(condition, SOON_S, CancelToken(SOON_S)), what


def refusal(ros: Ros, **parameters: object) -> str:
    """Return why a node does not become configured; it stays whole, and can be asked again."""
    node = NemotronNode(
        context=ros.context,
        namespace='refused',  # apart from the node of the other tests
        parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()],
    )
    ros.add(node)
    states: list[EngineStatus] = []
    ros.node('watch').create_subscription(
        EngineStatus, '/refused/nemotron/engine_status', states.append, LATCHED
    )
    for _ in range(2):
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    wait_until(lambda: bool(states), 'it says why')
    assert states[-1].state == EngineStatus.STATE_FAILED
    return states[-1].message


def refused_file(ros: Ros, folder: Path, tools: str) -> str:
    """Return why a node does not take a tool file."""
    path = folder / 'tools.yaml'
    path.write_text(f'robot: r\ntools:\n{tools}')
    return refusal(ros, engine='scripted', tool_file=str(path))


UNBOUNDED = """
  drive:
    description: Drive.
    parameters: {speed_mps: {type: number}, wait_s: {type: number, minimum: 0, maximum: 3}}
    topic: {name: cmd_vel, type: geometry_msgs/msg/Twist, rate_hz: 20,
            message: {linear: {x: "{{ speed_mps }}"}}, for_s: "{{ wait_s }}"}
"""


def test_01_unbounded_actuation_no_approval_no_allow_list(robot, ros, tmp_path):
    told = refused_file(ros, tmp_path, UNBOUNDED)
    for needed in ('tools.drive.parameters.speed_mps', 'maximum', 'then'):
        assert needed in told
    assert robot.call('shutdown').status == S.STATUS_INVALID
    nothing = robot.send('drive', allowed_tools=[])
    assert [c.result.status for c in nothing.calls] == [S.STATUS_DENIED]
    unanswered = robot.send('open the door')
    (call,) = unanswered.calls
    assert call.result.error == 'confirmation: nobody said yes within 1 s'
    assert (robot.base.speeds, robot.opened) == ([], [])


KINDS = {
    'beep': '{}',
    'drive': '{"seconds": 1}',
    'switch': '{"on": true}',
    'count': '{"order": 3}',
    'get_level': '{}',
    'lift': '{}',
}
"""A call by each way there is to ROS."""


def test_02_the_gate_covers_publish_but_not_services_or_actions_and_misses_names(robot):
    asked = robot.switch.asked
    for name, arguments in KINDS.items():
        spellings = (
            f'/{name}', f'{name}/', f'/{name}/', f' {name}', f'{name} ', f'~/{name}',
            f'/robot/{name}', name.upper(), f'{name}\u200b', name.replace('e', '\u0435') + '/',
        )  # fmt: skip
        for spelling in spellings:
            assert robot.call(spelling, arguments).status == S.STATUS_INVALID, spelling
    for topic in ('cmd_vel', '/cmd_vel', '/cmd_vel/', 'geometry_msgs/msg/Twist', 'fibonacci'):
        assert robot.call(topic).status == S.STATUS_INVALID
    assert robot.trigger('stop')
    robot.base.speeds.clear()  # the stop's own zero
    try:
        for name, arguments in KINDS.items():
            result = robot.call(name, arguments)
            assert (result.status, result.error[:5]) == (S.STATUS_DENIED, 'stop:'), name
    finally:
        assert robot.trigger('clear_stop')
    assert robot.switch.asked == asked
    assert robot.counter.running == 0
    assert robot.beeps == []
    assert set(robot.base.speeds) <= {0.0}


@pytest.mark.parametrize(
    ('mode', 'status'),
    [
        ('finishes', S.STATUS_SUCCEEDED),
        ('good', S.STATUS_TIMED_OUT),
        ('deaf', S.STATUS_UNKNOWN),
    ],
)
def test_03_timeout_though_the_action_succeeded_and_the_goal_left_running(
    robot, monkeypatch, mode, status
):
    monkeypatch.setattr(action, 'CANCEL_S', 0.4)
    robot.counter.mode = mode
    cancelled = robot.counter.cancelled
    result = robot.call('count_in_time')
    assert result.status == status
    if mode == 'deaf':
        assert 'refused to cancel' in result.error
        robot.counter.release.set()
        wait_until(lambda: robot.counter.running == 0, 'it is let go')
        robot.counter.release.clear()
    # Told after the end, and not before it.
    assert robot.counter.running == 0
    assert robot.counter.cancelled - cancelled == (mode == 'good')


def test_04_the_timeout_covers_discovery_only(robot):
    began_s = time.monotonic()
    command = robot.send('slowly, please', timeout_s=1.0)  # half of it is the model's
    assert time.monotonic() - began_s < 1.0 + SLACK_S
    assert command.status == R.STATUS_TIMED_OUT
    assert [c.result.status for c in command.calls] == [S.STATUS_TIMED_OUT]
    assert command.calls[0].result.duration_s < 0.5 + SLACK_S / 2
    began_s = time.monotonic()
    direct = robot.call('count', '{"order": 1000}', timeout_s=0.4)
    assert time.monotonic() - began_s < 0.4 + SLACK_S
    assert direct.status == S.STATUS_TIMED_OUT
    assert robot.counter.running == 0


@pytest.mark.parametrize('said', ['zero', 'minus', 'nan', 'infinity', 'true'])
def test_05_zero_negative_nan_inf_bool_as_a_number_from_the_model(robot, said):
    result = robot.send(said)
    assert result.status == R.STATUS_NOT_DONE
    (call,) = result.calls
    assert call.result.status == S.STATUS_INVALID
    assert call.result.error.startswith('seconds: ')
    assert robot.base.speeds == []


@pytest.mark.parametrize(
    ('text', 'field'),
    [
        *((number, 'seconds') for number in ('0', '-1', '-0.0', 'true', '"1"', '[1]', 'null')),
        *((number, 'arguments') for number in ('NaN', 'Infinity', '-Infinity', '1e999')),
    ],
)
def test_05_zero_negative_nan_inf_bool_as_a_number_from_another_node(robot, text, field):
    result = robot.call('drive', f'{{"seconds": {text}}}')
    assert result.status == S.STATUS_INVALID
    assert result.error.startswith(f'{field}: ')
    assert robot.base.speeds == []


ANY_TOPIC = """
  publish:
    description: Publish any topic.
    parameters: {name: {enum: [cmd_vel, arm]}, kind: {enum: [std_msgs/msg/Empty]}}
"""


@pytest.mark.parametrize(
    ('way', 'field'),
    [
        ('topic: {name: "{{ name }}", type: std_msgs/msg/Empty}', 'topic.name'),
        ('topic: {name: arm, type: "{{ kind }}"}', 'topic.type'),
        ('service: {name: "{{ name }}", type: std_srvs/srv/Trigger}', 'service.name'),
        (
            'action: {name: "{{ name }}", type: test_msgs/action/Fibonacci, timeout_s: 5}',
            'action.name',
        ),
    ],
)
def test_06_generic_publish_any_topic_tools(ros, tmp_path, way, field):
    assert f'tools.publish.{field}' in refused_file(ros, tmp_path, f'{ANY_TOPIC}    {way}\n')


def test_07_the_same_correct_call_again_and_again(robot):
    result = robot.send('beep')
    assert [c.result.status for c in result.calls] == [S.STATUS_SUCCEEDED, S.STATUS_NOT_RUN]
    assert result.calls[1].result.error == 'this was done in the turn before'
    assert result.status == R.STATUS_NOT_DONE
    assert 'again and again' in result.error
    wait_until(lambda: robot.beeps == [Empty()], 'one beep')


def test_08_no_action_support_or_feedback(robot):
    told_s: list[float] = []

    def note(event: Event) -> None:
        if event.phase == Event.PHASE_EXECUTING and 'sequence' in event.detail:
            told_s.append(time.monotonic())

    goal = ExecuteCommand.Goal(command='count a little')
    result = robot.client.send(goal, note, CancelToken(20.0))
    assert result.status == R.STATUS_SUCCEEDED
    assert len(json.loads(result.calls[0].result.value)['sequence']) == 22
    # Twenty of them come within a second.
    assert 3 <= len(told_s) <= 1 + 2 / action.FEEDBACK_S
    assert max(b - a for a, b in pairwise(told_s)) >= action.FEEDBACK_S / 2


def test_09_reliable_only_qos_gets_no_data_from_a_best_effort_sensor(robot):
    sensor = robot.ros.node('sensor')
    level = sensor.create_publisher(Float32, 'level', BEST_EFFORT)
    timer = sensor.create_timer(0.05, lambda: level.publish(Float32(data=0.5)))
    result = robot.call('get_level')
    timer.cancel()
    assert (result.status, result.value) == (S.STATUS_SUCCEEDED, '0.5')
    # What no publisher of ours can meet is said.
    strict = QoSProfile(depth=1, deadline=Duration(seconds=1))
    subscription = sensor.create_subscription(Empty, 'strict', lambda _: None, strict)
    file = robot.tool_file.with_name('strict.yaml')
    file.write_text(
        'robot: r\ntools: {honk: {description: Honk., '
        'topic: {name: strict, type: std_msgs/msg/Empty}}}'
    )
    graph = settled(robot.outside, 2.0, CancelToken(5.0))
    (finding,) = check_live(load(file), graph)
    sensor.destroy_subscription(subscription)
    assert (finding.fault, finding.name) == ('unreachable', '/strict')
    assert 'deadline' in finding.problem


def test_10_the_model_hub_is_unreachable(ros, tmp_path, monkeypatch):
    reached: list[object] = []
    monkeypatch.setenv('NEMOTRON_MODELS', str(tmp_path))
    monkeypatch.setattr(socket.socket, 'connect', lambda self, where: reached.append(where))
    told = refusal(ros, engine='llama_cpp', model='smollm2-135m', tool_file=BENCH_TOOLS)
    assert 'smollm2-135m' in told
    assert 'nemotron model fetch smollm2-135m' in told
    assert reached == []


PROFILE = """
title: A board that is too small
engine: llama_cpp
model: {catalogue: smollm2-135m}
precision: f16
context_tokens: 4096
max_batch_size: 1
memory: {pool: ram, weights_bytes: 1, kv_bytes_per_token: 1, state_bytes_per_sequence: 0,
         working_bytes: 1125899906842624}
"""


def test_11_8_gb_orin_hangs_on_load(ros, tmp_path):
    pytest.importorskip('gguf', reason='gguf is not installed')
    from leaning_model import write_tiny

    profile, model = tmp_path / 'small.yaml', write_tiny(tmp_path / 'tiny.gguf')
    profile.write_text(PROFILE)
    told = refusal(ros, device=str(profile), model=str(model), tool_file=BENCH_TOOLS)
    assert told.startswith('memory: small needs 1048576.0 GiB')
    assert 'GiB of RAM are free' in told
    assert 'context_tokens' in told


@pytest.mark.parametrize('where', ['the tool', 'the bridge'])
def test_14_an_exception_in_a_tool_and_the_caller_waits_forever(robot, monkeypatch, where):
    def broken(*given: object) -> None:
        raise RuntimeError('the arm is stuck')

    name, arguments = ('lift', '{}') if where == 'the tool' else ('switch', '{"on": true}')
    if where == 'the bridge':
        monkeypatch.setattr(executor, 'call_service', broken)
    began_s = time.monotonic()
    direct = robot.call(name, arguments)
    command = robot.send(f'{name}, please')
    assert time.monotonic() - began_s < 2 * SLACK_S
    assert direct.status == command.calls[0].result.status == S.STATUS_FAILED
    assert 'the arm is stuck' in direct.error
    assert 'the arm is stuck' in command.error
    assert command.status == R.STATUS_NOT_DONE


PHASES = {
    'waiting': ('think', lambda robot, phases: Event.PHASE_QUEUED in phases),
    'generating': ('talk', lambda robot, phases: Event.PHASE_GENERATING in phases),
    'not taken yet': ('begin', lambda robot, phases: robot.undecided.asked > robot.before),
    'executing': ('count', lambda robot, phases: robot.counter.running == 1),
}


@pytest.mark.parametrize('phase', PHASES)
def test_15_cancel_before_accept_is_lost_and_wrong_terminal_status(robot, phase):
    command, there = PHASES[phase]
    robot.before = robot.undecided.asked
    robot.undecided.decide.clear()
    cancel, first = CancelToken(20.0), CancelToken(20.0)
    if phase == 'waiting':
        goal = ExecuteCommand.Goal(command='drive')
        busy = in_thread(lambda: robot.other.send(goal, lambda _: None, first))
        wait_until(lambda: 0.2 in robot.base.speeds, 'the first command drives')
    result = in_thread(lambda: robot.send(command, cancel))
    wait_until(lambda: there(robot, {event.phase for event in list(robot.events)}), phase)
    cancel.cancel()
    robot.undecided.decide.set()
    ended = result()
    assert ended.status == R.STATUS_CANCELED
    assert [c.result.status for c in ended.calls] == (
        [] if phase in ('waiting', 'generating') else [S.STATUS_CANCELED]
    )
    goal_id = robot.events[-1].command_id
    wait_until(lambda: robot.ends.get(goal_id) == GoalStatus.STATUS_CANCELED, 'and ROS is told')
    assert robot.counter.running == 0
    assert robot.undecided.asked == robot.undecided.ended
    if phase == 'waiting':
        first.cancel()
        assert busy().status == R.STATUS_CANCELED


def test_15_cancel_before_the_node_has_accepted_the_command(robot):
    for _ in range(5):
        cancel = CancelToken(20.0)
        cancel.cancel()
        assert robot.send('drive', cancel).status == R.STATUS_CANCELED
        goal_id = robot.events[-1].command_id
        wait_until(lambda g=goal_id: robot.ends.get(g) == GoalStatus.STATUS_CANCELED, 'told')
    wait_until(lambda: robot.base.speeds[-1:] in ([], [0.0]), 'nothing moves')


def test_16_spin_until_future_complete_in_a_callback_detaches_the_node(robot):
    spinner = robot.node.executor
    robot.switch.silent = True
    robot.switch.release.clear()
    asked = robot.switch.asked
    called = in_thread(lambda: robot.call('switch', '{"on": true}'))
    wait_until(lambda: robot.switch.asked > asked, 'the call waits for the service')
    began_s = time.monotonic()
    listed = ask(robot.outside, ListTools, 'nemotron/list_tools', ListTools.Request())
    assert time.monotonic() - began_s < SLACK_S
    assert len(listed.tools) == 10
    robot.switch.silent = False
    robot.switch.release.set()
    assert called().status == S.STATUS_SUCCEEDED
    assert robot.node.executor is spinner is not None
    assert robot.send('switch it on').status == R.STATUS_SUCCEEDED


# Run by a Python that has nothing but what rosdep installs beside ROS.
SYSTEM_ONLY = """
import sys

for name in {blocked!r}:
    sys.modules[name] = None  # to import it fails
sys.path[:0] = {path!r}

from ros_context import Ros
from scripted_node import active_node

ros = Ros()
active_node(ros).trigger_shutdown()
ros.close()
print('it runs')
"""
NO_KEY = {
    'xllamacpp', 'huggingface_hub', 'jsonschema_rs', 'mujoco', 'mcp', 'mcap', 'torch',
    'prometheus_client', 'tensorrt_llm', 'transformers', 'llguidance', 'langchain', 'gguf',
}  # fmt: skip
"""What pip alone installs: no key of rosdep, or one by which pip is run as root."""


def test_17_pip_against_the_system_python():
    manifest = (ROOT / 'package.xml').read_text()
    keys = set(re.findall(r'<exec_depend>(.+)</exec_depend>', manifest))
    assert not [key for key in keys if key.endswith('-pip')]
    code = SYSTEM_ONLY.format(blocked=sorted(NO_KEY), path=[str(ROOT), str(FIXTURES)])
    ended = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=30
    )
    assert ended.stdout == 'it runs\n', ended.stderr


def test_18_dispatch_by_a_name_from_the_model(robot):
    names = (
        'halt', 'execute', 'close', 'trigger_shutdown', '__class__', '__init__', 'os.system',
        'NemotronNode', 'publish', 'call_service', 'fails', 'bench_plugins:fails',
    )  # fmt: skip
    for name in names:
        result = robot.call(name)
        assert result.status == S.STATUS_INVALID
        assert result.error.startswith(f'there is no tool named {name!r}; there is ')
    command = robot.send('call a method')
    assert [c.result.status for c in command.calls] == [S.STATUS_INVALID]
    assert robot.base.speeds == []


@pytest.mark.parametrize('command', ['think', 'drive'])
def test_19_users_want_stop_to_be_deterministic(robot, command):
    first = in_thread(lambda: robot.send(command))
    if command == 'drive':
        wait_until(lambda: 0.2 in robot.base.speeds, 'it drives')
    else:
        wait_until(
            lambda: any(event.phase == Event.PHASE_PROMPTING for event in list(robot.events)),
            'the model is busy',
        )
    began_s = time.monotonic()
    # The script has no reply to it: a model that is asked has nothing to say.
    stop = robot.other.send(ExecuteCommand.Goal(command='Stop!'), lambda _: None, CancelToken(9.0))
    assert time.monotonic() - began_s < SLACK_S
    assert (stop.status, stop.usage.prompt_tokens) == (R.STATUS_SUCCEEDED, 0)
    assert first().status == R.STATUS_STOPPED
    wait_until(lambda: robot.base.speeds[-1:] == [0.0], 'the closing message is sent')
    sent = len(robot.base.speeds)
    CancelToken().wait(0.15)
    assert set(robot.base.speeds[sent:]) <= {0.0}
