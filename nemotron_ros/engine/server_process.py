"""A server in a child process: started, watched, brought up again, ended."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO

from nemotron_ros.cancel import CancelToken
from nemotron_ros.engine.protocol import EngineError, EngineState

MAX_RESTARTS = 5
HEALTHY_S = 60.0
"""A server that ran for so long gets all its restarts back."""
END_S = 5.0
LAST_LINES = 6
"""Lines of standard error that are told when it dies."""


class ServerProcess:
    """Runs a program that prints ``ready`` once it serves, and that ends when its input closes.

    :param command: the program and its arguments.
    :param settings: the line that it reads from standard input.
    :param on_state: told of every change of state, from any thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        settings: str,
        start_timeout_s: float,
        on_state: Callable[[EngineState, str], None],
    ) -> None:
        self._command = list(command)
        self._settings = settings
        self._start_timeout_s = start_timeout_s
        self._on_state = on_state
        self._changed = threading.Condition()
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._closing = False
        self._failure = ''
        self._generation = 0
        self._stderr: deque[str] = deque(maxlen=LAST_LINES)
        self._watcher: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        child = self._child
        return None if child is None else child.pid

    @property
    def generation(self) -> int:
        """How often a child has become ready."""
        return self._generation

    def start(self) -> None:
        """Start the child and wait until it serves.

        :raise EngineError: with the end of what it printed; nothing is left behind.
        """
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._ready or self._failure or self._closing,
                self._start_timeout_s + END_S,
            )
            ready, failure = self._ready, self._failure
        if not ready:
            self.close()
            raise EngineError(failure or 'the engine was closed while it started')

    def wait_ready(self, cancel: CancelToken) -> bool:
        """Wait until the child serves; False if ``cancel`` ends first.

        :raise EngineError: if it has failed for good.
        """
        forget = cancel.on_cancel(self._wake)
        try:
            with self._changed:
                while not self._ready:
                    if self._failure or self._closing:
                        raise EngineError(self._failure or 'the engine is closed')
                    if cancel.ended:
                        return False
                    self._changed.wait(min(cancel.remaining_s(), 1.0))
                return True
        finally:
            forget()

    def is_dead(self, generation: int, timeout_s: float) -> bool:
        """Whether the child of that generation has ended, waiting a little for the news."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._generation != generation or not self._ready, timeout_s
            )

    def last_words(self) -> str:
        """Return the end of what the child printed on standard error."""
        return ' | '.join(self._stderr)

    def close(self) -> None:
        """End the child; no process is left when this returns."""
        with self._changed:
            self._closing = True
            child = self._child
            self._changed.notify_all()
        if child is not None:
            _end(child)
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(END_S)

    def _watch(self) -> None:
        """Start the child, and again when it dies, until closed or out of tries."""
        tries = 0
        while True:
            began_s = time.monotonic()
            failure = self._run()
            if self._closing:
                return
            if self._generation == 0:
                return self._fail(failure)
            tries = 0 if time.monotonic() - began_s > HEALTHY_S else tries + 1
            if tries > MAX_RESTARTS:
                return self._fail(f'died {tries} times in a row: {failure}')
            self._on_state(EngineState.RESTARTING, failure)
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, 0.1 * (2 ** (tries - 1)) - 0.1):
                    return

    def _fail(self, failure: str) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()
        self._on_state(EngineState.FAILED, failure)

    def _run(self) -> str:
        """Run one child to its end; return what ended it."""
        self._stderr.clear()
        began_s = time.monotonic()
        with self._changed:
            if self._closing:
                return ''
            try:
                child = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                return f'the server can not be started: {error}'
            self._child = child
            assert child.stdin
            assert child.stdout
            assert child.stderr
            with suppress(BrokenPipeError):
                child.stdin.write(self._settings.encode() + b'\n')
                child.stdin.flush()
        reader = threading.Thread(target=self._keep, args=(child.stderr,), daemon=True)
        reader.start()
        timer = threading.Timer(self._start_timeout_s, child.kill)
        timer.start()
        ready = False
        try:
            # To its end, whatever it prints: a full pipe would stop the child.
            for line in child.stdout:
                if not ready and line.strip() == b'ready':
                    ready = True
                    timer.cancel()
                    self._tell_ready()
            code = child.wait()
        finally:
            timer.cancel()
            with self._changed:
                self._ready = False
                self._child = None
                self._changed.notify_all()
            reader.join(END_S)
            for pipe in (child.stdin, child.stdout, child.stderr):
                with suppress(BrokenPipeError):
                    pipe.close()
        if not ready and time.monotonic() - began_s >= self._start_timeout_s:
            return f'the server was not ready within {self._start_timeout_s:g} s'
        return ': '.join(filter(None, (f'the server ended with code {code}', self.last_words())))

    def _tell_ready(self) -> None:
        with self._changed:
            self._ready = True
            self._generation += 1
            self._changed.notify_all()
        self._on_state(EngineState.READY, 'the server is ready')

    def _keep(self, stderr: IO[bytes]) -> None:
        for line in stderr:
            if line.strip():
                self._stderr.append(line.decode(errors='replace').strip())

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.close()
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def private_folder() -> str:
    """Return a new folder that only this user can enter."""
    folder = tempfile.mkdtemp(prefix='nemotron_')
    os.chmod(folder, 0o700)
    return folder
