"""Where engines are kept."""

from __future__ import annotations

from pathlib import Path

from nemotron_ros.engine.cache_folder import cache_folder


def engines_folder() -> Path:
    """Return the folder that the server keeps its engines in.

    ``NEMOTRON_ENGINES`` names it; without it, it is in the user's cache folder.
    """
    return cache_folder('engines', 'NEMOTRON_ENGINES')
