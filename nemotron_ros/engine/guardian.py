"""The program that stands between this package and a server that knows nothing of it.

It reads one line of JSON from standard input, ``{"command": [...], "grace_s": 4.0}``, and
runs that command. Standard input is also its lifeline: when it closes, because the parent
closed it or died, the server and everything that it has started is asked to end, and is
killed after ``grace_s``. It ends with the server's exit code, 128 + n for signal n.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_OF_THIS_PYTHON = ('PYTHONPATH', 'PYTHONHOME')


def main() -> None:
    """Run the command until it ends, or until standard input closes."""
    # Ctrl-C in a terminal reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.loads(sys.stdin.buffer.readline())
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    # What a server leaves behind when it ends becomes a child of this process.
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        server = subprocess.Popen(
            settings['command'],
            stdin=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
            # There is no other thread yet that this could catch with a lock in its hand.
            preexec_fn=_die_with(prctl, os.getpid()),
        )
    except OSError as error:
        sys.exit(f'{settings["command"][0]} can not be started: {error.strerror}')
    grace_s = float(settings['grace_s'])
    signal.signal(signal.SIGTERM, lambda *_: _in_thread(lambda: _end(server, grace_s)))
    _in_thread(lambda: _end_with_input(server, grace_s))
    code = server.wait()
    _kill_all(server.pid)
    if code < 0:
        with suppress(OSError):  # nobody may be left to read it
            name = signal.Signals(-code).name
            print(f'the server was ended by {name}', file=sys.stderr, flush=True)
    # Interpreter shutdown would wait for the thread that reads standard input.
    os._exit(code if code >= 0 else 128 - code)


def _environment() -> dict[str, str]:
    """Return what the server inherits: not where this Python finds its packages.

    Servers have packages of their own, in other versions than ROS has.
    """
    return {key: value for key, value in os.environ.items() if key not in _OF_THIS_PYTHON}


def _die_with(prctl: Callable[..., int], parent: int) -> Callable[[], None]:
    """Return what has the kernel kill the server when this process is killed."""

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it was killed before
            os._exit(1)

    return prepare


def _in_thread(function: Callable[[], None]) -> None:
    threading.Thread(target=function, daemon=True).start()


def _end_with_input(server: subprocess.Popen[bytes], grace_s: float) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    _end(server, grace_s)


def _end(server: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask the server's group to end; kill it if it takes too long."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    time.sleep(grace_s)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


def _kill_all(group: int) -> None:
    """Kill what is left of the server's group, and what has left it."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    while True:
        for child in _children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    """Return the ids of this process's children; none where the kernel does not tell."""
    tasks = Path('/proc/self/task')
    return [int(child) for file in tasks.glob('*/children') for child in file.read_text().split()]


if __name__ == '__main__':
    main()
