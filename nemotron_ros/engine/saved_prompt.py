"""What the engine has read of the prompt, kept in a file: a restart goes on from there.

The prompt's beginning is the same for every command of a robot. To read it takes seconds; to
load what came of the reading takes a few milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from nemotron_ros.engine.cache_folder import cache_folder

KEPT = 4
"""Files kept in the folder; the ones unused for longest go first."""
SUFFIX = '.prompt'


def prompts_folder(otherwise: Path) -> Path:
    """Return the folder of these files, in the user's cache folder.

    :param otherwise: a folder for a user who has none that can be written.
    """
    folder = cache_folder('prompts')
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return otherwise
    return folder if os.access(folder, os.W_OK) else otherwise


def shared_beginning(first: str, second: str) -> str:
    """Return the text that two prompts begin with, up to its last tag.

    Behind a tag, such as ``<|im_start|>``, a tokenizer always cuts, whatever follows.
    """
    pairs = enumerate(zip(first, second, strict=False))
    length = next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))
    return first[: first.rfind('>', 0, length) + 1]


def file_name(model: Path, prompt: str, settings: Mapping[str, object]) -> str:
    """Return the name of the file for a prompt, as this model and these settings read it."""
    state = model.stat()
    parts = [str(model.resolve()), state.st_size, state.st_mtime_ns, prompt, dict(settings)]
    whole = json.dumps([*parts, version('xllamacpp')], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:32] + SUFFIX


def make_room(folder: Path, kept: str) -> None:
    """Delete the oldest files; ``kept`` is in use and counts as the newest."""
    files = [path for path in folder.glob(f'*{SUFFIX}') if path.name != kept]
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in files[KEPT - 1 :]:
        path.unlink(missing_ok=True)
