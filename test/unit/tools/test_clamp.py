"""Numbers out of range, brought to its edge where the tool file says so, and told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorder import ROBOT, Recorder, dispatcher

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.tools.clamp import clamp
from nemotron_ros.tools.model import OutOfRange, ToolFile
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.validate import Validator

RANGE = {'x': {'type': 'number', 'minimum': 0.5, 'maximum': 3}, 'text': {'type': 'string'}}
DRIVE = ROBOT.tools['drive']
LENIENT: ToolFile = replace(
    ROBOT, tools={**ROBOT.tools, 'drive': replace(DRIVE, out_of_range=OutOfRange.CLAMP)}
)
ALL = frozenset(ROBOT.tools)


@pytest.mark.parametrize(
    ('asked', 'clamped'),
    [(50, {'x': 3}), (0.1, {'x': 0.5}), (3.5, {'x': 3}), (3, {}), (0.5, {}), (2, {})],
)
def test_what_is_out_of_range_is_brought_to_its_edge(asked: float, clamped: object) -> None:
    arguments = {'x': asked, 'text': 'far'}
    within, moved = clamp(arguments, RANGE)
    assert moved == clamped
    assert within == {**arguments, **moved}


@pytest.mark.parametrize('asked', [-2, 0, -0.1, float('nan'), True, '50', None, [50]])
def test_what_is_no_number_of_that_side_is_left_to_the_validator(asked: object) -> None:
    within, moved = clamp({'x': asked}, RANGE)
    assert moved == {}
    assert within['x'] is asked


@given(st.floats(), st.integers(-9, 9), st.integers(0, 9))
def test_what_is_clamped_is_valid(asked: float, low: int, size: int) -> None:
    schema: dict[str, Any] = {'type': 'number', 'minimum': low, 'maximum': low + size}
    within, moved = clamp({'x': asked}, {'x': schema})
    if moved:
        spec = replace(DRIVE.spec, parameters={'type': 'object', 'properties': {'x': schema}})
        assert Validator(spec).check(within) == []


def test_the_edge_runs_and_is_told() -> None:
    edge = DRIVE.spec.parameters['properties']['distance_m']['maximum']
    recorder = Recorder()
    asked = ToolCall('call_1', 'drive', {'distance_m': 50})
    result = dispatcher(recorder, LENIENT).run(asked, ALL, CancelToken())
    assert result.status is Status.SUCCEEDED
    assert result.clamped == {'distance_m': edge}
    assert [arguments['distance_m'] for _, arguments in recorder.calls] == [edge]


def test_a_number_on_the_other_side_of_zero_is_refused() -> None:
    recorder = Recorder()
    asked = ToolCall('call_1', 'drive', {'distance_m': -50})
    result = dispatcher(recorder, LENIENT).run(asked, ALL, CancelToken())
    assert (result.status, recorder.calls, result.clamped) == (Status.INVALID, [], {})


@pytest.mark.parametrize('way', [OutOfRange.REFUSE, OutOfRange.CONSTRAIN])
def test_any_other_way_refuses(way: OutOfRange) -> None:
    tools = {**ROBOT.tools, 'drive': replace(DRIVE, out_of_range=way)}
    recorder = Recorder()
    asked = ToolCall('call_1', 'drive', {'distance_m': 50})
    result = dispatcher(recorder, replace(ROBOT, tools=tools)).run(asked, ALL, CancelToken())
    assert (result.status, recorder.calls, result.clamped) == (Status.INVALID, [], {})
