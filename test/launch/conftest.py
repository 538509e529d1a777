"""What every launch test is given.

The fixtures import what they need by themselves, so that pytest can load this file where ROS 2
has no launch, and say that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def launched() -> Any:
    """Give a record of the test's own."""
    from launched import Launched

    return Launched()


@pytest.fixture
def outside() -> Iterator[Any]:
    """Give a node to talk from."""
    from launched import Outside

    from nemotron_ros.spinning import spinning

    with spinning('outside') as node:
        yield Outside(node)
