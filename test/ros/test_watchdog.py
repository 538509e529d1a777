"""The node under systemd's watchdog: it pings while it spins and its engine has not failed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from notify_socket import NotifySocket, listening
from rclpy.lifecycle import TransitionCallbackReturn
from scripted_node import HERE, active_node

from nemotron_ros.engine.protocol import EngineState

WATCHDOG_S = 0.2
SILENT_S = 3 * WATCHDOG_S
PING = 'WATCHDOG=1'


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifySocket]:
    """Give a socket that the node finds in its environment, as under systemd."""
    with listening(tmp_path) as it:
        monkeypatch.setenv('NOTIFY_SOCKET', it.address)
        monkeypatch.setenv('WATCHDOG_USEC', str(int(WATCHDOG_S * 1e6)))
        yield it


def falls_silent(systemd: NotifySocket) -> bool:
    """Whether a whole interval, after what was on its way, goes by without a ping."""
    systemd.hears('nothing', WATCHDOG_S)
    systemd.forget()
    return not systemd.hears(PING, SILENT_S)


def test_it_pings_while_it_spins(ros, systemd: NotifySocket) -> None:
    node = active_node(ros)
    assert systemd.sees(lambda told: told.count(PING) >= 5, 5.0)
    go_on = threading.Event()
    try:
        node.executor.create_task(go_on.wait)  # a callback that hangs
        assert falls_silent(systemd)
    finally:
        go_on.set()
    assert systemd.hears(PING, 5.0)


def test_it_falls_silent_when_its_engine_has_failed_for_good(ros, systemd: NotifySocket) -> None:
    node = active_node(ros)
    assert systemd.hears(PING, 5.0)
    node._tell_engine(EngineState.RESTARTING, 'the server ended with code -11')
    assert not falls_silent(systemd), 'the engine is being brought up again'
    node._tell_engine(EngineState.FAILED, 'died 6 times in a row')
    assert systemd.hears('STATUS=died 6 times in a row', 5.0)
    assert falls_silent(systemd)


def test_a_node_without_an_engine_is_alive(ros, systemd: NotifySocket) -> None:
    node = active_node(ros)
    node._tell_engine(EngineState.FAILED, 'died 6 times in a row')
    assert node.trigger_deactivate() == node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    systemd.forget()
    assert systemd.hears(PING, 5.0)


def test_as_a_process_it_tells_ready_and_stopping(systemd: NotifySocket) -> None:
    program = 'import sys; from nemotron_ros.node import main; sys.exit(main())'
    values = {
        'autostart': 'true',
        'engine': 'scripted',
        'script': HERE / 'script_bench.yaml',
        'tool_file': HERE / 'tools_bench.yaml',
    }
    parameters = [text for key, value in values.items() for text in ('-p', f'{key}:={value}')]
    with subprocess.Popen(
        [sys.executable, '-c', program, '--ros-args', *parameters], env=dict(os.environ)
    ) as process:
        try:
            assert systemd.hears('READY=1', 30.0)
            assert systemd.hears(PING, 5.0)
            process.terminate()
            assert process.wait(10.0) == 0
        finally:
            process.kill()
    told = systemd.told()
    assert told.index('READY=1') < told.index('STOPPING=1')
    assert [text for text in told if text.startswith('STATUS=')][-1].endswith('is ready')
