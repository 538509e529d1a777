"""A trace as JSON lines: the origin, then an entry a line. Any tool can read it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nemotron_ros.trace.record import (
    Entry,
    Origin,
    Trace,
    TraceError,
    entry_json,
    entry_of,
    origin_json,
    origin_of,
)

SUFFIX = '.jsonl'
MAX_LINE_BYTES = 8 << 20


class JsonLines:
    """Writes one; what was written is on disk when :meth:`write` has returned.

    :raise OSError: here and in :meth:`write`, if the disk does not take it.
    """

    def __init__(self, path: Path, origin: Origin) -> None:
        # Of its own, or not at all: nothing is written through a link that lies there.
        self._file = path.open('xb', buffering=0)
        self.size_bytes = 0
        try:
            self._put([origin_json(origin)])
        except OSError:
            self.close()
            raise

    def write(self, entries: Iterable[Entry]) -> None:
        """Append entries."""
        self._put(map(entry_json, entries))

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _put(self, lines: Iterable[dict[str, Any]]) -> None:
        data = b''.join(json.dumps(line, ensure_ascii=False).encode() + b'\n' for line in lines)
        while data:  # an unbuffered file may take a part of it
            taken = self._file.write(data) or 0
            self.size_bytes += taken
            data = data[taken:]


def read(path: Path) -> Trace:
    """Read a trace. A last line that was cut off is told as a flaw.

    :raise TraceError: naming the line that can't be read.
    """
    entries: list[Entry] = []
    origin: Origin | None = None
    flaws: list[str] = []
    try:
        with path.open('rb') as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b''), 1):
                if not line.endswith(b'\n'):
                    flaws.append(f'{path}:{number}: the last line was cut off')
                    break
                try:
                    data = json.loads(line)
                    if not isinstance(data, dict):
                        raise TraceError('expected a JSON object')
                    if origin is None:
                        origin = origin_of(data)
                    else:
                        entries.append(entry_of(data))
                except (ValueError, RecursionError, TraceError) as error:
                    raise TraceError(f'{path}:{number}: {error}') from None
    except OSError as error:
        raise TraceError(f'{path}: can not be read: {error.strerror or error}') from None
    if origin is None:
        raise TraceError(f'{path}: is empty')
    return Trace(origin, tuple(entries), tuple(flaws))
