"""Files that are there as a whole, or as they were before."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file, in place of one that is there.

    :raise OSError: if it can't be written.
    """
    part = path.with_name(f'{path.name}.part')
    part.write_text(text, encoding='utf-8')
    part.replace(path)
