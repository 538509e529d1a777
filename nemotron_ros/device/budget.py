"""The memory that a profile takes, as a sum whose parts are told."""

from __future__ import annotations

from nemotron_ros.device.profile import Profile
from nemotron_ros.engine.protocol import EngineError

GIB = 1 << 30


class DoesNotFit(EngineError):
    """There is less free memory than the model takes. The message has the numbers."""


def parts(profile: Profile) -> dict[str, int]:
    """Return what the memory goes to, in bytes by name."""
    memory = profile.memory
    sequences = profile.max_batch_size
    return {
        'weights': memory.weights_bytes,
        'KV cache': memory.kv_bytes_per_token * profile.context_tokens * sequences,
        'Mamba state': memory.state_bytes_per_sequence * sequences,
        'working set': memory.working_bytes,
    }


def needed_bytes(profile: Profile) -> int:
    """Return the memory that the model takes while it is served, in bytes."""
    return sum(parts(profile).values())


def sum_text(profile: Profile) -> str:
    """Return the sum in words, such as ``9.0 GiB (weights 7.4 + KV cache 0.1 + ...)``."""
    terms = [f'{name} {_gib(size)}' for name, size in parts(profile).items() if size]
    return f'{_gib(needed_bytes(profile))} GiB ({" + ".join(terms)})'


def fits(profile: Profile, available_bytes: int) -> None:
    """Check that the model can be loaded.

    :param available_bytes: what is free in the profile's pool; see
        :func:`nemotron_ros.device.detect.available_bytes`.
    :raise DoesNotFit: if it can not, with the numbers.
    """
    if available_bytes >= needed_bytes(profile):
        return
    way_out = 'stop other programs, or lower context_tokens or max_batch_size'
    if profile.smaller:
        way_out += f', or use the profile {profile.smaller}'
    raise DoesNotFit(
        f'memory: {profile.name} needs {sum_text(profile)} and {_gib(available_bytes)} GiB of '
        f'{POOL_NAMES[profile.memory.pool]} are free; {way_out}'
    )


POOL_NAMES = {
    'unified': 'memory shared by CPU and GPU',
    'gpu': 'GPU memory',
    'ram': 'RAM',
}


def _gib(size: int) -> str:
    return f'{size / GIB:.1f}' if size >= GIB / 10 else f'{size / GIB:.2f}'
