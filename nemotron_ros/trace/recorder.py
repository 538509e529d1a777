"""Writes a trace in a thread of its own: who tells an event never waits for a disk."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from nemotron_ros.events import Event, Phase
from nemotron_ros.trace.folder import Keep, check_room, next_stem, prune
from nemotron_ros.trace.hashes import sha256_of
from nemotron_ros.trace.hold import Hold
from nemotron_ros.trace.record import Entry, Origin

MAX_WAITING = 20_000
"""Events that wait for the disk; later ones are lost, and counted."""
BATCH = 500
RETRY_S = 30.0
"""How long nothing is tried after the disk has refused."""
CLOSE_S = 2.0


class Sink(Protocol):
    """A file that a trace is written to. Each of its methods may raise OSError."""

    size_bytes: int

    def write(self, entries: Iterable[Entry]) -> None:
        """Append entries."""

    def close(self) -> None:
        """End the file, so that it can be read."""


MakeSink = Callable[[Path, Origin], Sink]
"""Begins a file: the path without its suffix, and where the trace comes from."""

_Item = Entry | tuple[str, Mapping[str, Any]]


class Recorder:
    """Keeps what happens, bounded, in a folder. Safe from any thread.

    :param sinks: begin the files of a trace; each event goes into all of them.
    :param on_trouble: is told once when writing fails, from the recorder's thread; until it
        works again, events are counted in ``lost`` and nothing else happens.
    """

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        sinks: Sequence[MakeSink],
        keep: Keep,
        on_trouble: Callable[[str], None],
        retry_s: float = RETRY_S,
    ) -> None:
        self.trouble = ''
        self.lost = 0
        self.written = 0
        self._folder = folder
        self._origin = origin
        self._make = tuple(sinks)
        self._keep = keep
        self._on_trouble = on_trouble
        self._retry_s = retry_s
        self._waiting: queue.Queue[_Item | None] = queue.Queue(MAX_WAITING)
        self._start_ns = time.time_ns() - time.monotonic_ns()
        self._open: list[Sink] = []
        self._begun_s = 0.0
        self._failed_s: float | None = None
        self._running: set[str] = set()
        self._hold = Hold()
        self._ending = threading.Event()
        self._overrun = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name='nemotron_trace', daemon=True)
        self._thread.start()

    def note(self, event: Event, stamp_ns: int) -> None:
        """Keep an event; never waits, never raises.

        :param stamp_ns: the node's clock.
        """
        self._put(Entry(self._start_ns + time.monotonic_ns(), stamp_ns, event))

    def add(self, command_id: str, detail: Mapping[str, Any]) -> None:
        """Keep more of the turn that a command is at: its prompt, its cost; never waits."""
        self._put((command_id, detail))

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Write what is left and end the files; whether that was done in time."""
        self._ending.set()
        with suppress(queue.Full):  # then it is not asleep, and looks for itself
            self._waiting.put_nowait(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, item: _Item) -> None:
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            with self._lock:
                self._overrun += 1

    # In the recorder's own thread

    def _run(self) -> None:
        self._hash_files()
        while True:
            batch, ended = self._next()
            entries = [entry for item in batch for entry in self._held(item)]
            if ended:
                entries += self._hold.rest()
            self._count_overrun()
            if entries:
                self._write(entries)
            if ended:
                self._close_files()
                return

    def _held(self, item: _Item) -> list[Entry]:
        if isinstance(item, Entry):
            return self._hold.push(item)
        self._hold.add(*item)
        return []

    def _next(self) -> tuple[list[_Item], bool]:
        """Wait for entries; return them, and whether those were the last ones."""
        batch: list[_Item] = []
        if self._ending.is_set() and self._waiting.empty():
            return batch, True
        item = self._waiting.get()
        while item is not None:
            batch.append(item)
            if len(batch) >= BATCH:
                return batch, False
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return batch, self._ending.is_set()
        return batch, True

    def _write(self, entries: list[Entry]) -> None:
        now_s = time.monotonic()
        if self._failed_s is not None and now_s - self._failed_s < self._retry_s:
            self.lost += len(entries)
            return
        try:
            self._begin_if_due(now_s)
            check_room(self._folder, self._keep)
            for sink in self._open:
                sink.write(entries)
        except Exception as error:  # whatever it is, no command may suffer from it
            self.lost += len(entries)
            self._fail(now_s, error)
            return
        self.written += len(entries)
        self._failed_s, self.trouble = None, ''
        for entry in entries:
            self._follow(entry.event)

    def _begin_if_due(self, now_s: float) -> None:
        """Begin new files where there are none, or where those are large or old.

        Not amid a command, so that its story is in one file, unless it goes on and on.
        """
        if self._open:
            size = sum(sink.size_bytes for sink in self._open)
            large = size >= self._keep.max_file_bytes
            old = now_s - self._begun_s >= self._keep.max_span_s
            if not (large or old) or (self._running and size < 2 * self._keep.max_file_bytes):
                return
            self._close_files()
        stem = next_stem(self._folder, self._origin.node)
        prune(self._folder, self._keep, stem)
        origin = replace(self._origin, started_ns=time.time_ns(), lost=self.lost)
        for make in self._make:
            self._open.append(make(stem, origin))
        self._begun_s = now_s

    def _follow(self, event: Event) -> None:
        if event.phase is Phase.ACCEPTED:
            self._running.add(event.command_id)
        elif event.phase is Phase.DONE:
            self._running.discard(event.command_id)

    def _fail(self, now_s: float, error: Exception) -> None:
        told = not self.trouble
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        self.trouble = f'{self._folder}: can not be written: {reason}'
        self._failed_s = now_s
        self._close_files()
        self._running.clear()
        if told:
            with suppress(Exception):
                self._on_trouble(self.trouble)

    def _count_overrun(self) -> None:
        with self._lock:
            overrun, self._overrun = self._overrun, 0
        if overrun:
            self.lost += overrun

    def _close_files(self) -> None:
        for sink in self._open:
            with suppress(Exception):
                sink.close()
        self._open = []

    def _hash_files(self) -> None:
        known = self._origin
        over = self._ending.is_set
        self._origin = replace(
            known,
            tool_file_sha256=sha256_of(Path(known.tool_file), over),
            model_sha256=known.model_sha256 or sha256_of(Path(known.model_file), over),
        )
