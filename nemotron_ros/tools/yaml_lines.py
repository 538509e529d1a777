"""YAML that remembers on which line each value stands."""

from __future__ import annotations

import math
from typing import Any

import yaml

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000
MAX_DEPTH = 40

JSON_TAGS = frozenset(
    f'tag:yaml.org,2002:{kind}' for kind in ('null', 'bool', 'int', 'float', 'str', 'seq', 'map')
)

Path = tuple[object, ...]


class YamlError(ValueError):
    """The text is no YAML, or not of the plain kind taken here. ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def parse(text: str) -> tuple[Any, dict[Path, int]]:
    """Return the value, and the line of each path in it.

    Keys must be strings and stand once; size, depth and the number of values,
    aliases counted out, are bounded.

    :raise YamlError: with the line.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(1, f'{len(text)} characters; at most {MAX_BYTES} are taken')
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise YamlError(1, 'the file is empty')
        return _Reader().read(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, str(error.problem or error)) from error
    except yaml.reader.ReaderError as error:
        line = text.count('\n', 0, error.position) + 1
        raise YamlError(line, f'the character {error.character:#x} may not stand here') from error
    except (yaml.YAMLError, RecursionError) as error:
        raise YamlError(1, str(error)) from error


class _Reader:
    def __init__(self) -> None:
        self._lines: dict[Path, int] = {}
        self._scalars = yaml.SafeLoader('')

    def read(self, node: yaml.Node) -> tuple[Any, dict[Path, int]]:
        return self._value(node, ()), self._lines

    def _value(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self._lines[path] = line
        if len(self._lines) > MAX_VALUES or len(path) > MAX_DEPTH:
            raise YamlError(line, f'more than {MAX_VALUES} values or {MAX_DEPTH} levels')
        if node.tag not in JSON_TAGS:
            raise YamlError(line, f'expected a JSON value, got {node.tag}; put it in quotes')
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, line)

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        try:
            value = self._scalars.construct_object(node)
        except Exception as error:  # PyYAML's constructors raise what they stumble over
            raise YamlError(line, f'{node.value!r:.60} is no {node.tag}') from error
        if isinstance(value, float) and not math.isfinite(value):
            raise YamlError(line, f'expected a finite number, got {value}')
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            is_word = isinstance(key_node, yaml.ScalarNode)
            if not is_word or key_node.tag == 'tag:yaml.org,2002:merge':
                raise YamlError(line, 'expected a plain word as key')
            key = self._key(key_node, line)
            if key in result:
                raise YamlError(line, f'{key!r} stands here a second time')
            at = (*path, key)
            result[key] = self._value(value_node, at)
            self._lines[at] = line
        return result

    def _key(self, node: yaml.ScalarNode, line: int) -> str:
        # YAML 1.1 reads the bare words on, off, yes and no as booleans; as keys they are words.
        if node.tag not in ('tag:yaml.org,2002:str', 'tag:yaml.org,2002:bool'):
            raise YamlError(line, f'expected a word as key, got {node.value!r}; put it in quotes')
        return str(node.value)
