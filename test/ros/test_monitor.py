"""What a node tells of itself, and keeps: diagnostics, metrics and the trace, over real DDS."""

from __future__ import annotations

import itertools
import socket
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('diagnostic_msgs', reason='diagnostic_msgs is not here')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event as EventMsg
from nemotron_msgs.srv import CallTool
from scripted_node import active_node, ask
from servers import SwitchServer
from std_srvs.srv import Trigger

from nemotron_ros import monitor
from nemotron_ros.cancel import CancelToken
from nemotron_ros.cli import main
from nemotron_ros.client import CommandClient
from nemotron_ros.events import Phase
from nemotron_ros.trace.files import read_trace
from nemotron_ros.trace.recorder import Recorder

FIXTURES = Path(__file__).resolve().parent.parent / 'fixtures'


def send(ros, command: str, **fields: object) -> ExecuteCommand.Result:
    client = CommandClient(ros.node(f'client_{time.monotonic_ns()}'))
    client.wait_ready(5.0)
    goal = ExecuteCommand.Goal(command=command, **fields)
    return client.send(goal, lambda event: None, CancelToken(20.0))


class Heard:
    """The newest statuses of /diagnostics, by the part."""

    def __init__(self, ros) -> None:
        self.arrays: list[DiagnosticArray] = []
        ros.node('watch').create_subscription(
            DiagnosticArray, '/diagnostics', self.arrays.append, 10
        )

    def part(self, name: str) -> DiagnosticStatus:
        found = [s for s in self.arrays[-1].status if s.name == f'nemotron: {name}']
        assert len(found) == 1
        return found[0]

    def value(self, part: str, key: str) -> str:
        if not self.arrays:
            return ''
        return {pair.key: pair.value for pair in self.part(part).values}.get(key, '')


def test_diagnostics_tell_how_the_node_is(ros, eventually):
    heard = Heard(ros)
    node = active_node(ros)
    SwitchServer(ros.node('switch_node'))
    eventually(lambda: heard.value('engine', 'state') == 'ready')
    assert heard.part('engine').level == DiagnosticStatus.OK
    assert heard.value('engine', 'model') == 'script_bench.yaml'
    assert int(heard.value('engine', 'memory_mb')) > 10
    assert heard.part('stop').level == DiagnosticStatus.OK
    assert heard.part('trace').message == 'off'
    assert send(ros, 'too fast').status == ExecuteCommand.Result.STATUS_NOT_DONE
    assert send(ros, 'hello').status == ExecuteCommand.Result.STATUS_ANSWERED
    eventually(lambda: heard.value('commands', 'commands answered') == '1')
    assert heard.value('commands', 'refused: invalid by schema') == '1'
    assert heard.value('commands', 'rejected_calls') == '1'
    assert 'seconds' in heard.value('commands', 'last_error')
    assert heard.value('commands', 'running') == '0'
    assert int(heard.value('engine', 'completion_tokens')) > 0
    ask(ros.node('hand'), Trigger, 'nemotron/stop', Trigger.Request())
    eventually(lambda: heard.value('stop', 'latched') == 'true')
    assert heard.part('stop').level == DiagnosticStatus.WARN
    node.trigger_deactivate()
    node.trigger_cleanup()
    eventually(lambda: heard.value('engine', 'state') == 'closed')
    assert heard.value('commands', 'active') == 'false'


def test_diagnostics_come_once_a_second_and_tell_what_runs(ros, eventually):
    heard = Heard(ros)
    node = active_node(ros)
    client = CommandClient(ros.node('client'))
    client.wait_ready(5.0)
    cancel = CancelToken(20.0)

    def stop_when_seen(event: EventMsg) -> None:
        if event.phase == EventMsg.PHASE_PROMPTING:
            count = len(heard.arrays)
            eventually(lambda: len(heard.arrays) >= count + 3)
            assert heard.value('commands', 'running') == '1'
            cancel.cancel()

    client.send(ExecuteCommand.Goal(command='think'), stop_when_seen, cancel)
    eventually(lambda: heard.value('commands', 'running') == '0')
    stamps = [a.header.stamp.sec + a.header.stamp.nanosec / 1e9 for a in heard.arrays[-4:]]
    gaps = [b - a for a, b in itertools.pairwise(stamps)]
    assert all(0.8 < gap < 1.5 for gap in gaps), gaps
    node.trigger_shutdown()


def test_a_failed_engine_is_an_error(ros, eventually, tmp_path):
    from nemotron_ros.node import NemotronNode

    heard = Heard(ros)
    node = NemotronNode(context=ros.context)
    ros.add(node)
    node.trigger_configure()
    eventually(lambda: heard.value('engine', 'state') == 'failed')
    assert heard.part('engine').level == DiagnosticStatus.ERROR
    assert 'tool_file: is not set' in heard.part('engine').message


def test_the_trace_of_a_node_is_whole_and_replays_as_it_was(ros, tmp_path, capsys):
    pytest.importorskip('mcap', reason='the package mcap is not installed')
    node = active_node(ros, trace_folder=str(tmp_path / 'traces'))
    SwitchServer(ros.node('switch_node'))
    send(ros, 'please drive a little')
    send(ros, 'switch off')
    send(ros, 'too fast')
    send(ros, 'drive a little', allowed_tools=['switch'])
    send(ros, 'switch on', mode=ExecuteCommand.Goal.MODE_DRY_RUN)
    send(ros, 'stop')
    request = CallTool.Request(name='drive', arguments='{"seconds": 0.2}', id='mine')
    ask(ros.node('hand'), CallTool, 'nemotron/call_tool', request)
    node.trigger_shutdown()
    paths = sorted((tmp_path / 'traces').iterdir())
    assert [path.suffix for path in paths] == ['.jsonl', '.mcap']
    lines, bag = map(read_trace, paths)
    assert lines == bag
    assert lines.origin.engine == 'scripted'
    assert len(lines.origin.tool_file_sha256) == len(lines.origin.model_sha256) == 64
    first = [entry.event for entry in lines.entries if entry.event.phase is Phase.PROMPTING][:2]
    asked = first[0].detail
    assert asked['messages'] == [{'role': 'user', 'content': 'please drive a little'}]
    assert asked['opening_messages'] > 0
    assert asked['cost']['completion_tokens'] == 1
    assert [message['role'] for message in first[1].detail['messages']] == [
        *('user', 'assistant', 'tool')
    ]
    for path in paths:
        assert main(['trace', 'replay', str(path)]) == 0
        assert 'as they were' in capsys.readouterr().out
    assert main(['trace', 'show', str(paths[0])]) == 0
    told = capsys.readouterr().out
    assert "'please drive a little'" in told
    assert 'denied by allowed' in told
    assert main(['trace', 'stats', '--json', str(paths[0])]) == 0
    assert '"direct_calls": 1' in capsys.readouterr().out
    stricter = tmp_path / 'tools.yaml'
    stricter.write_text(
        (FIXTURES / 'tools_bench.yaml').read_text().replace('minimum: 0.1', 'minimum: 0.25')
    )
    assert main(['trace', 'replay', '--tools', str(stricter), str(paths[1])]) == 1
    out = capsys.readouterr().out
    assert '1 would differ today' in out
    assert 'command mine' in out


def test_a_full_disk_ends_no_command_and_is_told_in_diagnostics(ros, eventually, tmp_path):
    heard = Heard(ros)
    (tmp_path / 'file').write_text('no folder')
    node = active_node(ros, trace_folder=str(tmp_path / 'file'))
    assert send(ros, 'hello').status == ExecuteCommand.Result.STATUS_ANSWERED
    eventually(lambda: 'can not be written' in heard.value('trace', 'trouble'))
    assert heard.part('trace').level == DiagnosticStatus.WARN
    eventually(lambda: int(heard.value('trace', 'events_lost')) > 0)
    node.trigger_shutdown()


def test_without_mcap_the_lines_are_kept(ros, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, 'is_there', lambda: False)
    node = active_node(ros, trace_folder=str(tmp_path))
    send(ros, 'hello')
    node.trigger_shutdown()
    assert [path.suffix for path in tmp_path.iterdir()] == ['.jsonl']


def test_who_keeps_no_trace_writes_none(ros, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Recorder, '__init__', lambda *args: pytest.fail('a trace was begun'))
    node = active_node(ros)
    send(ros, 'hello')
    node.trigger_shutdown()
    assert list(tmp_path.iterdir()) == []


def free_port() -> int:
    with socket.socket() as it:
        it.bind(('127.0.0.1', 0))
        return int(it.getsockname()[1])


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(' ') for line in lines if line[0] != '#')
    }


def test_prometheus_is_told_the_same(ros):
    pytest.importorskip('prometheus_client', reason='prometheus-client is not installed')
    port = free_port()
    node = active_node(ros, metrics_port=port)
    send(ros, 'too fast')
    told = scrape(port)
    assert told['nemotron_engine_state{state="ready"}'] == 1
    assert told['nemotron_commands_total{status="not_done"}'] == 1
    assert told['nemotron_refused_calls_total{rule="invalid by schema"}'] == 1
    assert told['nemotron_commands_running'] == 0
    assert told['nemotron_resident_memory_bytes'] > 10e6
    node.trigger_deactivate()
    node.trigger_cleanup()
    with pytest.raises(OSError, match='refused'):
        scrape(port)
    assert node.trigger_configure()
    assert scrape(port)['nemotron_active'] == 0
    node.trigger_shutdown()


def test_a_port_that_is_taken_is_told_and_the_robot_serves(ros, eventually):
    pytest.importorskip('prometheus_client', reason='prometheus-client is not installed')
    heard = Heard(ros)
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        node = active_node(ros, metrics_port=taken.getsockname()[1])
        assert send(ros, 'hello').status == ExecuteCommand.Result.STATUS_ANSWERED
        eventually(lambda: 'can not listen at' in heard.value('trace', 'metrics_trouble'))
    node.trigger_shutdown()
