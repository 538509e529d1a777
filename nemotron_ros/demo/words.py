"""What is said of a command while it is carried out, for people who watch."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from nemotron_ros.client import status_name


@dataclass(frozen=True)
class Words:
    """A command, what the model made of it, and how that ended; empty as long as unknown.

    ``done`` are the calls with their arguments, and the answer. ``obeyed`` is whether the physics
    shows that it was; None before that is judged.
    """

    command: str
    done: str = ''
    outcome: str = ''
    obeyed: bool | None = None


Tell = Callable[[Words], None]


class Telling:
    """Turns the events of one command into words. Safe from any thread."""

    def __init__(self, command: str, tell: Tell) -> None:
        self._lock = threading.Lock()
        self._words = Words(command)
        self._tell = tell
        self._calls: dict[str, str] = {}
        self._answer = ''
        tell(self._words)

    def take(self, event: Any) -> None:
        """Take an event of the command's feedback."""
        with self._lock:
            self._answer += event.text_delta
            for call in event.call:
                self._calls[call.id] = call_words(call)
        self._change(done=_both(self._calls.values(), self._answer))

    def command(self, command: str) -> None:
        """More was said."""
        self._change(command=command)

    def end(self, result: Any, obeyed: bool | None = None) -> None:
        """Tell how it ended."""
        done = _both(map(call_words, result.calls), result.text)
        self._change(done=done, outcome=status_name(result), obeyed=obeyed)

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._words = replace(self._words, **changes)
            self._tell(self._words)


def call_words(call: Any) -> str:
    """Return a call as it is read: its name, and its arguments without their names."""
    return f'{call.name}({", ".join(map(str, json.loads(call.arguments).values()))})'


def done_words(result: Any) -> str:
    """Return the calls with their arguments, or the words if there were none."""
    return ', '.join(map(call_words, result.calls)) or f'"{result.text}"'


def _both(calls: Iterable[str], answer: str) -> str:
    return ' '.join(part for part in (', '.join(calls), answer and f'“{answer}”') if part)
