"""The benchmark of the bridge compares like with like."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('test_msgs', reason='test_msgs is not installed')

from programs import program

from nemotron_ros.bridge.convert import to_message
from nemotron_ros.bridge.schema import schema_of
from nemotron_ros.chat.messages import ToolSpec
from nemotron_ros.tools.validate import Validator

BENCH = program('bench/bridge.py')


@pytest.mark.parametrize('name', BENCH.CASES)
def test_by_hand_and_by_the_bridge_make_the_same_message(name: str) -> None:
    message_class, by_hand, data = BENCH.CASES[name]
    assert Validator(ToolSpec('bench', '', schema_of(message_class))).check(data) == []
    assert to_message(message_class, data) == by_hand(data)
    assert by_hand(data) != message_class()


@pytest.mark.parametrize('name', BENCH.CASES)
def test_what_is_measured_publishes_and_checks(name: str) -> None:
    message_class, by_hand, data = BENCH.CASES[name]
    published: list[Any] = []
    ways = BENCH.bind(message_class, by_hand, data, lambda _: ['a fault'], published.append)
    ways['ours']()
    assert published == []  # what has a fault is not sent
    ways['by hand']()
    assert published == [by_hand(data)]


def test_the_tools_of_the_benchmark_load() -> None:
    assert set(BENCH.loaded(BENCH.TOOLS).tools) == {'switch', 'count'}
    tool_file = BENCH.loaded(BENCH.DRIVE)
    dispatcher = BENCH.Dispatcher(tool_file, BENCH.Guard(tool_file), BENCH.Nothing())
    run = BENCH.dry_run(dispatcher, ['drive'])
    assert run().status.name == 'NOT_RUN'
