"""Who can reach a port."""

from __future__ import annotations

import socket

import pytest

from nemotron_ros.engine.loopback import free_port, is_reachable_from_outside


@pytest.mark.parametrize(
    ('family', 'address', 'outside'),
    [
        (socket.AF_INET, '127.0.0.1', False),
        (socket.AF_INET, '127.0.0.5', False),
        (socket.AF_INET, '0.0.0.0', True),
        (socket.AF_INET6, '::1', False),
        (socket.AF_INET6, '::ffff:127.0.0.1', False),
        (socket.AF_INET6, '::', True),
    ],
)
def test_who_can_reach_it(family: socket.AddressFamily, address: str, outside: bool) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError as error:
            pytest.skip(f'this machine has no {address}: {error}')
        port = listener.getsockname()[1]
        assert not is_reachable_from_outside(port), 'nobody listens yet'
        listener.listen()
        assert is_reachable_from_outside(port) is outside


def test_a_free_port() -> None:
    port = free_port()
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', port))
