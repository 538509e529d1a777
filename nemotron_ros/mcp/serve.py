"""Runs the MCP server: over this process's own pipes, or over HTTP on this machine alone."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

LOOPBACK = '127.0.0.1'
EXIT_S = 15.0
"""How long calls that were cancelled are given to end when the server does."""
LEAVE_S = 1
"""How long an HTTP server that is told to end waits for its clients before it cancels calls."""


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client, until it closes its end or the process is told to end.

    Calls that still run are cancelled and waited for.
    """
    async with anyio.create_task_group() as tasks:
        served = anyio.Event()

        async def serve() -> None:
            async with stdio_server() as (read, write):
                try:
                    await server.run(read, write, server.create_initialization_options())
                finally:
                    served.set()
            tasks.cancel_scope.cancel()

        async def watch() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for number in signals:
                    tasks.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True), anyio.move_on_after(EXIT_S):
                        await served.wait()
                    # The thread that waits for the client's next line can't be interrupted.
                    sys.stderr.flush()
                    os._exit(128 + number)

        tasks.start_soon(serve)
        tasks.start_soon(watch)


async def serve_http(server: Server[Any], listener: socket.socket) -> None:
    """Serve clients of this machine at path ``/mcp``, until SIGINT or SIGTERM.

    Requests that name another host or come from a web page of another origin are refused.

    :param listener: from :func:`listen`.
    """
    app = server.streamable_http_app(host=LOOPBACK)
    config = uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=LEAVE_S)
    await uvicorn.Server(config).serve([listener])


def listen(port: int) -> socket.socket:
    """Return a socket that listens on this machine's own address only.

    :raise OSError: if the port is taken, or not ours to take.
    """
    return socket.create_server((LOOPBACK, port))
