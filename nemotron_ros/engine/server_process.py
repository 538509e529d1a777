"""A server in a child process: started, watched, brought up again, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
"""How long a program is given to end by itself when its input closes."""
GRACE_S = 4.0
"""How long its guardian gives to a server; less than it is given itself."""
POLL_S = (0.1, 1.0)
"""How long after another a server is asked whether it serves, at first and in the end."""
YIELDS_BY = 5
"""How much nicer a server is than the node. Where the cores are busy the model gets slower, and
not the robot's nodes, nor a stop."""
LAST_LINES = 6
LAST_CHARS = 300
"""Lines of standard error that are told when it dies."""


def guarded(command: Sequence[str]) -> tuple[list[str], str]:
    """Return the command and the settings that run a server which knows nothing of this."""
    settings = json.dumps({'command': list(command), 'grace_s': GRACE_S})
    return [sys.executable, '-m', 'nemotron_ros.engine.guardian'], settings


class ServerProcess:
    """Runs a program that ends when its input closes; brings it up again when it dies.

    :param command: the program and its arguments.
    :param settings: the line that it reads from standard input.
    :param on_state: told of every change of state, from any thread.
    :param serves: asked again and again whether it serves by now. Without it the program
        prints ``ready`` for that.
    """

    def __init__(
        self,
        command: Sequence[str],
        settings: str,
        start_timeout_s: float,
        on_state: Callable[[EngineState, str], None],
        serves: Callable[[], bool] | None = None,
    ) -> None:
        self._command = list(command)
        self._settings = settings
        self._start_timeout_s = start_timeout_s
        self._on_state = on_state
        self._serves = serves
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

    def start(self, progress: Callable[[float, str], None] = lambda _part, _text: None) -> None:
        """Start the child and wait until it serves.

        :param progress: told now and then how much of the time it may take has passed, and
            the last line that it printed.
        :raise EngineError: with the end of what it printed; nothing is left behind.
        """
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        began_s = time.monotonic()
        waited_s = 0.0
        while waited_s < self._start_timeout_s + END_S:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._failure or self._closing, 1.0)
                ready, failure, closing = self._ready, self._failure, self._closing
            if ready or failure or closing:
                break
            waited_s = time.monotonic() - began_s
            progress(min(1.0, waited_s / self._start_timeout_s), self._last_line())
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
            with suppress(ProcessLookupError):  # what it starts later is as nice
                own = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PROCESS, child.pid, own + YIELDS_BY)
            assert child.stdin
            assert child.stdout
            assert child.stderr
            with suppress(BrokenPipeError):
                child.stdin.write(self._settings.encode() + b'\n')
                child.stdin.flush()
        generation = self._generation
        reader = threading.Thread(target=self._keep, args=(child.stderr,), daemon=True)
        reader.start()
        timer = threading.Timer(self._start_timeout_s, self._give_up, (child, generation))
        timer.start()
        try:
            if self._serves is None:
                # To its end, whatever it prints: a full pipe would stop the child.
                for line in child.stdout:
                    if line.strip() == b'ready':
                        self._tell_ready(generation)
            else:
                poller = threading.Thread(target=self._poll, args=(child, generation), daemon=True)
                poller.start()
                self._keep(child.stdout)
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
        if self._generation == generation and time.monotonic() - began_s >= self._start_timeout_s:
            return f'the server was not ready within {self._start_timeout_s:g} s'
        return ': '.join(filter(None, (f'the server ended with code {code}', self.last_words())))

    def _tell_ready(self, generation: int) -> None:
        """Tell that the child which came up after that generation is ready."""
        with self._changed:
            if self._generation != generation or self._child is None or self._closing:
                return
            self._ready = True
            self._generation += 1
            self._changed.notify_all()
        self._on_state(EngineState.READY, 'the server is ready')

    def _poll(self, child: subprocess.Popen[bytes], generation: int) -> None:
        """Ask whether it serves until it does, or is not there any more."""
        assert self._serves is not None
        pause_s, longest_s = POLL_S
        while self._child is child and not self._closing:
            if self._serves():
                return self._tell_ready(generation)
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._child is not child, pause_s)
            pause_s = min(longest_s, 1.2 * pause_s)

    def _give_up(self, child: subprocess.Popen[bytes], generation: int) -> None:
        """End a child that is not ready in time."""
        if self._generation != generation:
            return
        if self._serves is None:
            child.kill()
        else:  # what its guardian guards has to end first
            _end(child)

    def _last_line(self) -> str:
        lines = tuple(self._stderr)
        return lines[-1] if lines else 'starting the server'

    def _keep(self, stderr: IO[bytes]) -> None:
        for line in stderr:
            if line.strip():
                self._stderr.append(line.decode(errors='replace').strip()[:LAST_CHARS])

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
