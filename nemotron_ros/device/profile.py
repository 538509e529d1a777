"""A device profile: engine, checkpoint, sizes, memory budget and server command for one board."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from nemotron_ros.engine.protocol import EngineError
from nemotron_ros.tools.yaml_lines import YamlError, parse

POOLS = ('unified', 'gpu', 'ram')
PLACEHOLDER = re.compile(r'\{(\w+)\}')
PLACEHOLDERS = (
    'port', 'model', 'cache', 'environment', 'here',
    'context_tokens', 'max_input_tokens', 'max_batch_size',
)  # fmt: skip
LOOPBACK = ('127.0.0.1', '::1', 'localhost')
FLAG = re.compile(r'--host(?:=(.*))?\Z')


class ProfileError(EngineError):
    """A profile is wrong; the message lists every problem as ``FILE:LINE: path: what``."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__('\n'.join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Checkpoint:
    """The model: a name of the model catalogue, or a revision of a repository on the hub."""

    catalogue: str = ''
    repo: str = ''
    revision: str = ''

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.catalogue or f'{self.repo}@{self.revision[:12]}'


@dataclass(frozen=True)
class Memory:
    """What the memory budget is made of.

    ``pool`` is where all of it lies: memory that CPU and GPU share, the GPU's own, or RAM.
    """

    pool: str
    weights_bytes: int
    kv_bytes_per_token: int
    state_bytes_per_sequence: int
    working_bytes: int


@dataclass(frozen=True)
class Needs:
    """What the board must have; an empty or zero field asks for nothing.

    ``jetpack`` lists the releases that the engine is made for; ``package`` is a Python
    requirement in ``environment``, or in this process's own where there is none.
    """

    arch: str = ''
    jetpack: tuple[str, ...] = ()
    glibc: str = ''
    compute_capability: str = ''
    package: str = ''


@dataclass(frozen=True)
class Build:
    """What it takes to build the engine: free memory, and free disk space for the result."""

    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class Profile:
    """How one board serves the model.

    :param boards: words of the board's model name or of its compatible list that tell it.
    :param smaller: the profile for such a board with too little memory for this one.
    :param context_tokens: prompt and answer together, for each of ``max_batch_size`` sequences.
    :param max_input_tokens: longest prompt; 0 where the engine has no such bound.
    :param environment: folder of the Python environment that the server is installed in.
    :param server: the server's command with placeholders; empty where the node needs no other.
    :param install: what to do where the server's program is missing.
    :param build: None where no engine is built ahead.
    """

    name: str
    title: str
    boards: tuple[str, ...]
    engine: str
    model: Checkpoint
    precision: str
    context_tokens: int
    max_batch_size: int
    memory: Memory
    needs: Needs = field(default_factory=Needs)
    max_input_tokens: int = 0
    smaller: str = ''
    environment: str = ''
    server: tuple[str, ...] = ()
    install: str = ''
    build: Build | None = None
    folder: Path = field(default=Path(), compare=False)

    def command(
        self, model: str, cache: Path, environment: str = '', port: int | None = None
    ) -> list[str]:
        """Return the server's command line.

        :param model: a path, or a name that the server knows.
        :param cache: the folder that the server keeps its engines in.
        :param environment: in place of the profile's own.
        :param port: None leaves ``{port}`` for whoever starts the server.
        """
        values = {
            'port': '{port}' if port is None else str(port),
            'model': model,
            'cache': str(cache),
            'environment': environment or self.environment,
            'here': str(self.folder),
            'context_tokens': str(self.context_tokens),
            'max_input_tokens': str(self.max_input_tokens),
            'max_batch_size': str(self.max_batch_size),
        }
        return [PLACEHOLDER.sub(lambda match: values[match[1]], part) for part in self.server]


def _fields(required: Mapping[str, Any], optional: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'type': 'object',
        'properties': {**required, **optional},
        'required': list(required),
        'additionalProperties': False,
    }


_TEXT = {'type': 'string', 'minLength': 1}
_TEXTS = {'type': 'array', 'items': _TEXT, 'minItems': 1}
_COUNT = {'type': 'integer', 'minimum': 1}
_SIZE = {'type': 'integer', 'minimum': 0}
_VERSION = {'type': 'string', 'pattern': r'^\d+(\.\d+)+$'}
_SCHEMA = _fields(
    {
        'title': _TEXT,
        'engine': _TEXT,
        'model': {
            'oneOf': [
                _fields({'catalogue': _TEXT}, {}),
                # A branch may move; a commit is the same bytes for ever.
                _fields(
                    {'repo': _TEXT, 'revision': {'type': 'string', 'pattern': '^[0-9a-f]{40}$'}},
                    {},
                ),
            ]
        },
        'precision': _TEXT,
        'context_tokens': _COUNT,
        'max_batch_size': _COUNT,
        'memory': _fields(
            {
                'pool': {'enum': list(POOLS)},
                'weights_bytes': _COUNT,
                'kv_bytes_per_token': _SIZE,
                'state_bytes_per_sequence': _SIZE,
                'working_bytes': _SIZE,
            },
            {},
        ),
    },
    {
        'boards': _TEXTS,
        'max_input_tokens': _COUNT,
        'smaller': _TEXT,
        'environment': {'type': 'string', 'pattern': '^/'},
        'server': _TEXTS,
        'install': _TEXT,
        'needs': _fields(
            {},
            {
                'arch': {'enum': ['x86_64', 'aarch64']},
                'jetpack': {'type': 'array', 'items': _VERSION, 'minItems': 1},
                'glibc': _VERSION,
                'compute_capability': _VERSION,
                'package': {'type': 'string', 'pattern': '^[a-z0-9-]+==[0-9.]+$'},
            },
        ),
        'build': _fields({'memory_bytes': _COUNT, 'disk_bytes': _COUNT}, {}),
    },
)


def load_profiles(folder: Path) -> dict[str, Profile]:
    """Read every profile of a folder, by name.

    :raise ProfileError: with every problem of every file.
    """
    profiles: dict[str, Profile] = {}
    problems: list[str] = []
    for path in sorted(folder.glob('*.yaml')):
        try:
            profiles[path.stem] = load_profile(path)
        except ProfileError as error:
            problems += error.problems
    for name, profile in profiles.items():
        if profile.smaller and profile.smaller not in profiles and not problems:
            problems.append(
                f'{folder / name}.yaml: smaller: there is no profile {profile.smaller!r}; '
                f'there are {", ".join(profiles)}'
            )
    if not profiles and not problems:
        problems.append(f'{folder}: holds no profile; expected files such as cpu.yaml')
    if problems:
        raise ProfileError(problems)
    return profiles


def named(name: str, profiles: Mapping[str, Profile]) -> Profile:
    """Return a profile by its name.

    :raise ProfileError: naming those that there are.
    """
    if name not in profiles:
        raise ProfileError([f'device: expected one of {", ".join(profiles)}, got {name!r}'])
    return profiles[name]


def load_profile(path: Path) -> Profile:
    """Read and check one profile.

    :raise ProfileError: with every problem.
    """
    try:
        data, lines = parse(path.read_text(encoding='utf-8'))
    except YamlError as error:
        raise ProfileError([f'{path}:{error.line}: {error}']) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError([f'{path}: can not be read: {error}']) from error
    faults = _schema_faults(data) or _command_faults(data)
    if faults:
        raise ProfileError(
            [
                f'{path}:{_line(lines, at)}: {".".join(map(str, at)) or "the file"}: {message}'
                for at, message in faults
            ]
        )
    return _profile(path, data)


At = tuple[object, ...]


def _line(lines: Mapping[At, int], at: At) -> int:
    """Return where a value stands; of one that is not there, where it would have to."""
    while at not in lines:
        at = at[:-1]
    return lines[at]


def _schema_faults(data: Any) -> list[tuple[At, str]]:
    errors = Draft202012Validator(_SCHEMA).iter_errors(data)
    faults = []
    for error in errors:
        if error.validator == 'oneOf':
            message = 'expected {catalogue: NAME}, or {repo: NAME, revision: 40 hex digits}'
        else:
            message = error.message
        faults.append((tuple(error.absolute_path), message))
    return sorted(faults, key=lambda fault: str(fault[0]))


def _command_faults(data: Mapping[str, Any]) -> list[tuple[At, str]]:
    """Return what is wrong with the server's command: nobody outside the board may reach it."""
    server = data.get('server')
    if server is None:
        return []
    faults: list[tuple[At, str]] = []
    for number, part in enumerate(server):
        for name in PLACEHOLDER.findall(part):
            if name not in PLACEHOLDERS:
                message = f'expected one of {", ".join(PLACEHOLDERS)}, got {{{name}}}'
                faults.append((('server', number), message))
            elif name in ('environment', 'max_input_tokens') and name not in data:
                faults.append((('server', number), f'{{{name}}} is used, but is not set'))
    hosts = _hosts(server)
    if not hosts or any(host not in LOOPBACK for host in hosts):
        message = f'expected `--host 127.0.0.1`, got {", ".join(hosts) or "no --host"}'
        faults.append((('server',), message))
    if not any('{port}' in part for part in server):
        faults.append((('server',), 'expected {port} in it, as the port is chosen at start'))
    return faults


def _hosts(server: Sequence[str]) -> list[str]:
    """Return every value that the command gives to ``--host``."""
    hosts = []
    for part, following in zip(server, [*server[1:], ''], strict=True):
        match = FLAG.match(part)
        if match:
            hosts.append(following if match[1] is None else match[1])
    return hosts


def _profile(path: Path, data: Mapping[str, Any]) -> Profile:
    simple = {
        key: data[key]
        for key in (
            'title', 'engine', 'precision', 'context_tokens', 'max_batch_size',
            'max_input_tokens', 'smaller', 'environment', 'install',
        )
        if key in data
    }  # fmt: skip
    needs = dict(data.get('needs', {}))
    needs['jetpack'] = tuple(needs.get('jetpack', ()))
    return Profile(
        name=path.stem,
        boards=tuple(data.get('boards', ())),
        model=Checkpoint(**data['model']),
        memory=Memory(**data['memory']),
        needs=Needs(**needs),
        server=tuple(data.get('server', ())),
        build=Build(**data['build']) if 'build' in data else None,
        folder=path.parent,
        **simple,
    )
