"""Where a profile's model lies on disk; and getting it there."""

from __future__ import annotations

import shutil
from pathlib import Path

from nemotron_ros.device.budget import GIB
from nemotron_ros.device.profile import Profile
from nemotron_ros.engine.checkpoint import find_checkpoint
from nemotron_ros.engine.model_files import Catalogue, find
from nemotron_ros.engine.protocol import EngineError, ModelFileError


def find_model(profile: Profile, catalogue: Catalogue) -> Path:
    """Return the model's file or folder. Nothing is fetched: a robot starts without a net.

    :raise ModelFileError: if it is not there or not whole, with the command that fetches it.
    """
    model = profile.model
    if model.catalogue:
        return find(model.catalogue, catalogue)
    # Not at the top: it takes a third of a second that most commands can do without.
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(model.repo, revision=model.revision, local_files_only=True)
    except (OSError, ValueError) as error:  # the library's name for what is not in its cache
        raise ModelFileError(
            f'model: {model.name} is not on disk; fetch it with '
            f'`hf download {model.repo} --revision {model.revision}`'
        ) from error
    return find_checkpoint(folder).folder


def fetch_model(profile: Profile) -> Path:
    """Return the folder of a repository's revision, downloading what of it is missing.

    A download that was broken off goes on where it stopped.

    :raise EngineError: if there is no room for it, or it can't be had.
    """
    try:
        return find_model(profile, {})
    except ModelFileError:
        _check_room(profile)
    from huggingface_hub import snapshot_download

    model = profile.model
    try:
        folder = snapshot_download(model.repo, revision=model.revision)
    except Exception as error:  # the library lets those of its HTTP client through
        reason = ' '.join(str(error).split()) or repr(error)
        raise EngineError(f'model: {model.name} can not be fetched: {reason}') from error
    return find_checkpoint(folder).folder


def models_of_hub() -> Path:
    """Return the folder that the hub's own library keeps models in."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def parent_on_disk(folder: Path) -> Path:
    """Return the folder, or the one above it that is there already."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _check_room(profile: Profile) -> None:
    folder = models_of_hub()
    free = shutil.disk_usage(parent_on_disk(folder)).free
    needed = profile.memory.weights_bytes
    if free < needed:
        raise EngineError(
            f'disk: {profile.model.name} takes {needed / GIB:.1f} GiB in {folder} and '
            f'{free / GIB:.1f} are free; make room, or name another folder by HF_HUB_CACHE'
        )
