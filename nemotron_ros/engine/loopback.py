"""Ports of this machine's own network, which no other machine can reach."""

from __future__ import annotations

import socket
from pathlib import Path

HOST = '127.0.0.1'
PORT = '{port}'
"""Stands for the port in a server's command line and address."""
_LISTEN = '0A'


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def is_reachable_from_outside(port: int) -> bool:
    """Say whether somebody listens on this port for more than this machine.

    Where the kernel does not tell, nobody is said to.
    """
    for table in (Path('/proc/net/tcp'), Path('/proc/net/tcp6')):
        rows = table.read_text().splitlines()[1:] if table.exists() else []
        for row in rows:
            _, local, _, state, *_ = row.split()
            address, _, hexadecimal = local.rpartition(':')
            if int(hexadecimal, 16) == port and state == _LISTEN and not _is_loopback(address):
                return True
    return False


def _is_loopback(address: str) -> bool:
    """``address`` is as the kernel writes it: words of 32 bits, each in the machine's order."""
    if len(address) == 8:
        return bytes.fromhex(address)[::-1][:1] == b'\x7f'
    words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, 32, 8)]
    plain = b''.join(words)
    return plain == bytes(15) + b'\x01' or plain[:13] == bytes(10) + b'\xff\xff\x7f'
