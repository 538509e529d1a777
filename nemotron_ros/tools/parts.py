"""A tool file and the parts that it includes: one value that knows where each piece stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemotron_ros.tools.yaml_lines import YamlError, parse

MAX_FILES = 50

At = tuple[object, ...]


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        """Return ``FILE:LINE``, as compilers and editors write it."""
        return f'{self.path}:{self.line}'


def dotted(at: Iterable[object], whole: str = 'file') -> str:
    """Return where something stands, as people write it: ``tools.drive.examples[0]``.

    :param whole: what is said of the place that all of it is.
    """
    path = ''
    for part in at:
        path += f'[{part}]' if isinstance(part, int) else f'.{part}' if path else str(part)
    return path or whole


@dataclass
class Gathered:
    """What a file and its parts say together.

    ``places`` tells where each piece stands. ``whole`` is false where a part could not be
    read: what is missing then would be told again wherever it is needed.
    """

    data: Any = None
    places: dict[At, Place] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    whole: bool = True


def gather(path: str | Path) -> Gathered:
    """Read a file and, before what it says itself, every part that it includes.

    Tables of the same name are joined by their keys and lists by appending; what stands in two
    files is a problem. ``robot`` is what the including file says. A part that several parts
    include is read once.
    """
    gatherer = _Gatherer()
    gatherer.read(Path(path), str(path), ())
    return gatherer.gathered


class _Gatherer:
    def __init__(self) -> None:
        self.gathered = Gathered()
        self._seen: set[Path] = set()

    def read(self, path: Path, told_at: str, above: tuple[Path, ...]) -> None:
        """Read a file; ``told_at`` begins what is told if that can't be done."""
        found = self.gathered
        file = path.resolve()
        if file in above:
            names = ' → '.join(each.name for each in (*above[above.index(file) :], file))
            self._broken(f'{told_at}: includes itself: {names}')
            return
        if file in self._seen:
            return
        self._seen.add(file)
        if len(self._seen) > MAX_FILES:
            self._broken(f'{told_at}: more than {MAX_FILES} files')
            return
        try:
            data, lines = parse(path.read_text(encoding='utf-8'))
        except (OSError, UnicodeDecodeError) as error:
            which = f'{path} ' if above else ''
            self._broken(f'{told_at}: {which}can not be read: {error}')
            return
        except YamlError as error:
            self._broken(f'{path}:{error.line}: {error}')
            return
        if not isinstance(data, dict):
            if above:
                self._broken(f'{path}:1: expected a mapping, got {data!r:.60}')
            else:
                found.data = data
            return
        self._include(data.pop('include', []), path, lines, (*above, file))
        if above:
            data.pop('robot', None)
        if found.data is None:
            found.data = {}
        offsets = {
            key: len(found.data[key]) for key in data if isinstance(found.data.get(key), list)
        }
        places = {_shifted(at, offsets): Place(str(path), line) for at, line in lines.items()}
        self._join(data, places)
        for at, place in places.items():
            found.places.setdefault(at, place)

    def _include(self, names: Any, path: Path, lines: Any, above: tuple[Path, ...]) -> None:
        if not isinstance(names, list):
            line = lines['include',]
            self._broken(f'{path}:{line}: include: expected a list of files, got {names!r:.60}')
            return
        for index, name in enumerate(names):
            told_at = f'{path}:{lines["include", index]}: include[{index}]'
            if not isinstance(name, str) or not name:
                self._broken(f'{told_at}: expected the path of a file, got {name!r:.60}')
            else:
                self.read(path.parent / name, told_at, above)

    def _join(self, data: Mapping[str, Any], places: Mapping[At, Place]) -> None:
        whole = self.gathered.data
        for key, value in data.items():
            have = whole.get(key)
            if have is None:  # not there, or a heading with nothing below it
                whole[key] = value
            elif value is None:
                continue
            elif isinstance(have, dict) and isinstance(value, dict):
                for name in value.keys() & have.keys():
                    self._twice((key, name), places)
                have.update({name: item for name, item in value.items() if name not in have})
            elif isinstance(have, list) and isinstance(value, list):
                have.extend(value)
            else:
                self._twice((key,), places)

    def _twice(self, at: At, places: Mapping[At, Place]) -> None:
        name = '.'.join(map(str, at))
        self.gathered.problems.append(
            f'{places[at]}: {name}: stands in {self.gathered.places[at]} already; '
            'keep one of them, or give this one another name'
        )

    def _broken(self, problem: str) -> None:
        self.gathered.problems.append(problem)
        self.gathered.whole = False


def _shifted(at: At, offsets: Mapping[Any, int]) -> At:
    """Return where an item of a list stands once the list is appended to what is there."""
    if len(at) > 1 and at[0] in offsets and isinstance(at[1], int):
        return (at[0], at[1] + offsets[at[0]], *at[2:])
    return at
