"""What the flat has on ROS besides its robot: doors, people, and other robots in namespaces."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Odometry
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_context import Ros
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.sim.node import HeadlessRobot
from nemotron_ros.sim.world import STARTS, flat

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def start(ros: Ros) -> Callable[..., Node]:
    """Give a function that starts the flat with parameters, and returns a node outside."""

    def make(**parameters: object) -> Node:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        ros.add(HeadlessRobot(context=ros.context, parameter_overrides=overrides))
        return ros.node('outside')

    return make


def call(node: Node, service: str) -> Trigger.Response:
    """Call a service and return its answer."""
    client = node.create_client(Trigger, service)
    assert until_true(client.service_is_ready, 20.0, CancelToken()), service
    future = client.call_async(Trigger.Request())
    assert until_done(future, 10.0, CancelToken())
    return future.result()


def truth(node: Node, robot: str = '') -> dict[str, Any]:
    """Ask the physics."""
    found: dict[str, Any] = json.loads(call(node, f'{robot}sim/truth').message)
    return found


def test_doors_slide_and_tell(start, eventually):
    node = start(speed=5.0, shut_doors='hall_door')
    told: dict[str, list[bool]] = {'hall_door': [], 'kitchen_door': []}
    for name, found in told.items():
        node.create_subscription(
            Bool,
            f'{name}/is_open',
            lambda message, found=found: found.append(message.data),
            LATCHED,
        )
    eventually(lambda: told == {'hall_door': [False], 'kitchen_door': [True]})
    answer = call(node, 'hall_door/open')
    assert (answer.success, answer.message) == (True, 'the hall_door opens')
    eventually(lambda: told['hall_door'][-1])
    assert truth(node)['shut_doors'] == []
    answer = call(node, 'kitchen_door/close')
    assert (answer.success, answer.message) == (True, 'the kitchen_door shuts')
    assert truth(node)['shut_doors'] == ['kitchen_door']
    call(node, 'sim/reset')
    assert truth(node)['shut_doors'] == ['hall_door']
    eventually(lambda: told['hall_door'][-1] is False)


def test_people_walk_and_are_told_to_referees_alone(start, eventually):
    node = start(speed=5.0, people=2)
    before = truth(node)
    assert set(before['people']) == {'ann', 'ben'}
    assert (before['touches'], before['near_misses']) == (0, 0)
    eventually(lambda: truth(node)['people']['ann'] != before['people']['ann'])


@pytest.mark.parametrize(
    ('parameters', 'told'),
    [
        ({'shut_doors': 'cellar_door'}, 'bedroom_door, kitchen_door, hall_door'),
        ({'robots': 'a,a'}, 'different names'),
        ({'robots': 'a,b,c,d,e'}, 'up to 4'),
        ({'robots': 'robot 1'}, 'letters, digits'),
        ({'people': 9}, 'people'),
        ({'wheel_slip': 0.9}, 'wheel_slip'),
        ({'noise_seed': -1}, 'noise_seed'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_wrong_is_told_at_the_start(ros, parameters, told):
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    with pytest.raises(InvalidParameterValueException, match=told):
        HeadlessRobot(context=ros.context, parameter_overrides=overrides)


# Several robots


@pytest.fixture
def two(start) -> Node:
    """Start two robots; give the node outside."""
    return start(robots='robot_1, robot_2', speed=5.0, publish_clock=True)


def test_each_robot_has_its_names_in_its_namespace(two, eventually):
    for robot in ('robot_1', 'robot_2'):
        truth(two, f'{robot}/')
        names = {name for name, _ in two.get_topic_names_and_types()}
        topics = ('cmd_vel', 'goal_pose', 'pick_object', 'odom', 'scan', 'gripper_holding')
        assert {f'/{robot}/{topic}' for topic in topics} <= names
        services = {name for name, _ in two.get_service_names_and_types()}
        assert {f'/{robot}/dock', f'/{robot}/gripper/open'} <= services
    assert '/odom' not in names
    assert {'/sim/reset', '/sim/top_view', '/kitchen_door/open'} <= services
    assert len([name for name in names if name == '/clock']) == 1


def test_each_robot_obeys_its_own_commands(two, eventually):
    goal = two.create_publisher(PoseStamped, 'robot_1/goal_pose', 10)
    velocity = two.create_publisher(Twist, 'robot_2/cmd_vel', 10)
    odom: list[Odometry] = []
    two.create_subscription(Odometry, 'robot_2/odom', odom.append, 10)
    eventually(
        lambda: goal.get_subscription_count() and velocity.get_subscription_count() and odom
    )
    message = PoseStamped()
    message.pose.position.x, message.pose.position.y = -1.4, -1.3
    message.pose.orientation.w = 1.0
    goal.publish(message)
    twist = Twist()
    twist.angular.z = 0.5
    velocity.publish(twist)
    eventually(lambda: truth(two, 'robot_1/')['driving'] == 'arrived', 20.0)
    first, second = truth(two, 'robot_1/'), truth(two, 'robot_2/')
    assert (first['x'], first['y']) == pytest.approx((-1.4, -1.3), abs=0.1)
    assert (second['x'], second['y']) == pytest.approx((STARTS[1].x, STARTS[1].y), abs=0.02)
    assert abs(math.remainder(second['yaw'] - STARTS[1].yaw, math.tau)) > 0.1
    assert odom[-1].pose.pose.position.x == pytest.approx(STARTS[1].x, abs=0.02)
    assert first['time_s'] <= second['time_s']


def test_one_takes_what_the_other_can_not_have_then(two, eventually):
    first, second = (two.create_publisher(String, f'robot_{n}/pick_object', 10) for n in (1, 2))
    eventually(lambda: first.get_subscription_count() and second.get_subscription_count())
    first.publish(String(data='ball'))
    eventually(lambda: truth(two, 'robot_1/')['holding'] == 'ball', 20.0)
    second.publish(String(data='ball'))
    eventually(lambda: truth(two, 'robot_2/')['driving'] not in ('idle', 'driving'), 30.0)
    assert truth(two, 'robot_2/')['holding'] == ''
    assert truth(two, 'robot_1/')['holding'] == 'ball'


def test_a_reset_puts_all_of_them_back(two, eventually):
    velocity = two.create_publisher(Twist, 'robot_2/cmd_vel', 10)
    eventually(velocity.get_subscription_count)
    twist = Twist()
    twist.linear.x = 0.3
    velocity.publish(twist)
    eventually(lambda: truth(two, 'robot_2/')['x'] < STARTS[1].x - 0.03)
    call(two, 'sim/reset')
    for robot, pose in zip(('robot_1/', 'robot_2/'), STARTS, strict=False):
        there = truth(two, robot)
        assert (there['x'], there['y']) == pytest.approx((pose.x, pose.y), abs=0.01)


def test_the_flat_is_drawn_with_both(start, tmp_path):
    path = tmp_path / 'view.png'
    node = start(robots='robot_1,robot_2', top_view_path=str(path))
    assert call(node, 'sim/top_view').success
    assert path.stat().st_size > 10_000
    assert flat().start == STARTS[0]
