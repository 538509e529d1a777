"""What the bridge adds to bare rclpy: messages, large arrays, services, actions, many tools.

Everything that is compared is run in turns, in one process, against a server in another one::

    . scripts/env.bash
    python bench/bridge.py
    PYTHONPATH=/path/to/rosidl_runtime_py:$PYTHONPATH python bench/bridge.py

The second one compares with ``set_message_fields`` too, where no ROS installation brings it.
Exit code 1 if a figure is beyond its target.
"""

from __future__ import annotations

import argparse
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Twist, Vector3
from rclpy.action import ActionServer
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Float32MultiArray, Float64MultiArray, Header
from std_srvs.srv import SetBool
from test_msgs.action import Fibonacci
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from nemotron_ros.bridge.action_client import SpunActionClient
from nemotron_ros.bridge.convert import to_json, to_message, to_value
from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.bridge.fields import kinds_of
from nemotron_ros.bridge.schema import schema_of
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall, ToolSpec
from nemotron_ros.spinning import spun
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.tool_file import load
from nemotron_ros.tools.validate import Validator

try:
    from rosidl_runtime_py import set_message_fields
except ImportError:
    set_message_fields = None

Way = Callable[[], object]

MOST_ADDED_US = {'Twist': 100.0, 'PoseStamped': 300.0}
MOST_ARRAY_RATIO = {'uint8': 1.5, 'float32': 2.0, 'float64': 2.0}
"""Floating-point numbers are looked through for NaN and infinities as well."""
MOST_ROUND_TRIP_RATIO = 1.1
MOST_TOOLS_RATIO = 1.2
BLOCK_S = 0.002
"""About so long is one measurement: many calls of what is quick, one of what is slow."""
PAUSE_S = 0.005
SERVER_S = 20.0

TOOLS = """
robot: bench
tools:
  switch:
    description: Switch.
    parameters: {on: {type: boolean}}
    service: {name: bench/switch, type: std_srvs/srv/SetBool, request: {data: "{{ on }}"},
              value: "{{ message }}", timeout_s: 10}
  count:
    description: Count.
    parameters: {order: {type: integer, minimum: 0, maximum: 10}}
    action: {name: bench/count, type: test_msgs/action/Fibonacci, goal: {order: "{{ order }}"},
             timeout_s: 10}
"""
DRIVE = """
robot: bench
tools:
  drive:
    description: Drive straight.
    parameters:
      direction: {enum: [forward, backward]}
      distance_m: {type: number, minimum: 0.05, maximum: 3.0}
    topic:
      name: cmd_vel
      type: geometry_msgs/msg/Twist
      message: {linear: {x: "{{ 0.2 if direction == 'forward' else -0.2 }}"}}
      rate_hz: 20
      for_s: "{{ distance_m / 0.2 }}"
      then: {}
    guard: {max_per_minute: 6000, exclusive: motion}
"""


def measured(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Return each way's times, in microseconds per call, of interleaved rounds."""
    counts = {}
    for name, way in ways.items():
        way()
        began_s = time.perf_counter()
        way()
        counts[name] = max(1, int(BLOCK_S / (time.perf_counter() - began_s)))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        order = list(ways)
        for name in order if number % 2 else reversed(order):
            way, count = ways[name], counts[name]
            began_s = time.perf_counter()
            for _ in range(count):
                way()
            times[name].append((time.perf_counter() - began_s) / count * 1e6)
    return times


def fastest(ways: Mapping[str, Way], rounds: int) -> dict[str, float]:
    """Return the least of each way's times, in microseconds: what other work did not disturb."""
    return {name: min(times) for name, times in measured(ways, rounds).items()}


def isolated(ways: Mapping[str, Way], rounds: int) -> dict[str, float]:
    """Return the median of each way's single calls, in microseconds, each after a pause.

    A robot does not call in a tight loop: everybody has gone to sleep before the next call.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        order = list(ways)
        for name in order if number % 2 else reversed(order):
            time.sleep(PAUSE_S)
            began_s = time.perf_counter()
            ways[name]()
            times[name].append((time.perf_counter() - began_s) * 1e6)
    return {name: statistics.median(each) for name, each in times.items()}


# The messages: the JSON that a model writes, and the same by hand.


def vector(values: Mapping[str, float]) -> Vector3:
    return Vector3(x=values['x'], y=values['y'], z=values['z'])


def twist(data: Any) -> Twist:
    return Twist(linear=vector(data['linear']), angular=vector(data['angular']))


def header(data: Any) -> Header:
    stamp = data['stamp']
    return Header(
        stamp=Time(sec=stamp['sec'], nanosec=stamp['nanosec']), frame_id=data['frame_id']
    )


def pose_stamped(data: Any) -> PoseStamped:
    at, turned = data['pose']['position'], data['pose']['orientation']
    return PoseStamped(
        header=header(data['header']),
        pose=Pose(
            position=Point(x=at['x'], y=at['y'], z=at['z']),
            orientation=Quaternion(x=turned['x'], y=turned['y'], z=turned['z'], w=turned['w']),
        ),
    )


def image(data: Any) -> Image:
    return Image(
        header=header(data['header']),
        height=data['height'],
        width=data['width'],
        encoding=data['encoding'],
        step=data['step'],
        data=base64.b64decode(data['data']),
    )


def trajectory(data: Any) -> JointTrajectory:
    points = [
        JointTrajectoryPoint(
            positions=point['positions'],
            velocities=point['velocities'],
            time_from_start=Duration(
                sec=point['time_from_start']['sec'], nanosec=point['time_from_start']['nanosec']
            ),
        )
        for point in data['points']
    ]
    return JointTrajectory(
        header=header(data['header']), joint_names=data['joint_names'], points=points
    )


HEADER = {'stamp': {'sec': 12, 'nanosec': 500}, 'frame_id': 'map'}
CASES: dict[str, tuple[type[Any], Callable[[Any], Any], dict[str, Any]]] = {
    'Twist': (
        Twist,
        twist,
        {'linear': {'x': 0.2, 'y': 0.0, 'z': 0.0}, 'angular': {'x': 0.0, 'y': 0.0, 'z': 0.1}},
    ),
    'PoseStamped': (
        PoseStamped,
        pose_stamped,
        {
            'header': HEADER,
            'pose': {
                'position': {'x': 1.5, 'y': -2.0, 'z': 0.0},
                'orientation': {'x': 0.0, 'y': 0.0, 'z': 0.0, 'w': 1.0},
            },
        },
    ),
    'Image, 1 MB': (
        Image,
        image,
        {
            'header': HEADER,
            'height': 500,
            'width': 2000,
            'encoding': 'mono8',
            'step': 2000,
            'data': base64.b64encode(bytes(range(250)) * 4000).decode(),
        },
    ),
    'JointTrajectory, 1000 points': (
        JointTrajectory,
        trajectory,
        {
            'header': HEADER,
            'joint_names': ['a', 'b', 'c', 'd', 'e', 'f'],
            'points': [
                {
                    'positions': [0.01 * number + joint for joint in range(6)],
                    'velocities': [0.1 * joint for joint in range(6)],
                    'time_from_start': {'sec': number // 10, 'nanosec': number % 10 * 10**8},
                }
                for number in range(1000)
            ],
        },
    ),
}


def messages(node: Node, rounds: int) -> Iterator[str]:
    """Print the table of messages; yield what is beyond its target."""
    print('validate + convert + publish, microseconds')
    print(
        f'{"":30}{"validate":>10}{"convert":>10}{"+ publish":>11}'
        f'{"by hand":>10}{"ratio":>7}{"set_message_fields":>20}'
    )
    for name, (message_class, by_hand, data) in CASES.items():
        validator = Validator(ToolSpec('bench', '', schema_of(message_class)))
        publisher = node.create_publisher(message_class, f'bench/{message_class.__name__}', 1)
        if to_message(message_class, data) != by_hand(data) or validator.check(data):
            yield f'{name}: what is compared is not the same'
            continue
        ways = bind(message_class, by_hand, data, validator.check, publisher.publish)
        us = fastest(ways, rounds)
        theirs = f'{us["theirs"]:20.1f}' if 'theirs' in us else f'{"not installed":>20}'
        print(
            f'{name:30}{us["validate"]:10.1f}{us["convert"]:10.1f}{us["ours"]:11.1f}'
            f'{us["by hand"]:10.1f}{us["ours"] / us["by hand"]:7.2f}{theirs}'
        )
        most_us = MOST_ADDED_US.get(name)
        added_us = us['validate'] + us['convert']
        if most_us is not None and added_us > most_us:
            yield f'{name}: validate + convert takes {added_us:.0f} us, at most {most_us:g}'
        node.destroy_publisher(publisher)


def bind(
    message_class: type[Any],
    by_hand: Callable[[Any], Any],
    data: Any,
    check: Callable[[Any], object],
    publish: Callable[[Any], None],
) -> dict[str, Way]:
    """Return the ways to the same message on the same topic, and the parts of ours."""

    def ours() -> None:
        if not check(data):
            publish(to_message(message_class, data))

    # set_message_fields does not know base64, so an image is given as bytes; and it puts
    # messages into the lists that it is given, so each time they are lists of their own.
    raw = {**data, 'data': base64.b64decode(data['data'])} if 'data' in data else data

    def theirs() -> None:
        message = message_class()
        lists = {name: [*value] for name, value in raw.items() if isinstance(value, list)}
        set_message_fields(message, {**raw, **lists})
        publish(message)

    ways: dict[str, Way] = {
        'validate': lambda: check(data),
        'convert': lambda: to_message(message_class, data),
        'by hand': lambda: publish(by_hand(data)),
        'ours': ours,
    }
    if set_message_fields is not None:
        ways['theirs'] = theirs
    return ways


def arrays(rounds: int) -> Iterator[str]:
    """Print the table of large arrays; yield what is beyond its target."""
    print('\na numpy array into a field, microseconds')
    print(f'{"":30}{"numpy copy":>12}{"ours":>10}{"ratio":>7}')
    for message_class, dtype, size in (
        (Image, 'uint8', 10**6),
        (PointCloud2, 'uint8', 10**7),
        (Float32MultiArray, 'float32', 250_000),
        (Float64MultiArray, 'float64', 125_000),
    ):
        values = (np.arange(size) % 250).astype(dtype)
        kind = kinds_of(message_class)['data']
        ways: dict[str, Way] = {
            'numpy': values.copy,
            'ours': lambda kind=kind, values=values: to_value(kind, values),  # type: ignore[misc]
        }
        us = fastest(ways, rounds)
        ratio = us['ours'] / us['numpy']
        name = f'{message_class.__name__}, {size:,}'
        print(f'{name:30}{us["numpy"]:12.1f}{us["ours"]:10.1f}{ratio:7.2f}')
        most = MOST_ARRAY_RATIO[dtype]
        if ratio > most:
            yield f'{name}: {ratio:.2f} of a copy, at most {most:g}'
    shot = Image(data=bytes(10**6))
    us = fastest(
        {'bare': lambda: base64.b64encode(shot.data), 'ours': lambda: to_json(shot)}, rounds
    )
    ratio = us['ours'] / us['bare']
    print(f'{"Image, 1 MB, to JSON (base64)":30}{us["bare"]:12.1f}{us["ours"]:10.1f}{ratio:7.2f}')


# A service and an action, each with a server in another process.


class Server(Node):
    """Answers at once."""

    def __init__(self) -> None:
        super().__init__('bench_server')
        self.create_service(SetBool, 'bench/switch', self._switch)
        self._action = ActionServer(self, Fibonacci, 'bench/count', self._count)

    def _switch(self, request: Any, response: Any) -> Any:
        response.success = True
        response.message = 'on' if request.data else 'off'
        return response

    def _count(self, handle: Any) -> Any:
        handle.succeed()
        return Fibonacci.Result(sequence=[handle.request.order])


@contextmanager
def server() -> Iterator[None]:
    """Run the server in a process of its own."""
    with subprocess.Popen([sys.executable, __file__, '--serve'], stdin=subprocess.PIPE) as child:
        try:
            yield
        finally:
            child.communicate()  # the end of its input is its end


def serve() -> int:
    """Answer until the standard input ends."""
    rclpy.init()
    node = Server()
    with spun(node):
        sys.stdin.read()
    node.destroy_node()
    rclpy.shutdown()
    return 0


def waited(future: Any) -> Any:
    """Wait for a future as plainly as Python can."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    assert done.wait(SERVER_S), 'no answer'
    return future.result()


def round_trips(node: Node, rounds: int) -> Iterator[str]:
    """Print the table of services and actions; yield what is beyond its target."""
    tool_file = loaded(TOOLS)
    executor = RosExecutor(node, tool_file)
    dispatcher = Dispatcher(tool_file, Guard(tool_file), executor)
    client_node = Node('bench_client')
    with spun(client_node):
        service = client_node.create_client(SetBool, 'bench/switch')
        action = SpunActionClient(client_node, Fibonacci, 'bench/count')
        assert service.wait_for_service(SERVER_S), 'the server does not come up'
        assert action.wait_for_server(SERVER_S), 'the server does not come up'
        time.sleep(1.0)  # the server has to know each of the clients as well

        def run(call: ToolCall) -> None:
            result = dispatcher.run(call, frozenset(tool_file.tools), CancelToken(SERVER_S))
            assert result.status is Status.SUCCEEDED, result

        def goal() -> None:
            handle = waited(action.send_goal_async(Fibonacci.Goal(order=3)))
            assert waited(handle.get_result_async()).result.sequence

        pairs: dict[str, dict[str, Way]] = {
            'service': {
                'bare': lambda: waited(service.call_async(SetBool.Request(data=True))).message,
                'ours': lambda: run(ToolCall('1', 'switch', {'on': True})),
            },
            'action': {'bare': goal, 'ours': lambda: run(ToolCall('1', 'count', {'order': 3}))},
        }
        print('\na round trip to another process, microseconds')
        print(f'{"":30}{"bare rclpy":>12}{"ours":>10}{"ratio":>7}')
        for name, ways in pairs.items():
            us = isolated(ways, 10 * rounds)
            ratio = us['ours'] / us['bare']
            print(f'{name:30}{us["bare"]:12.1f}{us["ours"]:10.1f}{ratio:7.2f}')
            if ratio > MOST_ROUND_TRIP_RATIO:
                yield f'{name}: {ratio:.2f} of bare rclpy, at most {MOST_ROUND_TRIP_RATIO:g}'
        executor.close()
        action.destroy()
    client_node.destroy_node()


# Many tools.


def many_tools(rounds: int) -> Iterator[str]:
    """Print the table of files with many tools; yield what is beyond its target."""
    print('\na call through validation and guard, by the number of tools')
    print(f'{"tools":>8}{"set up, ms":>12}{"call, us":>12}')
    one = loaded(DRIVE)
    tool = one.tools['drive']
    ways: dict[str, Way] = {}
    set_up_ms = {}
    for count in (10, 100, 1000):
        names = [f'drive_{number}' for number in range(count)]
        tools = {name: replace(tool, spec=replace(tool.spec, name=name)) for name in names}
        tool_file = replace(one, tools=tools)
        began_s = time.perf_counter()
        dispatcher = Dispatcher(tool_file, Guard(tool_file), Nothing())
        set_up_ms[count] = (time.perf_counter() - began_s) * 1e3
        ways[str(count)] = dry_run(dispatcher, names)
    us = fastest(ways, rounds)
    for count, ms in set_up_ms.items():
        print(f'{count:8}{ms:12.1f}{us[str(count)]:12.1f}')
    ratio = max(us.values()) / min(us.values())
    if ratio > MOST_TOOLS_RATIO:
        yield f'the number of tools changes the cost by {ratio:.2f}, at most {MOST_TOOLS_RATIO:g}'


def dry_run(dispatcher: Dispatcher, names: list[str]) -> Way:
    """Return a call of the last of the tools that is checked and not carried out."""
    call = ToolCall('1', names[-1], {'direction': 'forward', 'distance_m': 1.0})
    allowed = frozenset(names)
    return lambda: dispatcher.run(call, allowed, CancelToken(10.0), dry_run=True)


class Nothing:
    """An executor that is never reached."""

    def execute(self, *_: Any) -> Any:
        raise AssertionError('a dry run went on')

    def halt(self) -> None:
        raise AssertionError('a dry run was halted')


def loaded(text: str) -> Any:
    """Return the tool file of a text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'tools.yaml'
        path.write_text(text)
        return load(path)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=30)
    parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    rclpy.init()
    node = Node('bench')
    beyond = [*messages(node, arguments.rounds), *arrays(arguments.rounds)]
    beyond += many_tools(arguments.rounds)
    with server(), spun(node):
        beyond += round_trips(node, arguments.rounds)
    node.destroy_node()
    rclpy.shutdown()
    print()
    print('\n'.join(beyond) or 'all within their targets')
    return 1 if beyond else 0


if __name__ == '__main__':
    sys.exit(main())
