"""From the name of a ROS type to its Python class.

Names come from files, so nothing is imported but ``<package>.msg``, ``.srv``
or ``.action`` of a package that has such a folder.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

_NAME = re.compile(
    r'(?P<package>[a-z](?:_?[a-z0-9])*)/(?:(?P<group>msg|srv|action)/)?'
    r'(?P<type>[A-Za-z][A-Za-z0-9]*)'
)
_WORDS = {'msg': 'message', 'srv': 'service', 'action': 'action'}
_MARKS = {'msg': 'SLOT_TYPES', 'srv': 'Request', 'action': 'Goal'}
"""What a class of each group has, and nothing else in its module does."""


class InterfaceError(ValueError):
    """A ROS type's name is ill-formed, or its package or type is not there."""


def load_message(name: str) -> type[Any]:
    """Return the class of a message type, ``package/msg/Type`` or ``package/Type``.

    :raise InterfaceError: if there is none.
    """
    return _load(name, 'msg')


def load_service(name: str) -> type[Any]:
    """Return the class of a service type, ``package/srv/Type`` or ``package/Type``.

    :raise InterfaceError: if there is none.
    """
    return _load(name, 'srv')


def load_action(name: str) -> type[Any]:
    """Return the class of an action type, ``package/action/Type`` or ``package/Type``.

    :raise InterfaceError: if there is none.
    """
    return _load(name, 'action')


@functools.cache
def _load(name: str, group: str) -> type[Any]:
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None or match['group'] not in (None, group):
        raise InterfaceError(
            f'expected the name of {_a(group)} type, package/{group}/Type, got {name!r}'
        )
    module = _import(match['package'], group)
    found: Any = getattr(module, match['type'], None)
    if not _is(found, group):
        raise InterfaceError(_missing(module, match['package'], group, match['type']))
    interface: type[Any] = found
    return interface


@functools.cache
def _import(package: str, group: str) -> Any:
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise InterfaceError(
            f'the package {package} is not there; install it, or source the workspace that has it'
        )
    if not any((Path(place) / group).is_dir() for place in spec.submodule_search_locations or ()):
        raise InterfaceError(f'the package {package} has no {_WORDS[group]} types')
    try:
        return importlib.import_module(f'{package}.{group}')
    except ImportError as error:
        raise InterfaceError(
            f'the {_WORDS[group]} types of the package {package} cannot be loaded: {error}'
        ) from error


def _is(found: object, group: str) -> bool:
    return isinstance(found, type) and hasattr(found, _MARKS[group])


def _missing(module: Any, package: str, group: str, name: str) -> str:
    by_lower_case = {key.lower(): key for key in vars(module) if _is(getattr(module, key), group)}
    near = difflib.get_close_matches(name.lower(), by_lower_case)
    hint = f'; did you mean {" or ".join(by_lower_case[key] for key in near)}?' if near else ''
    return f'the package {package} has no {_WORDS[group]} type {name}{hint}'


def _a(group: str) -> str:
    return f'an {_WORDS[group]}' if group == 'action' else f'a {_WORDS[group]}'
