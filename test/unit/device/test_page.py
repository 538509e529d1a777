"""The page about boards has every profile, with its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nemotron_ros.device.budget import GIB, needed_bytes
from nemotron_ros.device.profile import Profile

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'devices.md'
ROW = re.compile(r'^\| `(\w+)`[^|]*\| `(\w+)` \| .*, (\S+) \| (\d+) . (\d+) \| (\S+) GiB \|$')


def test_the_table_is_what_the_profiles_say(profiles: Mapping[str, Profile]) -> None:
    rows = [match.groups() for line in PAGE.read_text().splitlines() if (match := ROW.match(line))]
    assert sorted(rows) == sorted(
        (
            profile.name,
            profile.engine,
            profile.precision.upper(),
            str(profile.context_tokens),
            str(profile.max_batch_size),
            f'{needed_bytes(profile) / GIB:.1f}',
        )
        for profile in profiles.values()
    )


def test_how_to_install_is_what_the_doctor_says(profiles: Mapping[str, Profile]) -> None:
    page = PAGE.read_text()
    for command in profiles['jetson_thor'].install.split(' && '):
        assert command in page
