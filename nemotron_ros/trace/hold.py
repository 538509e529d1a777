"""Holds a turn back until it is over: a secret may come in pieces, the prompt beside its event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
        if event.phase is Phase.PROMPTING:
            before = self._release(event.command_id)
            self._held[event.command_id] = [entry]
            return [*before, *self._bounded(event.command_id)]
        if event.phase is Phase.GENERATING:
            self._held.setdefault(event.command_id, []).append(entry)
            return self._bounded(event.command_id)
        said = self._release(event.command_id)
        return [*said, replace(entry, event=redact(event))]

    def add(self, command_id: str, detail: Mapping[str, Any]) -> None:
        """Put more into the detail of the event with which a command's turn began."""
        held = self._held.get(command_id)
        if not held or held[0].event.phase is not Phase.PROMPTING:
            return
        event = held[0].event
        told: Mapping[str, Any] = event.detail if isinstance(event.detail, Mapping) else {}
        held[0] = replace(held[0], event=replace(event, detail={**told, **detail}))

    def rest(self) -> list[Entry]:
        """Return everything that is still held."""
        return [entry for command_id in list(self._held) for entry in self._release(command_id)]

    def _bounded(self, command_id: str) -> list[Entry]:
        if len(self._held[command_id]) >= MAX_HELD:
            return self._release(command_id)
        if len(self._held) > MAX_COMMANDS:
            return self._release(next(iter(self._held)))
        return []

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
