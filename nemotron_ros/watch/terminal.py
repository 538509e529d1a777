"""The terminal: keys as they are pressed, and the picture, drawn again as things change."""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.live import Live

from nemotron_ros.watch.keys import Answer, Quit, Refused, Shown, Stop, meaning
from nemotron_ros.watch.link import Link
from nemotron_ros.watch.news import KeyTold, News
from nemotron_ros.watch.screen import readable, screen
from nemotron_ros.watch.view import View, after

DRAW_S = 0.1
"""Between two pictures, at least."""
TICK_S = 0.5
"""Between two pictures, at most: times run on."""
CHUNK_BYTES = 256


class Watcher:
    """Shows what is heard, and does what keys say.

    Drawing and keys have a thread each: a terminal that takes nothing does not keep a stop
    from being asked for.
    """

    def __init__(self, node: str) -> None:
        self._news: SimpleQueue[News] = SimpleQueue()
        self._over = threading.Event()
        self.interrupted = False
        self._shown = Shown(View(node))

    def hear(self, news: News) -> None:
        """Take note of what is heard; from any thread."""
        self._news.put(news)

    def press(self, pressed: str, link: Link) -> None:
        """Do what a key means to who sees the present picture."""
        meant = meaning(pressed, self._shown, time.monotonic())
        if isinstance(meant, Stop):
            link.stop()
        elif isinstance(meant, Answer):
            link.answer(meant.question_id, meant.yes)
        elif isinstance(meant, Refused):
            self.hear(KeyTold(meant.why, good=False))
        elif isinstance(meant, Quit):
            self.close()

    def close(self) -> None:
        """Watch no longer."""
        self._over.set()

    def interrupt(self) -> None:
        """Watch no longer, told by a signal: it may come amid anything, so no lock is taken."""
        self.interrupted = True

    def follow_keys(self, descriptor: int, link: Link) -> None:
        """Do what the keys of a terminal mean, until the end."""
        while not self._over.is_set():
            if not select.select([descriptor], [], [], DRAW_S)[0]:
                continue
            pressed = os.read(descriptor, CHUNK_BYTES)
            if not pressed:  # the terminal has gone
                self.close()
            self.press(pressed.decode(errors='replace'), link)

    def draw(self, console: Console) -> None:
        """Draw what is heard, until the end."""
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not (self._over.is_set() or self.interrupted):
                view = self._listen(self._shown.view, TICK_S)
                width, height = console.size
                now_s = time.monotonic()
                live.update(screen(view, now_s, width, height), refresh=True)
                self._shown = self._shown.then(view, readable(view, width, height), now_s)
                self._over.wait(DRAW_S)

    def _listen(self, view: View, within_s: float) -> View:
        """Return what is known once everything is heard that has come; waits for the first."""
        try:
            view = after(view, self._news.get(timeout=within_s), time.monotonic())
            while True:
                view = after(view, self._news.get_nowait(), time.monotonic())
        except Empty:
            return view


@contextmanager
def keys_at_once(descriptor: int) -> Iterator[None]:
    """Have a terminal hand over each key as it is pressed, unseen; as before afterwards."""
    before = termios.tcgetattr(descriptor)
    now = termios.tcgetattr(descriptor)
    now[0] &= ~termios.IXON  # Ctrl-S would stop the picture, and look like a robot that stands
    now[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, now)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


@contextmanager
def ended_in_order(watcher: Watcher) -> Iterator[None]:
    """Have signals end the watching in order, so that the terminal is given back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda *_: watcher.interrupt()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def run(watcher: Watcher, link: Link, descriptor: int, console: Console) -> None:
    """Watch on a terminal until a key or a signal ends it."""
    with ended_in_order(watcher), keys_at_once(descriptor):
        keys = threading.Thread(target=watcher.follow_keys, args=(descriptor, link), daemon=True)
        keys.start()
        try:
            watcher.draw(console)
        finally:
            watcher.close()
            keys.join(1.0)
