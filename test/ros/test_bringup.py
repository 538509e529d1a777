"""What is wrong with a robot's surroundings is told in one clear line by the process itself.

Each process is started by the description that launch files and the demo use.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.bringup import Process, headless_robot, nemotron
from nemotron_ros.cancel import CancelToken
from nemotron_ros.client import CommandClient, CommandError
from nemotron_ros.spinning import spinning

FIXTURES = Path(__file__).resolve().parents[1] / 'fixtures'
TOOLS = FIXTURES / 'tools_bench.yaml'
BENCH: dict[str, Any] = {
    'tool_file': TOOLS,
    'engine': 'scripted',
    'script': str(FIXTURES / 'script_bench.yaml'),
}
READY = '2 tools of'
Started = tuple[subprocess.Popen[bytes], Callable[[], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Process], Started]]:
    """Start a process of a description; it is ended with the test."""
    children: list[subprocess.Popen[bytes]] = []
    outputs: list[IO[str]] = []

    def begin(process: Process) -> Started:
        log = tmp_path / f'output_{len(children)}'
        outputs.append(log.open('w'))
        children.append(process.start(outputs[-1]))
        return children[-1], log.read_text

    yield begin
    for child, output in zip(children, outputs, strict=True):
        if child.poll() is None:
            child.kill()
        child.wait()
        output.close()


def refusal(started: Started) -> str:
    """Return the only line that a process says before it ends with an error."""
    child, output = started
    assert child.wait(20) == 1, output()
    lines = output().splitlines()
    assert len(lines) == 1, output()
    return lines[0]


def ends(child: subprocess.Popen[bytes]) -> int:
    """End a process as Ctrl-C does; return its exit code."""
    child.send_signal(signal.SIGINT)
    return child.wait(20)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'engine': '', 'device': 'toaster'}, 'device: expected one of cpu, '),
        ({'tool_file': '/none.yaml'}, '/none.yaml: can not be read: '),
        ({'tool_file': ''}, 'tool_file: is not set; give the path of a tool file'),
        ({'engine': 'oracle'}, 'engine: expected llama_cpp or '),
        ({'script': '/none.yaml'}, '/none.yaml'),
        ({'temperature': 7.5}, 'temperature out of range Min: 0.0, Max: 2.0, value: 7.5'),
        ({'engine': 'vllm', 'url': 'http://127.0.0.1:9'}, 'is the server running, and is this'),
    ],
)
def test_a_bad_argument_is_told(start: Any, changes: dict[str, Any], message: str) -> None:
    assert message in refusal(start(nemotron(**{**BENCH, **changes})))


def test_a_model_that_is_not_on_disk_is_not_downloaded(
    start: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    for proxy in ('http_proxy', 'https_proxy', 'HTTPS_PROXY'):
        monkeypatch.setenv(proxy, 'http://127.0.0.1:9')  # a network that leads nowhere
    line = refusal(start(nemotron(TOOLS, model='nemotron')))
    assert 'is not there; fetch it with `nemotron model fetch nemotron`' in line


def test_a_log_folder_that_can_not_be_written_is_named(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_LOG_DIR', '/proc/none')  # as on a file system that is read-only
    line = refusal(start(nemotron(**BENCH)))
    assert "Failed to create log directory '/proc/none'" in line


@pytest.mark.skipif(
    shutil.which('unshare') is None or os.geteuid() != 0,
    reason='only root can make its file systems read-only, with unshare',
)
def test_on_a_read_only_file_system_it_obeys_once_logs_go_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path))
    read_only = 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"'
    if subprocess.run(['unshare', '-m', 'sh', '-c', read_only, 'sh', 'true']).returncode != 0:
        pytest.skip('file systems can not be made read-only here')
    process = nemotron(**BENCH)
    program = 'import sys; from nemotron_ros.node import main; sys.exit(main())'
    command = [sys.executable, '-c', program, *process.ros_arguments()]
    script = f'mount -t tmpfs none {tmp_path} && {read_only}'
    with subprocess.Popen(
        ['unshare', '-m', 'sh', '-c', script, 'sh', *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert READY in line
        assert ends(child) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize('make', [headless_robot, lambda **more: nemotron(**BENCH, **more)])
def test_a_namespace_that_is_none_starts_nothing(make: Callable[..., Process]) -> None:
    with pytest.raises(ValueError, match=r"^namespace: expected .*robot_1, got 'robot-1'$"):
        make(namespace='robot-1')
    assert make(namespace='/site/robot_1/').namespace == '/site/robot_1/'


def test_a_middleware_that_is_not_installed_starts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nemotron(**BENCH)
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_nonsense')
    with pytest.raises(
        ValueError, match=r"^RMW_IMPLEMENTATION: expected rmw_.*got 'rmw_nonsense'"
    ):
        nemotron(**BENCH)


def test_without_discovery_a_client_says_what_to_look_at(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'OFF')
    child, output = start(nemotron(**BENCH))
    assert until_true(lambda: READY in output(), 20.0, CancelToken())
    with spinning('asking') as node:
        client = CommandClient(node)
        with pytest.raises(CommandError, match=r'is the nemotron node .* same ROS_DOMAIN_ID'):
            client.wait_ready(1.0)
        client.close()
    assert ends(child) == 0


def test_what_is_started_logs_as_it_was_told(start: Any) -> None:
    child, output = start(nemotron(**BENCH, log_level='debug'))
    assert until_true(lambda: READY in output(), 20.0, CancelToken())
    assert ends(child) == 0
    assert '[DEBUG]' in output()


def test_a_second_robot_of_one_name_ends(start: Any) -> None:
    first, output = start(nemotron(**BENCH, namespace='lab'))
    assert until_true(lambda: READY in output(), 20.0, CancelToken())
    line = refusal(start(nemotron(**BENCH, namespace='lab')))
    assert '/lab/nemotron runs on this machine already' in line
    assert 'give each robot a namespace of its own' in line
    other, said = start(nemotron(**BENCH, namespace='hall'))
    assert until_true(lambda: READY in said(), 20.0, CancelToken())
    first.kill()
    first.wait()
    again, words = start(nemotron(**BENCH, namespace='lab'))
    assert until_true(lambda: READY in words(), 20.0, CancelToken())
    assert [ends(again), ends(other)] == [0, 0]
