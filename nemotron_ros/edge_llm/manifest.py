"""The manifest beside an engine: what it was built from, where, and which files it is.

An engine runs only on the kind of board, JetPack and TensorRT that it was built with. The
manifest tells before anything is loaded, in words.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nemotron_ros.device.detect import Board
from nemotron_ros.device.profile import Profile
from nemotron_ros.edge_llm.toolchain import Toolchain
from nemotron_ros.engine.protocol import EngineError

NAME = 'manifest.json'
ENGINE = 'llm.engine'
CONFIG = 'config.json'
_CHUNK = 1 << 20


class EngineFolderError(EngineError):
    """A folder holds no engine that can be used here. The message lists every reason."""


@dataclass(frozen=True)
class Origin:
    """What decides whether an engine can be used: all of it must be the same.

    :param model: repository and revision, or the folder of a checkpoint of one's own.
    """

    model: str
    precision: str
    max_input_tokens: int
    context_tokens: int
    max_batch_size: int
    board: str
    jetson_linux: str
    jetpack: str
    tensorrt: str
    edge_llm: str


@dataclass(frozen=True)
class File:
    """A file of the engine."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    :param command: the builder's command line.
    :param built_at: the end of the build, ISO 8601, UTC.
    :param files: by their paths in the folder.
    """

    origin: Origin
    command: tuple[str, ...]
    built_at: str
    files: dict[str, File]


def origin(profile: Profile, model: str, board: Board, toolchain: Toolchain) -> Origin:
    """Return the origin of an engine that is built here and now."""
    return Origin(
        model=model,
        precision=profile.precision,
        max_input_tokens=profile.max_input_tokens,
        context_tokens=profile.context_tokens,
        max_batch_size=profile.max_batch_size,
        board=board.model,
        jetson_linux=board.l4t,
        jetpack=board.jetpack,
        tensorrt=toolchain.tensorrt,
        edge_llm=toolchain.edge_llm,
    )


def write(folder: Path, made: Origin, command: tuple[str, ...], built_at: str) -> Manifest:
    """Write the manifest of a folder's files.

    :raise EngineFolderError: if they are no engine.
    :raise OSError: if it can't be written.
    """
    for name in (ENGINE, CONFIG):
        path = folder / name
        if not path.is_file() or path.stat().st_size == 0:
            raise EngineFolderError(f'{path.name}: the builder has written none')
    files = {
        path.relative_to(folder).as_posix(): File(path.stat().st_size, _sha256(path))
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
    manifest = Manifest(made, command, built_at, files)
    (folder / NAME).write_text(json.dumps(asdict(manifest), indent=2) + '\n')
    return manifest


def check(folder: Path, expected: Origin, with_hashes: bool) -> Manifest:
    """Return the manifest of an engine that can be used here.

    :param with_hashes: read all of its files too, which takes a while.
    :raise EngineFolderError: with every reason why it can not.
    """
    manifest = read(folder)
    reasons = [
        f'{field.name}: it was built for {was!r}, and here it is {now!r}'
        for field in fields(Origin)
        if (was := getattr(manifest.origin, field.name)) != (now := getattr(expected, field.name))
    ]
    reasons += _file_faults(folder, manifest, with_hashes)
    if reasons:
        raise EngineFolderError(
            f'{folder}: this engine can not be used; {"; ".join(reasons)}; build it here with '
            '`nemotron engine build`'
        )
    return manifest


def read(folder: Path) -> Manifest:
    """Read a manifest.

    :raise EngineFolderError: if there is none, or it can't be understood.
    """
    path = folder / NAME
    try:
        data: Any = json.loads(path.read_text(encoding='utf-8'))
        return Manifest(
            Origin(**data['origin']),
            tuple(data['command']),
            data['built_at'],
            {name: File(**file) for name, file in data['files'].items()},
        )
    except FileNotFoundError:
        raise EngineFolderError(
            f'{folder}: there is no engine with a manifest; build it with `nemotron engine build`'
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineFolderError(
            f'{path}: can not be read: {error!r}; build the engine with `nemotron engine build`'
        ) from error


def _file_faults(folder: Path, manifest: Manifest, with_hashes: bool) -> list[str]:
    faults = [] if ENGINE in manifest.files else [f'{ENGINE}: is not in its manifest']
    for name, file in manifest.files.items():
        path = folder / name
        if not path.is_file():
            faults.append(f'{name}: is missing')
        elif path.stat().st_size != file.bytes:
            faults.append(f'{name}: has {path.stat().st_size} bytes and not {file.bytes}')
        elif with_hashes and _sha256(path) != file.sha256:
            faults.append(f'{name}: is damaged: it has another SHA-256')
    return faults


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
