"""Functions that a tool file may use: those that installed packages offer, and no others.

A package offers one by an entry point of the group ``nemotron_ros.tools``. What a tool file
says is compared with the names of these, and never imported.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any

GROUP = 'nemotron_ros.tools'

Plugin = Callable[[Any, dict[str, Any], Any], object]
"""Gets the node, the arguments and a cancel token; returns a JSON value or raises."""


class PluginError(Exception):
    """There is no such plugin, or it can't be used; the message says what to do."""


def load_plugin(use: str) -> Plugin:
    """Return the function that an entry point leads to.

    :param use: the entry point's name, or its value, ``package.module:function``.
    :raise PluginError: if nobody offers it, several do, or it is no such function.
    """
    point = _find(use)
    try:
        function = point.load()
    except Exception as error:  # the package's own code runs here
        raise PluginError(f'{point.value} can not be loaded: {error!r}') from error
    try:
        signature(function).bind(None, {}, None)
    except (TypeError, ValueError) as error:
        raise PluginError(
            f'{point.value}: expected a function of the node, the arguments and a cancel token: '
            f'{error}'
        ) from error
    plugin: Plugin = function
    return plugin


def _find(use: str) -> EntryPoint:
    offered = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    found = [point for names, point in offered.items() if use in names]
    values = {point.value for point in found}
    if len(values) > 1:
        raise PluginError(
            f'{use!r} is offered by several packages; say which: {", ".join(sorted(values))}'
        )
    if not found:
        names = sorted({name for name, _ in offered})
        near = get_close_matches(use, names, 1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        there = f'there is {", ".join(names)}' if names else 'there is none'
        raise PluginError(
            f'no installed package offers {use!r} as an entry point of {GROUP}; {there}{hint}'
        )
    return found[0]
