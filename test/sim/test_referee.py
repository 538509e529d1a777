"""The referee: true accounts pass, and each kind of lie is found."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from nemotron_ros.sim.referee import Reported, Truth, disagreements, distance_m, turned_rad

PLACES = {'kitchen': {'x': 2.5, 'y': 1.6, 'yaw': 1.571}, 'hall': {'x': 2.2, 'y': -1.2, 'yaw': 0.0}}
START = Truth(0.0, 0.0, 0.0, 0.0, '', False, 0, ('hello',))
IN_KITCHEN = replace(START, x=2.52, y=1.55, yaw=1.55)
CARRIES = replace(START, x=1.6, y=2.0, yaw=2.7, holding='cup')
DOCKED = replace(START, x=2.4, y=-2.5, yaw=-1.57, docked=True)


def call(name: str, succeeded: bool = True, sent: bool = True, **arguments: object) -> Reported:
    """Return a reported call."""
    return Reported(name, arguments, succeeded, sent)


AHEAD = call('drive', direction='forward', distance_m=1.0)
BACK = call('drive', direction='backward', distance_m=0.5)
LEFT = call('turn', direction='left', angle_deg=90)
RIGHT = call('turn', direction='right', angle_deg=90)
ROUND = call('turn', direction='left', angle_deg=180)
TO_KITCHEN = call('go_to', place='kitchen')
GRAB = call('pick_up', object='cup')
DROP = call('put_down')
DOCK = call('dock')
SAY = call('say', text='good morning')
LOOK = call('look_ahead')


@pytest.mark.parametrize(
    ('before', 'calls', 'after'),
    [
        (START, [], START),
        (START, [], replace(START, x=0.01, yaw=0.01)),
        (START, [AHEAD], replace(START, x=0.95, y=0.02)),
        (START, [BACK], replace(START, x=-0.52)),
        (START, [LEFT], replace(START, yaw=math.pi / 2 + 0.05)),
        (START, [ROUND], replace(START, yaw=-math.pi + 0.02)),
        (START, [LEFT, AHEAD], replace(START, y=1.0, yaw=math.pi / 2)),
        (START, [RIGHT, BACK], replace(START, y=0.5, yaw=-math.pi / 2)),
        (START, [TO_KITCHEN], IN_KITCHEN),
        (START, [TO_KITCHEN, RIGHT, AHEAD], replace(START, x=3.5, y=1.6, yaw=0.0)),
        (START, [GRAB], CARRIES),
        (START, [GRAB, TO_KITCHEN], replace(IN_KITCHEN, holding='cup')),
        (CARRIES, [TO_KITCHEN, DROP], IN_KITCHEN),
        (CARRIES, [LOOK], CARRIES),
        (START, [DOCK], DOCKED),
        (DOCKED, [AHEAD], replace(DOCKED, y=-3.5, docked=False)),
        (START, [SAY], replace(START, heard=('hello', 'good morning'))),
        (START, [LOOK, SAY], replace(START, heard=('hello', 'good morning'))),
        # Refused before it reached the robot.
        (START, [call('drive', succeeded=False, sent=False, distance_m=50)], START),
        # Failed on the way: where it is now is anybody's guess.
        (START, [replace(AHEAD, succeeded=False)], replace(START, x=0.4)),
        (START, [replace(GRAB, succeeded=False)], replace(START, x=1.0)),
    ],
)
def test_true_account_passes(before, calls, after):
    assert disagreements(before, after, calls, PLACES) == []


@pytest.mark.parametrize(
    ('before', 'calls', 'after', 'found'),
    [
        (START, [], replace(START, x=0.05), 'no call was reported, and it moved 0.05 m'),
        (START, [], replace(START, yaw=0.3), 'heading is 17 degrees'),
        (
            START,
            [replace(AHEAD, succeeded=False, sent=False)],
            replace(START, x=1.0),
            'no call was reported, and it moved 1.00 m',
        ),
        (START, [LOOK], replace(START, x=1.0), '1.00 m from where the calls lead'),
        (START, [AHEAD], START, '1.00 m from where the calls lead'),
        (START, [AHEAD], replace(START, x=0.8), '0.20 m from where the calls lead'),
        (START, [AHEAD], replace(START, x=-1.0), '2.00 m from where the calls lead'),
        (START, [AHEAD], replace(START, x=1.0, yaw=0.2), 'heading is 11 degrees'),
        (START, [LEFT], replace(START, yaw=-math.pi / 2), 'heading is -180 degrees'),
        (START, [LEFT, AHEAD], replace(START, x=1.0, yaw=math.pi / 2), '1.41 m'),
        (START, [TO_KITCHEN], START, '2.97 m from where the calls lead'),
        (START, [TO_KITCHEN], replace(IN_KITCHEN, yaw=0.0), 'heading is -90 degrees'),
        (START, [GRAB], replace(CARRIES, holding=''), "reported to hold 'cup', holds ''"),
        (START, [GRAB], replace(CARRIES, holding='ball'), "reported to hold 'cup', holds 'ball'"),
        (START, [GRAB, TO_KITCHEN], IN_KITCHEN, "reported to hold 'cup', holds ''"),
        (CARRIES, [DROP], CARRIES, "reported to hold 'nothing', holds 'cup'"),
        (START, [TO_KITCHEN], replace(IN_KITCHEN, holding='cup'), "holds 'cup'"),
        (CARRIES, [], replace(CARRIES, holding=''), "reported to hold 'cup', holds ''"),
        (START, [SAY], START, '1 sayings reported, 0 heard'),
        (START, [], replace(START, heard=('hello', 'boo')), '0 sayings reported, 1 heard'),
        (START, [DOCK], replace(DOCKED, docked=False), 'reported to be docked'),
        (START, [DOCK, LOOK], replace(DOCKED, docked=False), 'reported to be docked'),
        (START, [AHEAD], replace(START, x=1.0, speed_mps=0.3), 'still moves at 0.30 m/s'),
        (
            START,
            [replace(AHEAD, succeeded=False)],
            replace(START, x=0.4, speed_mps=0.3),
            'still moves at 0.30 m/s',
        ),
    ],
)
def test_lie_is_found(before, calls, after, found):
    assert found in '; '.join(disagreements(before, after, calls, PLACES))


def test_truth_is_read_from_the_answer_of_the_robot():
    answer = {
        'x': 1.0, 'y': 2.0, 'yaw': 0.5, 'v': -0.1, 'w': 0.5, 'holding': 'cup', 'docked': False,
        'collisions': 3, 'battery': 0.5, 'heard': ['hello'], 'more': 'than it needs',
    }  # fmt: skip
    truth = Truth.parse(json.dumps(answer))
    assert truth == Truth(1.0, 2.0, 0.5, truth.speed_mps, 'cup', False, 3, ('hello',), 0.5)
    assert truth.speed_mps == pytest.approx(0.2)


def test_distance_and_turn_between_two_truths():
    there = replace(START, x=3.0, y=4.0, yaw=-3.0)
    assert distance_m(START, there) == 5.0
    assert turned_rad(replace(START, yaw=3.0), there) == pytest.approx(math.tau - 6.0)
