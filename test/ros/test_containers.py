"""What runs inside the node's container: its health check, and DDS without shared memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from scripted_node import active_node
from std_srvs.srv import Trigger

from nemotron_ros.engine.protocol import EngineState

DOCKER = Path(__file__).resolve().parents[2] / 'docker'


@pytest.fixture
def ask_health(monkeypatch: pytest.MonkeyPatch):
    """Give the health check's question."""
    monkeypatch.syspath_prepend(str(DOCKER))
    from node_health import fault

    return lambda asker, name='/nemotron', timeout_s=20.0: fault(asker, name, timeout_s)


def test_a_node_that_obeys_is_healthy(ros, ask_health) -> None:
    active_node(ros)
    assert ask_health(ros.node('asker')) == ''


def test_what_is_wrong_is_told(ros, ask_health) -> None:
    asker = ros.node('asker')
    assert ask_health(asker, '/nobody', 1.0) == 'nobody serves /nobody/get_state'
    node = active_node(ros)
    node._tell_engine(EngineState.FAILED, 'died 6 times in a row')
    assert ask_health(asker) == 'the engine: died 6 times in a row'
    node.trigger_deactivate()
    assert ask_health(asker) == '/nemotron is inactive'


def test_as_the_container_runs_it(ros) -> None:
    node = active_node(ros)
    command = [sys.executable, str(DOCKER / 'node_health.py')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, '')
    node.trigger_deactivate()
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, '/nemotron is inactive\n')


ASK = """
import os, rclpy
from std_srvs.srv import Trigger
rclpy.init()
node = rclpy.create_node('inside')
client = node.create_client(Trigger, 'hello')
client.wait_for_service(10.0)
answer = client.call_async(Trigger.Request())
rclpy.spin_until_future_complete(node, answer, timeout_sec=10.0)
with open('/proc/self/maps') as maps:
    print(answer.done(), sum('/dev/shm/fast' in line for line in maps), flush=True)
os._exit(0)
"""


def container_environment(dds: str) -> dict[str, str]:
    """Return what the compose files set, with the image's folder being the checkout's."""
    node = yaml.safe_load((DOCKER / 'node.yaml').read_text())['services']['node']
    return {
        name: value.replace('${DDS:-loopback}', dds).replace('/opt/nemotron/docker', str(DOCKER))
        for name, value in node['environment'].items()
        if not name.startswith('ROS_DOMAIN')
    }


def ask_from(environment: dict[str, str]) -> tuple[str, int]:
    """Return whether a service answers another process, and how much memory the two share."""
    done = subprocess.run(
        [sys.executable, '-c', ASK],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    answered, _, shared = done.stdout.strip().partition(' ')
    return answered, int(shared)


@pytest.mark.parametrize('dds', ['loopback', 'network'])
def test_a_container_meets_the_robot_without_shared_memory(ros, dds: str) -> None:
    robot = ros.node('robot')
    robot.create_service(Trigger, 'hello', lambda _, answer: answer)
    if ask_from({})[1] == 0:
        pytest.skip('the middleware shares no memory here as it is')
    assert ask_from(container_environment(dds)) == ('True', 0)
