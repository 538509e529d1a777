"""Which engine runs here: what the parameters say, and where they are silent, the board's profile.

A profile stands for its own engine alone. Who names another engine, or a server that somebody
else runs, has the say about all of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nemotron_ros.device.budget import fits
from nemotron_ros.device.detect import Board, available_bytes, choose
from nemotron_ros.device.model_path import find_model
from nemotron_ros.device.profile import Profile, load_profile, named
from nemotron_ros.edge_llm.serve import server_command
from nemotron_ros.engine.checkpoint import find_checkpoint
from nemotron_ros.engine.factory import EngineSettings
from nemotron_ros.engine.model_files import Catalogue, find

AUTO = 'auto'
CONTEXT_TOKENS = 4096
"""For an engine that no profile speaks for."""


@dataclass(frozen=True)
class Wanted:
    """What the parameters say; empty or 0 leaves it to the profile.

    :param device: the name of a profile, the path of one, or ``auto`` for the one that fits
        this board.
    :param model: as :class:`EngineSettings` has it; for a server that is started here, a file
        or folder, or the name of a model on disk.
    """

    device: str
    engine: str = ''
    model: str = ''
    script: str = ''
    context_tokens: int = 0
    threads: int = 0
    url: str = ''
    api_key_env: str = ''


def engine_settings(
    wanted: Wanted,
    profiles: Mapping[str, Profile],
    look: Callable[[], Board],
    catalogue: Catalogue,
    cache: Path,
) -> EngineSettings:
    """Return the settings of the engine to run.

    :param look: sees which board this is, and what it has free.
    :param cache: the folder that a server started here keeps its engines in.
    :raise EngineError: if the profile, the model or the server is not there, or if the model
        does not fit into the free memory.
    """
    look = functools.cache(look)  # it starts programs of the system
    given = EngineSettings(
        wanted.engine,
        wanted.model,
        wanted.script,
        wanted.context_tokens or CONTEXT_TOKENS,
        wanted.threads,
        wanted.url,
        wanted.api_key_env,
    )
    if wanted.engine and wanted.url:
        # What a server holds, it tells; its size here would be a guess.
        return replace(given, context_tokens=wanted.context_tokens)
    profile = _profile(wanted.device, profiles, look)
    if wanted.url:
        return replace(given, engine=profile.engine, context_tokens=wanted.context_tokens)
    if wanted.engine not in ('', profile.engine):
        return given
    board = look()
    path, profile = _model(wanted, profile, catalogue)
    settings = replace(
        given,
        engine=profile.engine,
        model=str(path),
        context_tokens=profile.context_tokens,
        batch=profile.max_batch_size,
    )
    if not profile.server:
        fits(profile, available_bytes(board, profile.memory.pool))
        return settings
    command = server_command(profile, board, path, cache, model=wanted.model and str(path))
    # It serves one model alone, by a name that it gives to it itself.
    return replace(settings, model='', server_command=tuple(command))


def _profile(device: str, profiles: Mapping[str, Profile], look: Callable[[], Board]) -> Profile:
    if device == AUTO:
        return choose(look(), profiles).profile
    if device.endswith(('.yaml', '.yml')):
        return load_profile(Path(device).expanduser())
    return named(device, profiles)


def _model(wanted: Wanted, profile: Profile, catalogue: Catalogue) -> tuple[Path, Profile]:
    """Return where the model lies, and the profile with what is said in its place."""
    if wanted.context_tokens:
        profile = replace(profile, context_tokens=wanted.context_tokens)
    if not wanted.model:
        return find_model(profile, catalogue), profile
    if profile.model.catalogue:
        path = find(wanted.model, catalogue)
    else:
        path = find_checkpoint(wanted.model).folder.absolute()
    files = path.iterdir() if path.is_dir() else (path,)
    weights_bytes = sum(file.stat().st_size for file in files if file.is_file())
    return path, replace(profile, memory=replace(profile.memory, weights_bytes=weights_bytes))
