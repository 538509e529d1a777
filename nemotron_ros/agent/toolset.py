"""The tools of one tool file, as commands use them; and which of them are in force."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nemotron_ros.chat.messages import Message, ToolSpec
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.model import ToolFile


@dataclass(frozen=True, eq=False)
class Toolset:
    """One tool file, and what was made of it.

    ``specs`` are the tools that the model is told of, ``opening`` the messages that every prompt
    begins with. ``let_go`` is called when nobody uses it any more.
    """

    file: ToolFile
    dispatcher: Dispatcher
    specs: tuple[ToolSpec, ...]
    opening: tuple[Message, ...]
    let_go: Callable[[], None] = lambda: None


class InForce:
    """The toolset in force. Safe from any thread.

    Who uses one keeps it to his end, also when another one comes into force meanwhile.
    """

    def __init__(self, first: Toolset) -> None:
        self._lock = threading.Lock()
        self._current = first
        self._users: Counter[Toolset] = Counter()

    @property
    def current(self) -> Toolset:
        """The one that whoever begins now gets."""
        return self._current

    @contextmanager
    def use(self) -> Iterator[Toolset]:
        """Use the one in force for as long as the block runs."""
        with self._lock:
            mine = self._current
            self._users[mine] += 1
        try:
            yield mine
        finally:
            with self._lock:
                self._users[mine] -= 1
                over = mine is not self._current and not self._users[mine]
            if over:
                mine.let_go()

    def replace(self, following: Toolset) -> None:
        """Put another one into force."""
        with self._lock:
            before, self._current = self._current, following
            over = not self._users[before]
        if over:
            before.let_go()
