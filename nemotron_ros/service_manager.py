"""What systemd is told of this process, where systemd started it: ready, alive, stopping.

The protocol is that of sd_notify(3): datagrams to the socket that ``NOTIFY_SOCKET`` names.
Without that variable nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

SEND_S = 0.5
"""How long a full socket is waited for; the next ping comes soon."""


class ServiceManager:
    """Speaks to whoever started this process, if it wants to hear.

    :param environ: its variables ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are
        read and taken out, so that no child process speaks in this one's name.
    :ivar ping_s: seconds between two pings, half of what the unit's ``WatchdogSec`` allows;
        0 where no ping is wanted.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address = environ.pop('NOTIFY_SOCKET', '')
        usec = environ.pop('WATCHDOG_USEC', '')
        pid = environ.pop('WATCHDOG_PID', '')
        # A leading @ stands for the zero byte of a socket that has no file.
        self._address = '\0' + address[1:] if address.startswith('@') else address
        mine = bool(address) and usec.isdecimal() and pid in ('', str(os.getpid()))
        self.ping_s = int(usec) / 2e6 if mine else 0.0

    def ready(self) -> None:
        """Tell that the start is over, and that it went well."""
        self._tell('READY=1')

    def alive(self) -> None:
        """Ping, so that the watchdog does not bite."""
        self._tell('WATCHDOG=1')

    def status(self, text: str) -> None:
        """Tell what ``systemctl status`` shows: one line."""
        self._tell('STATUS=' + ' '.join(text.split()))

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._tell('STOPPING=1')

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        # Who is not heard is restarted by systemd: there is nothing better to do about it here.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(SEND_S)
            channel.sendto(message.encode(), self._address)
