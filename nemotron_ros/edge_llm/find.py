"""The engine that is on disk for a profile, if it can be used here."""

from __future__ import annotations

from pathlib import Path

from nemotron_ros.device.detect import Board
from nemotron_ros.device.profile import Profile
from nemotron_ros.edge_llm.manifest import Manifest, check, origin
from nemotron_ros.edge_llm.toolchain import ask


def find_engine(
    profile: Profile,
    board: Board,
    checkpoint: Path,
    model: str,
    cache: Path,
    environment: str = '',
    with_hashes: bool = False,
) -> Manifest:
    """Return the manifest of the engine that the server will load.

    Without one the server would build it while the robot waits; with one of another board or
    version it would fail, or worse.

    :param model: what the manifest calls the checkpoint.
    :param environment: in place of the profile's own.
    :param with_hashes: read all of the engine's files too.
    :raise EngineError: if there is none, or it can't be used here, with the reasons.
    """
    toolchain = ask(profile, environment or profile.environment, checkpoint, cache)
    expected = origin(profile, model, board, toolchain)
    return check(Path(toolchain.engine_dir), expected, with_hashes)
