"""The simulated robot's tool file is held against the simulated robot, as it runs."""

from __future__ import annotations

from pathlib import Path

from rclpy.parameter import Parameter

from nemotron_ros.bridge.check import check
from nemotron_ros.bridge.graph import Graph, snapshot
from nemotron_ros.bridge.live import check_live
from nemotron_ros.bridge.scaffold import scaffold
from nemotron_ros.bringup import config_path
from nemotron_ros.sim.node import HeadlessRobot
from nemotron_ros.tools.tool_file import load

SERVED = {'/dock', '/gripper/open', '/gripper/close', '/sim/reset'}
TOPICS = {'/cmd_vel', '/goal_pose', '/pick_object', '/speech', '/odom', '/scan', '/battery_state'}


def seen(ros, eventually) -> Graph:
    """Return the graph that a node sees once it has discovered the robot."""
    ros.add(
        HeadlessRobot(context=ros.context, parameter_overrides=[Parameter('speed', value=1.0)])
    )
    outside = ros.node('outside')

    def found() -> bool:
        graph = snapshot(outside)
        return set(graph.topics) >= TOPICS and set(graph.services) >= SERVED

    eventually(found, 20.0)
    return snapshot(outside)


def test_the_robot_serves_what_its_file_names(ros, eventually) -> None:
    graph = seen(ros, eventually)
    found = check_live(load(config_path('tools', 'headless_robot.yaml')), graph)
    # Nobody holds an e-stop button in the simulation.
    assert [(finding.path, finding.fault) for finding in found] == [('estop.topic', 'missing')]


def test_a_first_file_of_the_robot_reads_and_leaves_what_acts_disabled(
    ros, eventually, tmp_path: Path
) -> None:
    graph = seen(ros, eventually)
    path = tmp_path / 'tools.yaml'
    path.write_text(scaffold(graph, 'flat').text)
    robot = load(path)
    assert check(robot) == []
    assert check_live(robot, graph) == []
    assert {'get_battery_state', 'get_odom', 'get_scan'} <= set(robot.tools)
    assert all(name.startswith('get_') for name in robot.tools)
    assert {'dock', 'gripper_open', 'send_cmd_vel', 'send_goal_pose'} <= set(robot.disabled)
