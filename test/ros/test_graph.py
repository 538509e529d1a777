"""The graph as data: who publishes, listens and serves; not who only asks, and not oneself."""

from __future__ import annotations

import time

from rclpy.action import ActionClient, ActionServer
from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from std_msgs.msg import Float32, String
from std_srvs.srv import Trigger
from test_msgs.action import Fibonacci

from nemotron_ros.bridge.graph import settled, snapshot
from nemotron_ros.cancel import CancelToken


def test_a_snapshot_has_the_servers_and_both_sides_of_topics(ros, eventually) -> None:
    looking = ros.node('looking')
    looking.create_publisher(String, 'words', 1)
    looking.create_service(Trigger, 'own', lambda _, answer: answer)
    other = ros.node('other')
    other.create_publisher(Float32, 'level', qos_profile_sensor_data)
    other.create_subscription(String, 'words', lambda _: None, 1)
    other.create_service(Trigger, 'serve', lambda _, answer: answer)
    other.create_client(Trigger, 'ask')
    ActionServer(other, Fibonacci, 'act', lambda goal: Fibonacci.Result())
    ActionClient(other, Fibonacci, 'wish')
    eventually(lambda: '/act' in snapshot(looking).actions)
    eventually(lambda: {'/level', '/words'} <= set(snapshot(looking).topics))
    eventually(lambda: '/serve' in snapshot(looking).services)
    graph = snapshot(looking)
    level, words = graph.topics['/level'], graph.topics['/words']
    (publisher,) = level.publishers
    assert (publisher.node, publisher.type) == ('/other', 'std_msgs/msg/Float32')
    assert publisher.qos.reliability == ReliabilityPolicy.BEST_EFFORT
    assert (level.subscriptions, words.publishers) == ((), ())
    assert [end.node for end in words.subscriptions] == ['/other']
    assert graph.services['/serve'] == ('std_srvs/srv/Trigger',)
    assert not {'/own', '/ask'} & set(graph.services)
    assert graph.actions == {'/act': ('test_msgs/action/Fibonacci',)}


def test_looking_ends_with_its_time_and_with_its_token(ros) -> None:
    alone = ros.node('alone')
    began_s = time.monotonic()
    settled(alone, 0.4, CancelToken(5.0))
    assert 0.3 < time.monotonic() - began_s < 2.0
    token = CancelToken(5.0)
    token.cancel()
    began_s = time.monotonic()
    settled(alone, 5.0, token)
    assert time.monotonic() - began_s < 1.0
