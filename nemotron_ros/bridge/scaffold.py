"""A first tool file from what runs on ROS: what can be read, and, disabled, all that acts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import yaml

from nemotron_ros.bridge import drafts
from nemotron_ros.bridge.fields import Boolean, Float, Kind, Many, Nested, Text, kinds_of
from nemotron_ros.bridge.fields import type_name as name_of_type
from nemotron_ros.bridge.graph import Graph, Topic
from nemotron_ros.bridge.interfaces import (
    InterfaceError,
    load_action,
    load_message,
    load_service,
)
from nemotron_ros.tools.bounds import MOTION_TYPES
from nemotron_ros.tools.entries import TOOL_NAME
from nemotron_ros.tools.tool_file import TAKEN

MAX_ARGUMENTS = 8
"""A tool with more is no use to a small model; its author has to choose."""
MAX_VALUES = 24
"""How much of a message is read: more is nothing that a model could tell."""
SKIPPED = frozenset({'std_msgs/msg/Header', 'builtin_interfaces/msg/Time'})
ACTION_TIMEOUT_S = 60
GUARD = {'max_per_minute': 10, 'exclusive': 'motion'}
WORDS = frozenset({'and', 'else', 'false', 'if', 'in', 'is', 'none', 'not', 'or', 'true'})
"""Words of a template's own language."""

HEAD = """\
# What was found on ROS, as a first tool file. Tools that only read are ready to use. Whatever
# acts is disabled, and does not exist for the model, until you have said what it may do at most:
#   1. describe it in a person's words, and give its arguments names with units;
#   2. bound every argument (minimum and maximum, enum, maxLength), and give what moves a `then`;
#   3. set `enabled: true`, or take the line out.
# Take out what the robot should never do, then:   nemotron tools check THIS_FILE
"""


@dataclass(frozen=True)
class Scaffold:
    """A tool file's text, and what of the graph is not in it: name and reason."""

    text: str
    tools: int
    left_out: tuple[tuple[str, str], ...]


def scaffold(graph: Graph, robot: str, schema: str = '') -> Scaffold:
    """Write a tool file for what is in the graph.

    :param schema: where editors find the JSON Schema of tool files; empty to leave it out.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    left_out: list[tuple[str, str]] = []
    own = _own_nodes(graph)
    for name, type_name, draft in _interfaces(graph, own):
        if _is_quiet(name, type_name, own):
            continue
        try:
            entry = draft(name, type_name)
        except (InterfaceError, TypeError) as error:
            left_out.append((name, str(error)))
        except _NoUse as reason:
            left_out.append((name, f'{type_name} {reason}'))
        else:
            found.append((name, entry))
    tools = _named(found)
    return Scaffold(_text(tools, left_out, robot, schema), len(tools), tuple(left_out))


class _NoUse(Exception):
    """Why nothing can be made of an interface without its author."""


Drafter = Callable[[str, str], dict[str, Any]]


def _interfaces(graph: Graph, own: Sequence[str]) -> Iterator[tuple[str, str, Drafter]]:
    for name, topic in graph.topics.items():
        yield from ((name, type_name, drafter) for type_name, drafter in _of_topic(topic, own))
    for name, types in graph.services.items():
        for type_name in types:
            yield name, type_name, _service
    for name, types in graph.actions.items():
        for type_name in types:
            yield name, type_name, _action


def _of_topic(topic: Topic, own: Sequence[str]) -> Iterator[tuple[str, Drafter]]:
    """Yield how a topic is used: velocities and goals are written, what is published is read."""
    ours = {node + end for node in own for end in ('', '_tools')}
    told = sorted({end.type for end in topic.publishers if end.node not in ours})
    heard = sorted({end.type for end in topic.subscriptions if end.node not in ours})
    for type_name in told:
        if type_name not in MOTION_TYPES:
            yield type_name, _read
    for type_name in heard:
        if type_name in MOTION_TYPES or type_name not in told:
            yield type_name, _publish


def _own_nodes(graph: Graph) -> tuple[str, ...]:
    """Return the nodes of this package: a robot does not command itself, nor listen to itself."""
    ours = [name for name, types in graph.services.items() if 'nemotron_msgs/' in ' '.join(types)]
    return tuple(sorted({name.rsplit('/', 1)[0] for name in ours}))


def _is_quiet(name: str, type_name: str, own: Sequence[str]) -> bool:
    hidden = any(part.startswith('_') for part in name.split('/'))
    package = type_name.split('/')[0]
    is_own = any(name.startswith(f'{node}/') for node in own)
    return hidden or is_own or package in drafts.QUIET_PACKAGES


# Drafts


def _read(name: str, type_name: str) -> dict[str, Any]:
    message_class = load_message(type_name)
    draft = drafts.READ.get(type_name)
    if draft is None:
        draft = {'description': f'The latest {_words(name)}.', 'value': _value(message_class)}
    if 'kind' in draft:
        what: dict[str, Any] = {draft['kind']: {'topic': name}}
    else:
        what = {'topic': name, 'type': type_name, 'value': draft['value']}
    return {'description': draft['description'], 'read': {**what, 'max_age_s': 5}}


def _publish(name: str, type_name: str) -> dict[str, Any]:
    message_class = load_message(type_name)
    draft = drafts.PUBLISH.get(type_name)
    if draft is None:
        parameters, message = _arguments(message_class)
        draft = {'parameters': parameters, 'topic': {'message': message}}
    head = {'name': name, 'type': type_name}
    return _acting(f'Publish {_words(name)}.', 'topic', head, draft, {})


def _service(name: str, type_name: str) -> dict[str, Any]:
    service: Any = load_service(type_name)
    draft = drafts.SERVICE.get(type_name)
    if draft is None:
        parameters, request = _arguments(service.Request)
        draft = {'parameters': parameters, 'service': {'request': request}}
    head = {'name': name, 'type': type_name}
    return _acting(f'Call {_words(name)}.', 'service', head, draft, {'timeout_s': 5})


def _action(name: str, type_name: str) -> dict[str, Any]:
    action: Any = load_action(type_name)
    draft = drafts.ACTION.get(type_name)
    if draft is None:
        parameters, goal = _arguments(action.Goal)
        draft = {'parameters': parameters, 'action': {'goal': goal}}
    head = {'name': name, 'type': type_name}
    return _acting(f'Do {_words(name)}.', 'action', head, draft, {'timeout_s': ACTION_TIMEOUT_S})


def _acting(
    description: str,
    kind: str,
    head: Mapping[str, Any],
    draft: drafts.Draft,
    tail: Mapping[str, Any],
) -> dict[str, Any]:
    binding = {
        key: value for key, value in draft.get(kind, {}).items() if value != {} or key == 'then'
    }
    parameters = draft.get('parameters')
    return {
        'description': draft.get('description', description),
        'enabled': False,
        **({'parameters': parameters} if parameters else {}),
        kind: {**head, **binding, **tail},
        'guard': GUARD,
    }


# Fields


def _value(message_class: type[Any]) -> Any:
    """Return what to tell of a message: its fields, if they are few."""
    kinds = _content(message_class)
    names = [name for name in kinds if name not in TAKEN | WORDS]
    if sum(_size(kinds[name]) for name in names) > MAX_VALUES:
        raise _NoUse('is too much for a model to read; tell a part of it')
    if not names:
        raise _NoUse('has nothing to tell')
    values = {name: f'{{{{ {name} }}}}' for name in names}
    return values if len(values) > 1 else values.popitem()[1]


def _size(kind: Kind) -> int:
    """Return how many values a field has at most; more than any limit, if it sets none."""
    if isinstance(kind, Many):
        return MAX_VALUES + 1 if kind.maximum is None else kind.maximum * _size(kind.of)
    if isinstance(kind, Nested):
        return sum(_size(inner) for inner in kinds_of(kind.message_class).values())
    return 1


def _arguments(message_class: type[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return parameters for the single values of a message, and the mapping that uses them.

    Neither, where there are too many, or lists of them: then an author has to choose.
    """
    leaves = dict(_leaves(message_class, ()))
    if len(leaves) > MAX_ARGUMENTS or any(isinstance(kind, Many) for kind in leaves.values()):
        return {}, {}
    parameters: dict[str, Any] = {}
    message: dict[str, Any] = {}
    for (path, kind), name in zip(leaves.items(), _argument_names(list(leaves)), strict=True):
        parameters[name] = _schema(kind)
        inside = message
        for part in path[:-1]:
            inside = inside.setdefault(part, {})
        inside[path[-1]] = f'{{{{ {name} }}}}'
    return parameters, message


def _leaves(message_class: type[Any], path: tuple[str, ...]) -> Iterator[tuple[Any, Kind]]:
    for name, kind in _content(message_class).items():
        if isinstance(kind, Nested):
            yield from _leaves(kind.message_class, (*path, name))
        else:
            yield (*path, name), kind


def _content(message_class: type[Any]) -> dict[str, Kind]:
    """Return the fields of a message without its header and its stamps."""
    return {
        name: kind
        for name, kind in kinds_of(message_class).items()
        if not (isinstance(kind, Nested) and name_of_type(kind.message_class) in SKIPPED)
    }


def _argument_names(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a name for each field: the shortest ends of the paths that tell all of them apart."""
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = ['_'.join(path[-length:]).lower() for path in paths]
        free = all(TOOL_NAME.match(name) and name not in TAKEN | WORDS for name in names)
        if free and len(set(names)) == len(names):
            return names
    return [f'value_{number}' for number in range(1, len(paths) + 1)]


def _schema(kind: Kind) -> dict[str, Any]:
    """Return a parameter's schema, its bounds left to its author."""
    if isinstance(kind, Boolean):
        return {'type': 'boolean'}
    if isinstance(kind, Text):
        return {'type': 'string'}
    return {'type': 'number' if isinstance(kind, Float) else 'integer'}


# Names and text


def _named(found: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the tools by name: the shortest end of the interface's name that is still free.

    Of services and actions that are within something, it says of what: ``gripper_open``.
    """
    tools: dict[str, dict[str, Any]] = {}
    # What reads comes first: it is what can be used at once.
    for name, entry in sorted(found, key=lambda pair: 'enabled' in pair[1]):
        prefix = 'get_' if 'read' in entry else 'send_' if 'topic' in entry else ''
        least = 1 if prefix else 2
        tools[_tool_name(prefix, name, least, tools)] = entry
    return tools


def _tool_name(prefix: str, name: str, least: int, used: Mapping[str, Any]) -> str:
    parts = [re.sub('[^a-z0-9_]', '_', part.lower()) for part in name.strip('/').split('/')]
    ends = [
        prefix + '_'.join(parts[-length:])
        for length in range(min(least, len(parts)), len(parts) + 1)
    ]
    numbered = (f'{ends[-1][:58]}_{number}' for number in count(2))
    for tool in chain((end[:64] for end in ends), numbered):
        if tool not in used and TOOL_NAME.match(tool):
            return tool
    raise AssertionError('numbers do not end')


def _words(name: str) -> str:
    return name.strip('/').replace('/', ' ').replace('_', ' ')


def _text(
    tools: Mapping[str, dict[str, Any]],
    left_out: Sequence[tuple[str, str]],
    robot: str,
    schema: str,
) -> str:
    lines = [f'# yaml-language-server: $schema={schema}\n'] if schema else []
    lines += [
        HEAD,
        _yaml({'robot': robot}, flow=False),
        '\ntools:\n' if tools else '\ntools: {}\n',
    ]
    for name, entry in tools.items():
        body = _yaml({name: deepcopy(entry)})
        lines.append(''.join(f'  {line}' for line in body.splitlines(keepends=True)) + '\n')
    if left_out:
        lines.append('# Not written as tools:\n')
        lines += [f'#   {name}: {" ".join(reason.split())}\n' for name, reason in left_out]
    return ''.join(lines)


def _yaml(value: Any, flow: bool | None = None) -> str:
    """Return YAML; by itself, the innermost collections are written on one line."""
    text: str = yaml.dump(
        value,
        Dumper=_Plain,
        sort_keys=False,
        default_flow_style=flow,
        width=1000,
        allow_unicode=True,
    )
    return text


class _Plain(yaml.SafeDumper):
    """Writes as a person would: what stands twice in full, templates in double quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    style = '"' if '{{' in data else None
    return dumper.represent_scalar('tag:yaml.org,2002:str', data, style)


_Plain.add_representer(str, _text_node)
