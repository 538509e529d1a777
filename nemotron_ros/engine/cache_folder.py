"""Where this package keeps what can be made or fetched anew."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str, variable: str = '') -> Path:
    """Return a folder in the user's cache folder; it need not be there yet.

    :param variable: the environment variable that may name another one in its place.
    """
    named = os.environ.get(variable) if variable else None
    if named:
        return Path(named)
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cache, 'nemotron_ros', name)
