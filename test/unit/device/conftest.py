"""The profiles that are shipped, and the boards."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nemotron_ros.device.profile import Profile, load_profiles

CONFIG = Path(__file__).resolve().parents[3] / 'config'


@pytest.fixture(scope='session')
def profiles() -> Mapping[str, Profile]:
    return load_profiles(CONFIG / 'devices')
