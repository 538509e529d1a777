"""Where engines are kept."""

from __future__ import annotations

import os
from pathlib import Path


def engines_folder() -> Path:
    """Return the folder that the server keeps its engines in.

    ``NEMOTRON_ENGINES`` names it; without it, it is in the user's cache folder.
    """
    named = os.environ.get('NEMOTRON_ENGINES')
    if named:
        return Path(named)
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cache, 'nemotron_ros', 'engines')
