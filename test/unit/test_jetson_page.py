"""The numbers and commands of docs/jetson.md are those of the boards' profiles."""

from __future__ import annotations

import re
from pathlib import Path

from nemotron_ros.device.budget import GIB
from nemotron_ros.device.profile import Profile, load_profiles

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs/jetson.md').read_text()
PROFILES = load_profiles(ROOT / 'config/devices')
# The profile that each column's first number is of, and the one that is named in it besides.
COLUMNS = (('jetson_thor', ''), ('jetson_agx_orin', 'jetson_orin_nx'), ('jetson_orin_nano', ''))
LINK_BITS_PER_S = 100e6


def row(title: str) -> list[str]:
    """Return the cells of a row of the table."""
    (found,) = re.findall(rf'^\| {re.escape(title)}.*\|$', PAGE, re.MULTILINE)
    return [cell.strip() for cell in found.split('|')[2:-1]]


def numbers(cell: str) -> list[float]:
    return [float(number) for number in re.findall(r'\d+(?:\.\d+)?', cell)]


def total_gib(profile: Profile) -> float:
    memory = profile.memory
    tokens = profile.context_tokens * memory.kv_bytes_per_token + memory.state_bytes_per_sequence
    return (memory.weights_bytes + memory.working_bytes + profile.max_batch_size * tokens) / GIB


def test_sizes_are_the_profiles() -> None:
    for (name, other), size, time, memory in zip(
        COLUMNS,
        row('model to fetch'),
        row('at 100 Mbit/s, computed'),
        row('memory when it runs'),
        strict=True,
    ):
        profile = PROFILES[name]
        weights = profile.memory.weights_bytes
        assert numbers(size) == [round(weights / 1e9, 2)]
        assert numbers(time) == [round(8 * weights / LINK_BITS_PER_S / 60)]
        wanted = [total_gib(profile)] + ([total_gib(PROFILES[other])] if other else [])
        assert numbers(memory) == [round(gib, 1) for gib in wanted]


def test_what_a_build_takes_is_the_profiles() -> None:
    for (name, other), memory, disk in zip(
        COLUMNS,
        row('memory to build the engine'),
        row('disk to build the engine'),
        strict=True,
    ):
        build = PROFILES[name].build
        if build is None:
            assert memory == disk == 'none is built'
            continue
        wanted = [build.memory_bytes / GIB]
        if other:
            wanted.append(PROFILES[other].build.memory_bytes / GIB)
        assert numbers(memory) == wanted
        assert numbers(disk) == [build.disk_bytes / GIB]


def test_the_engines_environment_is_made_as_the_profile_has_it() -> None:
    for name in ('jetson_thor', 'jetson_agx_orin', 'jetson_orin_nx'):
        for command in PROFILES[name].install.split(' && '):
            assert command in PAGE
        package, _, version = PROFILES[name].needs.package.partition('==')
        assert f'{version} knows' in PAGE
        assert package in PAGE
