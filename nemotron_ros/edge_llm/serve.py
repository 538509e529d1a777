"""The command that serves a profile's model, given out only when all that it needs is there."""

from __future__ import annotations

import shutil
from pathlib import Path

from nemotron_ros.device.budget import fits
from nemotron_ros.device.detect import Board, available_bytes
from nemotron_ros.device.profile import Profile
from nemotron_ros.edge_llm.find import find_engine
from nemotron_ros.engine.protocol import EngineError


def server_command(
    profile: Profile,
    board: Board,
    path: Path,
    cache: Path,
    *,
    model: str = '',
    environment: str = '',
    port: int | None = None,
) -> list[str]:
    """Return the command line of the server, whichever engine the profile names.

    :param path: the model on disk; see :func:`nemotron_ros.device.model_path.find_model`.
    :param cache: the folder that the server keeps its engines in.
    :param model: what an engine's manifest calls the model; empty for the profile's own.
    :param environment: in place of the profile's own.
    :param port: None leaves ``{port}`` for whoever starts the server.
    :raise EngineError: if the profile has no server, if there is no engine that can be used on
        this board, if the model does not fit into the free memory, or if the server's program
        is missing.
    """
    if not profile.server:
        raise EngineError(
            f'device: {profile.name} needs no server: the node runs {profile.engine} itself'
        )
    command = profile.command(str(path), cache, environment, port)
    program = shutil.which(command[0])
    if program is None:
        raise EngineError(f'server: {command[0]} is not there; {profile.install}')
    if profile.engine == 'edge_llm':
        find_engine(profile, board, path, model or profile.model.name, cache, environment)
    fits(profile, available_bytes(board, profile.memory.pool))
    return [program, *command[1:]]
