"""The tool file: read, checked as a whole, and turned into data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from nemotron_ros.chat.messages import Example, ToolCall, ToolSpec
from nemotron_ros.tools import bounds, read_entries, rule_entries, units
from nemotron_ros.tools.clamp import unclampable
from nemotron_ros.tools.conditions import Condition
from nemotron_ros.tools.entries import (
    TOOL_NAME,
    Fault,
    mapping,
    number,
    ros_name,
    ros_type,
    sequence,
    text,
)
from nemotron_ros.tools.estop import EStop
from nemotron_ros.tools.limits import MotionLimits
from nemotron_ros.tools.model import (
    Binding,
    CallService,
    OutOfRange,
    Publish,
    Send,
    SendGoal,
    Tool,
    ToolFile,
    Until,
    UsePlugin,
)
from nemotron_ros.tools.parts import At, Place, dotted, gather
from nemotron_ros.tools.stop import DEFAULT_STOP_WORDS
from nemotron_ros.tools.templates import (
    FUNCTIONS,
    TemplateError,
    Value,
    compile_value,
    evaluate,
)
from nemotron_ros.tools.validate import Validator

KINDS = ('topic', 'read', 'service', 'action', 'plugin')
TAKEN = frozenset({*FUNCTIONS, 'now', 'start', 'self'})
"""Names that mean something of their own in a template."""


class ToolFileError(ValueError):
    """The tool file is wrong; the message lists every problem, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__('\n'.join(problems))
        self.problems = tuple(problems)


def load(path: str | Path) -> ToolFile:
    """Read and check a tool file and the parts that it includes.

    :raise ToolFileError: with every problem as ``FILE:LINE: path: what is wrong``.
    """
    if not str(path):
        raise ToolFileError(['tool_file: is not set; give the path of a tool file'])
    gathered = gather(path)
    if not gathered.whole:
        raise ToolFileError(gathered.problems)
    reader = _Reader(str(path), gathered.places)
    tool_file = reader.read(gathered.data)
    problems = [*gathered.problems, *reader.problems]
    if problems or tool_file is None:
        raise ToolFileError(problems)
    return tool_file


class _Reader:
    """Reads a whole file, gathering problems on the way."""

    def __init__(self, path: str, places: Mapping[At, Place]) -> None:
        self._path = path
        self._places = places
        self._tables: dict[str, object] = {}
        self._conditions: Mapping[str, Condition] | None = {}
        self._validators: dict[str, Validator] = {}
        self._disabled: set[str] = set()
        self._warnings: list[str] = []
        self.problems: list[str] = []

    def read(self, data: Any) -> ToolFile | None:
        """Return the file's contents; None, with problems noted, if it has none."""
        try:
            own = ('robot', 'include', 'tables', 'tools', 'examples', 'stop_words')
            top = mapping(data, (), (*own, *rule_entries.KEYS))
            robot = text(top, 'robot', ())
            self._tables = _table(top.get('tables', {}), ('tables',))
            entries = mapping(top.get('tools', {}), ('tools',))
            if not entries:
                raise Fault(('tools',), 'expected at least one tool')
        except Fault as fault:
            self._note(fault)
            return None
        self._conditions = self._try(
            lambda: rule_entries.conditions(top.get('conditions'), ('conditions',), self._template)
        )
        limits = self._try(lambda: rule_entries.limits(top.get('limits'), ('limits',)))
        estop = self._try(lambda: rule_entries.estop(top.get('estop'), ('estop',)))
        tools: dict[str, Tool] = {}
        for name, entry in entries.items():
            tool = self._try(lambda name=name, entry=entry: self._tool(name, entry))  # type: ignore[misc]
            if tool is not None:
                tools[name] = tool
        examples = self._try(lambda: self._examples(top.get('examples', [])))
        words = self._try(lambda: _words(top.get('stop_words', list(DEFAULT_STOP_WORDS))))
        return ToolFile(
            self._path,
            robot,
            {name: tool for name, tool in tools.items() if name not in self._disabled},
            self._tables,
            examples or (),
            words or (),
            self._conditions or {},
            limits or MotionLimits(),
            estop or EStop(),
            disabled={name: tool for name, tool in tools.items() if name in self._disabled},
            warnings=tuple(self._warnings),
            places={dotted(at): place for at, place in self._places.items()},
        )

    def _try(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Fault as fault:
            self._note(fault)
            return None

    def _note(self, fault: Fault) -> None:
        self.problems.append(self._told(fault.at, str(fault)))

    def _told(self, at: At, what: str) -> str:
        known = at
        while known and known not in self._places:
            known = known[:-1]
        place = self._places.get(known, Place(self._path, 1))
        return f'{place}: {dotted(at)}: {what}'

    # Tools

    def _tool(self, name: str, entry: Any) -> Tool:
        at: At = ('tools', name)
        if not TOOL_NAME.match(name):
            raise Fault(at, 'expected a name of a-z, 0-9 and _, beginning with a letter')
        own = ('description', 'enabled', 'parameters', 'out_of_range', 'examples', 'guard')
        keys = (*own, *KINDS)
        entry = mapping(entry, at, keys)
        enabled = entry.get('enabled', True)
        if not isinstance(enabled, bool):
            raise Fault((*at, 'enabled'), f'expected true or false, got {enabled!r}')
        if not enabled:
            self._disabled.add(name)
        kinds = [kind for kind in KINDS if kind in entry]
        if len(kinds) != 1:
            raise Fault(at, f'expected exactly one of {", ".join(KINDS)}, got {len(kinds)}')
        kind = kinds[0]
        parameters = self._parameters(entry.get('parameters', {}), (*at, 'parameters'))
        if kind != 'read' and enabled:
            for parameter, schema in parameters['properties'].items():
                here = (*at, 'parameters', parameter)
                for where, problem in bounds.missing(schema, here):
                    self._note(Fault(where, problem))
                for doubt in units.doubts(parameter, schema):
                    self._warnings.append(self._told(here, doubt))
        out_of_range = _out_of_range(entry, at, parameters['properties'])
        names = [*parameters['properties'], *self._tables]
        rules = rule_entries.rules(entry.get('guard'), (*at, 'guard'), self._conditions)
        binding = self._binding(kind, entry[kind], (*at, kind), names)
        moves = isinstance(binding, Publish) and binding.send.type in bounds.MOTION_TYPES
        if isinstance(binding, Publish) and moves and enabled:
            if binding.then is None:
                raise Fault((*at, kind), 'moves the robot and needs then: a message that ends it')
            if rules.exclusive is None:
                raise Fault(at, 'moves the robot and needs guard: {exclusive: motion}')
        spec = ToolSpec(name, text(entry, 'description', at), parameters)
        self._validators[name] = Validator(spec)
        examples = self._tool_examples(name, entry.get('examples', []), (*at, 'examples'))
        spec = replace(spec, examples=examples, holds_ranges=out_of_range is OutOfRange.CONSTRAIN)
        return Tool(spec, binding, rules, out_of_range)

    def _parameters(self, data: Any, at: At) -> dict[str, Any]:
        properties = {}
        for name, schema in mapping(data, at).items():
            here = (*at, name)
            if not TOOL_NAME.match(name):
                raise Fault(here, 'expected a name of a-z, 0-9 and _, beginning with a letter')
            if name in TAKEN or name in self._tables:
                raise Fault(here, 'this name is taken by a table or a function')
            properties[name] = self._schema(mapping(schema, here), here)
        return {
            'type': 'object',
            'properties': properties,
            'required': [name for name, schema in properties.items() if 'default' not in schema],
            'additionalProperties': False,
        }

    def _schema(self, schema: Mapping[str, Any], at: At) -> dict[str, Any]:
        schema = dict(schema)
        if isinstance(schema.get('enum'), str):
            schema['enum'] = self._names_of_table(schema['enum'], (*at, 'enum'))
        if schema.get('enum') == []:
            raise Fault((*at, 'enum'), 'expected at least one value')
        if 'type' not in schema and isinstance(schema.get('enum'), list):
            kinds = {_json_type(value) for value in schema['enum']}
            if len(kinds) == 1:
                schema['type'] = kinds.pop()
        for keyword_at, problem in bounds.unknown_keywords(schema, at):
            raise Fault(keyword_at, problem)
        try:
            Draft202012Validator.check_schema(schema)
        except Exception as error:
            reason = getattr(error, 'message', str(error))
            raise Fault(at, f'is no JSON Schema: {reason}') from error
        if 'default' in schema:
            wrong = list(Draft202012Validator(schema).iter_errors(schema['default']))
            if wrong:
                raise Fault((*at, 'default'), f'breaks its own schema: {wrong[0].message}')
        return schema

    def _names_of_table(self, source: str, at: At) -> list[object]:
        value = self._template(source, at, self._tables)
        try:
            table = evaluate(value, self._tables)
        except TemplateError as error:
            raise Fault(at, str(error)) from error
        if not isinstance(table, (Mapping, list)) or not table:
            raise Fault(at, 'expected a list, or a table with at least one entry')
        return list(table)

    # Bindings

    def _binding(self, kind: str, data: Any, at: At, names: Iterable[str]) -> Binding:
        readers: Mapping[str, Callable[[Any, At, Iterable[str]], Binding]] = {
            'topic': self._publish,
            'read': self._read,
            'service': self._service,
            'action': self._action,
            'plugin': self._plugin,
        }
        return readers[kind](data, at, names)

    def _publish(self, data: Any, at: At, names: Iterable[str]) -> Publish:
        keys = ('name', 'type', 'message', 'rate_hz', 'for_s', 'until', 'then')
        data = mapping(data, at, keys)
        send = Send(
            ros_name(data, 'name', at),
            ros_type(data, 'msg', at),
            self._template(data.get('message', {}), (*at, 'message'), names),
        )
        rate_hz = number(data, 'rate_hz', at, 0.1, 1000.0)
        if 'for_s' in data and 'until' in data:
            raise Fault(at, 'expected for_s or until, not both')
        if rate_hz is not None and 'for_s' not in data and 'until' not in data:
            raise Fault((*at, 'rate_hz'), 'needs for_s or until: how long to publish')
        return Publish(
            send,
            rate_hz,
            self._template(data['for_s'], (*at, 'for_s'), names) if 'for_s' in data else None,
            self._until(data['until'], (*at, 'until'), names) if 'until' in data else None,
            self._closing(data['then'], (*at, 'then'), names, send) if 'then' in data else None,
        )

    def _until(self, data: Any, at: At, names: Iterable[str]) -> Until:
        data = mapping(data, at, ('topic', 'type', 'when', 'within_s'))
        for key in ('when', 'within_s'):
            if key not in data:
                raise Fault(at, f'{key} is missing')
        return Until(
            ros_name(data, 'topic', at),
            ros_type(data, 'msg', at),
            self._template(data['when'], (*at, 'when'), [*names, 'now', 'start']),
            self._template(data['within_s'], (*at, 'within_s'), names),
        )

    def _closing(self, data: Any, at: At, names: Iterable[str], send: Send | None) -> Send:
        """Read the message that ends what a tool began; on ``send``'s topic unless it says."""
        data = mapping(data, at, ('topic', 'type', 'message'))
        message = self._template(data.get('message', {}), (*at, 'message'), names)
        if send is not None and 'topic' not in data:
            return Send(send.topic, send.type, message)
        return Send(ros_name(data, 'topic', at), ros_type(data, 'msg', at), message)

    def _read(self, data: Any, at: At, names: Iterable[str]) -> Binding:
        return read_entries.reading(data, at, self._template, names)

    def _plugin(self, data: Any, at: At, names: Iterable[str]) -> UsePlugin:
        data = mapping(data, at, ('use', 'timeout_s', 'then'))
        timeout_s = number(data, 'timeout_s', at, 0.01, 86400.0)
        if timeout_s is None:
            raise Fault(at, 'timeout_s is missing: how long the function may take, seconds')
        return UsePlugin(
            text(data, 'use', at),
            timeout_s,
            self._closing(data['then'], (*at, 'then'), names, None) if 'then' in data else None,
        )

    def _service(self, data: Any, at: At, names: Iterable[str]) -> CallService:
        data = mapping(data, at, ('name', 'type', 'request', 'value', 'timeout_s', 'then'))
        return CallService(
            ros_name(data, 'name', at),
            ros_type(data, 'srv', at),
            self._template(data.get('request', {}), (*at, 'request'), names),
            number(data, 'timeout_s', at, 0.01, 3600.0) or 10.0,
            self._template(data['value'], (*at, 'value'), None) if 'value' in data else None,
            self._closing(data['then'], (*at, 'then'), names, None) if 'then' in data else None,
        )

    def _action(self, data: Any, at: At, names: Iterable[str]) -> SendGoal:
        data = mapping(data, at, ('name', 'type', 'goal', 'value', 'timeout_s'))
        timeout_s = number(data, 'timeout_s', at, 0.01, 86400.0)
        if timeout_s is None:
            raise Fault(at, 'timeout_s is missing: how long the goal may take, seconds')
        return SendGoal(
            ros_name(data, 'name', at),
            ros_type(data, 'action', at),
            self._template(data.get('goal', {}), (*at, 'goal'), names),
            timeout_s,
            self._template(data['value'], (*at, 'value'), None) if 'value' in data else None,
        )

    def _template(self, raw: Any, at: At, names: Iterable[str] | None) -> Value:
        try:
            return compile_value(raw, dotted(at), names)
        except TemplateError as error:
            path, _, message = str(error).partition(': ')
            where = next((known for known in self._places if dotted(known) == path), at)
            raise Fault(where, message) from error

    # Examples

    def _tool_examples(self, name: str, data: Any, at: At) -> tuple[Example, ...]:
        examples = []
        for index, item in enumerate(sequence(data, at)):
            here = (*at, index)
            parts = _parts(item, here, 2)
            arguments = mapping(parts[1], (*here, 1))
            extra = mapping(parts[2] if len(parts) > 2 else {}, (*here, 2), ('value', 'answer'))
            values = (extra['value'],) if 'value' in extra else ()
            call = self._call(name, arguments, (*here, 1), 1)
            examples.append(Example(parts[0], (call,), str(extra.get('answer', '')), values))
        return tuple(examples)

    def _examples(self, data: Any) -> tuple[Example, ...]:
        examples = []
        for index, item in enumerate(sequence(data, ('examples',))):
            here: At = ('examples', index)
            parts = _parts(item, here, 2)
            if isinstance(parts[1], str):
                examples.append(Example(parts[0], (), parts[1]))
                continue
            calls = []
            for index, entry in enumerate(sequence(parts[1], (*here, 1))):
                call_at = (*here, 1, index)
                pairs = list(mapping(entry, call_at).items())
                if len(pairs) != 1:
                    raise Fault(call_at, 'expected one {tool: arguments}')
                name, arguments = pairs[0]
                if name not in self._validators:
                    near = get_close_matches(name, self._validators, 1)
                    hint = f'; did you mean {near[0]!r}?' if near else ''
                    raise Fault(call_at, f'there is no tool named {name!r}{hint}')
                arguments = mapping(arguments, (*call_at, name))
                calls.append(self._call(name, arguments, (*call_at, name), index + 1))
            extra = mapping(parts[2] if len(parts) > 2 else {}, (*here, 2), ('answer', 'values'))
            values = tuple(sequence(extra.get('values', []), (*here, 2, 'values')))
            if values and len(values) != len(calls):
                raise Fault((*here, 2, 'values'), f'expected {len(calls)} values')
            if self._disabled.isdisjoint(call.name for call in calls):
                answer = str(extra.get('answer', ''))
                examples.append(Example(parts[0], tuple(calls), answer, values))
        return tuple(examples)

    def _call(self, name: str, arguments: Mapping[str, Any], at: At, count: int) -> ToolCall:
        faults = self._validators[name].check(arguments)
        if faults:
            raise Fault(at, f'the example breaks the schema of {name}: {"; ".join(faults)}')
        return ToolCall(f'call_{count}', name, arguments)


def _out_of_range(data: Mapping[str, Any], at: At, properties: Mapping[str, Any]) -> OutOfRange:
    value = data.get('out_of_range', OutOfRange.REFUSE.value)
    known = [way.value for way in OutOfRange]
    here = (*at, 'out_of_range')
    if value not in known:
        raise Fault(here, f'expected {", ".join(known[:-1])} or {known[-1]}, got {value!r}')
    way = OutOfRange(value)
    without = unclampable(properties) if way is OutOfRange.CLAMP else []
    if without:
        raise Fault(here, f'clamp needs minimum and maximum, not exclusive ones, of {without[0]}')
    return way


def _words(data: Any) -> tuple[str, ...]:
    words = sequence(data, ('stop_words',))
    for index, word in enumerate(words):
        if not isinstance(word, str) or not word.strip():
            raise Fault(('stop_words', index), f'expected a word or words, got {word!r}')
    return tuple(words)


def _table(data: Any, at: At) -> dict[str, object]:
    tables = mapping(data, at)
    for name, table in tables.items():
        if not TOOL_NAME.match(name) or name in TAKEN:
            raise Fault((*at, name), 'expected a name of a-z, 0-9 and _, not that of a function')
        if not isinstance(table, (Mapping, list)):
            raise Fault((*at, name), f'expected a table or a list, got {table!r}')
    return dict(tables)


def _parts(item: Any, at: At, least: int) -> list[Any]:
    parts = sequence(item, at)
    if not least <= len(parts) <= least + 1 or not isinstance(parts[0], str):
        raise Fault(at, 'expected [what a person says, what it means]')
    return parts


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return 'boolean'
    if isinstance(value, int):
        return 'integer'
    if isinstance(value, float):
        return 'number'
    if isinstance(value, str):
        return 'string'
    if value is None:
        return 'null'
    return 'array' if isinstance(value, list) else 'object'
