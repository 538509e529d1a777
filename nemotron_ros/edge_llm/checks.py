"""What ``nemotron doctor`` looks at where TensorRT Edge-LLM serves."""

from __future__ import annotations

import shutil
from pathlib import Path

from nemotron_ros.device.budget import GIB
from nemotron_ros.device.detect import Board
from nemotron_ros.device.doctor import Check
from nemotron_ros.device.model_path import parent_on_disk
from nemotron_ros.device.profile import Profile
from nemotron_ros.edge_llm.find import find_engine
from nemotron_ros.edge_llm.toolchain import ask
from nemotron_ros.engine.protocol import EngineError


def check_edge_llm(
    profile: Profile, board: Board, checkpoint: Path | None, cache: Path, environment: str
) -> list[Check]:
    """Check the environment, TensorRT, the engine, and the room to build one.

    :param checkpoint: None if it is not on disk; then no engine can be told.
    """
    try:
        toolchain = ask(profile, environment, None, cache)
    except EngineError as error:
        return [Check.failed('Edge-LLM', str(error))]
    checks = [Check('Edge-LLM', True, f'{toolchain.edge_llm} in {environment}')]
    if toolchain.tensorrt:
        checks.append(Check('TensorRT', True, toolchain.tensorrt))
    else:
        checks.append(
            Check(
                'TensorRT',
                False,
                toolchain.tensorrt_fault,
                'install it with `sudo apt-get install nvidia-jetpack`, and make the environment '
                'with --system-site-packages',
            )
        )
    if checkpoint is None:
        return checks
    try:
        built = find_engine(
            profile, board, checkpoint, profile.model.name, cache, environment, with_hashes=True
        )
    except EngineError as error:
        return [*checks, Check.failed('engine', str(error)), _room(profile, cache)]
    return [*checks, Check('engine', True, f'built at {built.built_at}')]


def _room(profile: Profile, cache: Path) -> Check:
    """Check that an engine could be built."""
    assert profile.build is not None
    free = shutil.disk_usage(parent_on_disk(cache)).free
    found = f'{free / GIB:.1f} GiB free, {profile.build.disk_bytes / GIB:.1f} to build the engine'
    return Check(
        'disk',
        free >= profile.build.disk_bytes,
        found,
        f'make room at {cache}, or name another folder by --cache-dir',
    )
