"""The memory budget: its sum, and the refusal with the numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from nemotron_ros.device.budget import DoesNotFit, fits, needed_bytes, parts, sum_text
from nemotron_ros.device.profile import Profile
from nemotron_ros.engine.protocol import EngineError

GIB = 1 << 30
# Nemotron 3 Nano 4B: what its configuration says.
ATTENTION_LAYERS, KV_HEADS, HEAD_DIM = 4, 8, 128
MAMBA_LAYERS, MAMBA_HEADS, MAMBA_HEAD_DIM, STATE, GROUPS, CONV = 21, 96, 80, 128, 8, 4
KV_BYTES = 2 * ATTENTION_LAYERS * KV_HEADS * HEAD_DIM * 2
CHANNELS = MAMBA_HEADS * MAMBA_HEAD_DIM + 2 * GROUPS * STATE


def state_bytes(ssm: int, conv: int) -> int:
    """Bytes of one sequence's state, in so many bytes a number."""
    numbers = MAMBA_HEADS * MAMBA_HEAD_DIM * STATE * ssm + CHANNELS * (CONV - 1) * conv
    return MAMBA_LAYERS * numbers


@pytest.mark.parametrize(
    ('name', 'ssm', 'conv'),
    [
        ('jetson_thor', 2, 2),
        ('jetson_agx_orin', 2, 2),
        ('jetson_orin_nx', 2, 2),
        ('jetson_orin_nano', 4, 4),
        ('dgx_spark', 4, 2),
        ('rtx', 4, 2),
    ],
)
def test_sizes_follow_from_the_model(
    profiles: Mapping[str, Profile], name: str, ssm: int, conv: int
) -> None:
    memory = profiles[name].memory
    assert memory.kv_bytes_per_token == KV_BYTES
    assert memory.state_bytes_per_sequence == state_bytes(ssm, conv)


def test_the_sum_counts_every_sequence(profiles: Mapping[str, Profile]) -> None:
    thor = profiles['jetson_thor']
    assert parts(thor) == {
        'weights': 5282809774,
        'KV cache': KV_BYTES * 16384 * 4,
        'Mamba state': state_bytes(2, 2) * 4,
        'working set': 3 * GIB,
    }
    assert needed_bytes(thor) == sum(parts(thor).values())


@pytest.mark.parametrize(
    ('name', 'low_gib', 'high_gib'),
    [
        # The totals that are expected on these boards, as far as anybody has said.
        ('jetson_thor', 7, 9.2),
        ('jetson_agx_orin', 8.5, 10),
        ('jetson_orin_nx', 8.5, 9.5),
        ('jetson_orin_nano', 3.3, 3.7),
    ],
)
def test_totals_are_what_is_expected(
    profiles: Mapping[str, Profile], name: str, low_gib: float, high_gib: float
) -> None:
    assert low_gib <= needed_bytes(profiles[name]) / GIB <= high_gib


def test_what_fits_to_the_byte_passes(profiles: Mapping[str, Profile]) -> None:
    for profile in profiles.values():
        fits(profile, needed_bytes(profile))


def test_a_byte_less_is_refused_with_the_numbers(profiles: Mapping[str, Profile]) -> None:
    profile = profiles['jetson_orin_nx']
    with pytest.raises(DoesNotFit) as caught:
        fits(profile, needed_bytes(profile) - 1)
    assert isinstance(caught.value, EngineError)
    assert str(caught.value) == (
        'memory: jetson_orin_nx needs 9.0 GiB (weights 7.4 + KV cache 0.06 + Mamba state 0.04 + '
        'working set 1.5) and 9.0 GiB of memory shared by CPU and GPU are free; stop other '
        'programs, or lower context_tokens or max_batch_size, or use the profile jetson_orin_nano'
    )


def test_what_takes_nothing_is_not_told(profiles: Mapping[str, Profile]) -> None:
    assert 'Mamba' not in sum_text(profiles['cpu'])
