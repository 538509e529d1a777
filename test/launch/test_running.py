"""What every launch file of ours offers: respawn, log level, simulated time."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import launch_pytest
import pytest
from launch import LaunchDescription
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import EngineStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken

FIXTURES = Path(__file__).resolve().parents[1] / 'fixtures'
BENCH = {
    'engine': 'scripted',
    'script': FIXTURES / 'script_bench.yaml',
    'tool_file': FIXTURES / 'tools_bench.yaml',
}
ANSWERED = ExecuteCommand.Result.STATUS_ANSWERED
ENGINE_FAILED = ExecuteCommand.Result.STATUS_ENGINE_FAILED


def children(pid: int) -> set[int]:
    """Return the processes that a process has started, and that are still there."""
    found = set()
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, parent = stat.read_text().rpartition(')')[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == pid and state != 'Z':
            found.add(int(stat.parent.name))
    return found


def killed(launched: Any, name: str) -> int:
    """Kill a process as the kernel does when memory runs out; return the pid of the next one."""
    pid = launched.pids[name]
    os.kill(pid, signal.SIGKILL)
    assert until_true(lambda: launched.pids[name] != pid, 20.0, CancelToken())
    assert launched.exit_codes[name] == -signal.SIGKILL
    return launched.pids[name]


@launch_pytest.fixture
def respawned(launched) -> LaunchDescription:
    """Start the node so that it comes back."""
    return launched.describe('nemotron.launch.py', respawn='true', **BENCH)


@pytest.mark.launch(fixture=respawned)
def test_killed_node_comes_back_and_obeys(launched, outside):
    assert outside.is_active('nemotron')
    pid = killed(launched, 'nemotron_node')
    assert outside.is_active('nemotron')
    assert outside.obey('hello').status == ANSWERED
    yield
    assert launched.exit_codes == {'nemotron_node': 0}
    assert launched.pids['nemotron_node'] == pid
    assert not Path(f'/proc/{pid}').exists()


@launch_pytest.fixture
def not_respawned(launched) -> LaunchDescription:
    """Start the node as it is by default, and tell only of errors."""
    return launched.describe('nemotron.launch.py', log_level='error', **BENCH)


@pytest.mark.launch(fixture=not_respawned)
def test_left_alone_it_stays_down_and_logs_what_was_asked_for(launched, outside):
    assert outside.is_active('nemotron')
    os.kill(launched.pids['nemotron_node'], signal.SIGKILL)
    assert until_true(lambda: bool(launched.exit_codes), 20.0, CancelToken())
    pid = launched.pids['nemotron_node']
    assert not until_true(lambda: launched.pids['nemotron_node'] != pid, 3.0, CancelToken())
    assert launched.output['nemotron_node'] == ''


@launch_pytest.fixture
def simulated_time(launched) -> LaunchDescription:
    """Start robot and node by the clock of the simulation, and so that both come back."""
    pytest.importorskip('mujoco', reason='mujoco, the physics of the headless robot, is not there')
    arguments = {**BENCH, 'use_sim_time': 'true', 'speed': 2.0, 'respawn': 'true'}
    return launched.describe('demo.launch.py', **arguments)


@pytest.mark.launch(fixture=simulated_time)
def test_events_have_the_time_of_the_simulation(launched, outside):
    assert outside.is_active('nemotron')
    stamps = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    outside.node.create_subscription(
        EngineStatus, 'nemotron/engine_status', lambda status: stamps.append(status.stamp), latched
    )
    assert until_true(lambda: bool(stamps), 10.0, CancelToken())
    assert stamps[-1].sec < 3600  # and not the seconds since 1970

    killed(launched, 'headless_robot')
    assert outside.call(Trigger, 'sim/truth').success
    assert Path(f'/proc/{launched.pids["nemotron_node"]}').exists()
    yield
    assert launched.exit_codes == {'headless_robot': 0, 'nemotron_node': 0}


@launch_pytest.fixture
def with_engine(launched, tmp_path) -> LaunchDescription:
    """Start the node with an engine that is a process: a tiny model that ends its turns."""
    models = pytest.importorskip('leaning_model', reason='gguf and tokenizers are not there')
    pytest.importorskip('xllamacpp', reason='xllamacpp, the embedded engine, is not there')
    tiny = models.write_tiny(tmp_path / 'tiny.gguf')
    return launched.describe(
        'nemotron.launch.py',
        tool_file=BENCH['tool_file'],
        model=models.write_leaning(tiny, tmp_path / 'brief.gguf', often=('<|im_end|>',)),
        context_tokens=2048,
    )


@pytest.mark.launch(fixture=with_engine)
def test_killed_engine_is_brought_up_for_the_next_command(launched, outside):
    assert outside.is_active('nemotron')
    node = launched.pids['nemotron_node']
    engines = children(node)
    assert len(engines) == 1
    os.kill(*engines, signal.SIGKILL)
    assert until_true(lambda: bool(children(node) - engines), 20.0, CancelToken())
    result = outside.obey('hello')
    assert result.status != ENGINE_FAILED, result.error
    engines |= children(node)
    yield
    assert launched.exit_codes == {'nemotron_node': 0}
    assert not [pid for pid in (node, *engines) if Path(f'/proc/{pid}').exists()]
