"""Holds the words of a turn back until it is over, to find a secret that came in pieces."""

from __future__ import annotations

from dataclasses import replace

from nemotron_ros.events import Phase
from nemotron_ros.trace.record import Entry
from nemotron_ros.trace.redact import blank, redact

MAX_HELD = 4096
"""So many deltas of a command are held at most."""
MAX_COMMANDS = 64


class Hold:
    """Takes entries as they come; gives them without secrets, each with its own time."""

    def __init__(self) -> None:
        self._held: dict[str, list[Entry]] = {}

    def push(self, entry: Entry) -> list[Entry]:
        """Return what can be written now, in the order of its command."""
        event = entry.event
        if event.phase is Phase.GENERATING:
            held = self._held.setdefault(event.command_id, [])
            held.append(entry)
            if len(held) >= MAX_HELD:
                return self._release(event.command_id)
            if len(self._held) > MAX_COMMANDS:
                return self._release(next(iter(self._held)))
            return []
        said = self._release(event.command_id)
        return [*said, replace(entry, event=redact(event))]

    def rest(self) -> list[Entry]:
        """Return everything that is still held."""
        return [entry for command_id in list(self._held) for entry in self._release(command_id)]

    def _release(self, command_id: str) -> list[Entry]:
        held = self._held.pop(command_id, [])
        texts = blank([entry.event.text_delta for entry in held])
        thoughts = blank([entry.event.reasoning_delta for entry in held])
        return [
            replace(
                entry,
                event=replace(redact(entry.event), text_delta=text, reasoning_delta=thought),
            )
            for entry, text, thought in zip(held, texts, thoughts, strict=True)
        ]
