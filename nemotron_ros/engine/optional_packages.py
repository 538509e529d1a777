"""Packages that only some engines need: looked for first, imported when an engine opens."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType

from nemotron_ros.engine.protocol import EngineError


def import_packages(engine: str, names: Sequence[str], install: str) -> list[ModuleType]:
    """Import packages, or modules of packages, in the given order.

    :param install: what to give pip, for the message.
    :raise EngineError: if one is missing, or is there and can't be imported.
    """
    packages = dict.fromkeys(name.partition('.')[0] for name in names)
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise EngineError(
            f'engine {engine}: {", ".join(missing)} not installed; pip install {install}'
        )
    return [_imported(engine, name, install) for name in names]


def _imported(engine: str, name: str, install: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a package for another GPU or CUDA raises whatever it likes
        raise EngineError(
            f'engine {engine}: {name} is installed and can not be imported: {error}; '
            f'pip install --force-reinstall {install}, or check that it fits this machine'
        ) from error
