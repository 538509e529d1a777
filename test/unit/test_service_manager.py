"""What systemd is told, over a real socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from notify_socket import NotifySocket, listening

from nemotron_ros.service_manager import SEND_S, ServiceManager


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifySocket]:
    """Give a socket that listens."""
    with listening(tmp_path) as it:
        yield it


def test_each_word_is_a_datagram_of_its_own(systemd: NotifySocket) -> None:
    manager = ServiceManager({'NOTIFY_SOCKET': systemd.address})
    manager.status('the model is read,\n 40 % of it')
    manager.ready()
    manager.alive()
    manager.stopping()
    assert systemd.told() == [
        'STATUS=the model is read, 40 % of it',
        'READY=1',
        'WATCHDOG=1',
        'STOPPING=1',
    ]


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, 'socket', lambda *_: pytest.fail('a socket was opened'))
    manager = ServiceManager({'WATCHDOG_USEC': '1000000'})
    assert manager.ping_s == 0
    manager.ready()
    manager.stopping()


def test_a_socket_without_a_file_is_reached() -> None:
    name = f'nemotron_test_{os.getpid()}'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f'\0{name}')
        channel.settimeout(1.0)
        ServiceManager({'NOTIFY_SOCKET': f'@{name}'}).ready()
        assert channel.recv(100) == b'READY=1'


@pytest.mark.parametrize(
    ('environ', 'ping_s'),
    [
        ({'WATCHDOG_USEC': '30000000'}, 15.0),
        ({'WATCHDOG_USEC': '30000000', 'WATCHDOG_PID': str(os.getpid())}, 15.0),
        ({'WATCHDOG_USEC': '30000000', 'WATCHDOG_PID': str(os.getpid() + 1)}, 0.0),
        ({'WATCHDOG_USEC': 'soon'}, 0.0),
        ({}, 0.0),
    ],
)
def test_pings_come_twice_as_often_as_they_must(environ: dict[str, str], ping_s: float) -> None:
    assert ServiceManager({'NOTIFY_SOCKET': '/run/notify', **environ}).ping_s == ping_s


def test_no_child_speaks_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ('NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID')
    for name in names:
        monkeypatch.setenv(name, '1')
    ServiceManager()
    assert [name for name in names if name in os.environ] == []


def test_a_systemd_that_is_gone_or_deaf_stops_nothing(
    systemd: NotifySocket, tmp_path: Path
) -> None:
    ServiceManager({'NOTIFY_SOCKET': str(tmp_path / 'none')}).ready()
    deaf = ServiceManager({'NOTIFY_SOCKET': systemd.address})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                channel.sendto(b'x', systemd.address)
    began_s = time.monotonic()
    deaf.alive()
    assert SEND_S / 2 < time.monotonic() - began_s < 4 * SEND_S
