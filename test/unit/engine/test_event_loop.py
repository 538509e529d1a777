"""An event loop that nobody outside has to know of."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import CancelledError

import pytest

from nemotron_ros.engine.event_loop import EventLoop


async def thread() -> str:
    asyncio.get_running_loop()
    return threading.current_thread().name


def test_a_coroutine_runs_in_its_thread() -> None:
    loop = EventLoop('loop of a test')
    assert loop.run(thread()).result(5.0) == 'loop of a test'
    loop.close(5.0)
    assert 'loop of a test' not in {thread.name for thread in threading.enumerate()}


def test_a_future_that_is_cancelled_cancels_its_coroutine() -> None:
    loop, cancelled, begun = EventLoop('loop'), threading.Event(), threading.Event()

    async def wait() -> None:
        try:
            begun.set()
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    future = loop.run(wait())
    assert begun.wait(5.0)
    future.cancel()
    assert cancelled.wait(5.0)
    loop.close(5.0)


def test_closing_cancels_what_runs() -> None:
    loop, ended = EventLoop('loop'), list[str]()

    async def wait() -> None:
        try:
            await asyncio.sleep(60.0)
        finally:
            ended.append('ended')

    future = loop.run(wait())
    loop.run(asyncio.sleep(0)).result(5.0)
    loop.close(5.0)
    assert ended == ['ended']
    with pytest.raises(CancelledError):
        future.result(0)


def test_closing_waits_no_longer_than_told() -> None:
    loop, go_on = EventLoop('loop'), threading.Event()

    async def block() -> None:
        go_on.wait(5.0)

    loop.run(block())
    begun = time.monotonic()
    loop.close(0.1)
    assert time.monotonic() - begun < 1.0
    go_on.set()


def test_a_closed_one_takes_nothing() -> None:
    loop = EventLoop('loop')
    loop.close(5.0)
    loop.close(5.0)
    with pytest.raises(RuntimeError):
        loop.run(thread())
