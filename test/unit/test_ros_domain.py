"""Each run of the tests has a ROS domain of its own, and counts its participants in it."""

from __future__ import annotations

import os
import socket

import pytest
from ros_domain import FIRST_PARTICIPANT, FIRST_PORT, PORTS_PER_DOMAIN, participants, take_domain


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the variables back that this run has set for itself."""
    for name in ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE'):
        monkeypatch.setenv(name, os.environ[name])


def test_a_domain_is_held_before_anybody_speaks_in_it() -> None:
    run = os.environ['ROS_DOMAIN_ID']
    with take_domain():
        first = os.environ['ROS_DOMAIN_ID']
        with take_domain():
            second = os.environ['ROS_DOMAIN_ID']
    assert len({run, first, second}) == 3


def test_participants_are_counted_by_their_ports() -> None:
    with take_domain():
        first = FIRST_PORT + PORTS_PER_DOMAIN * int(os.environ['ROS_DOMAIN_ID'])
        assert participants() == 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as discovery:
            discovery.bind(('127.0.0.1', first + FIRST_PARTICIPANT))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as data:
                data.bind(('127.0.0.1', first + FIRST_PARTICIPANT + 1))
                assert participants() == 1
        assert participants() == 0
