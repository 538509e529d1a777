"""Scenarios: what is said, the world it is said in, and what should come of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nemotron_ros.evaluation.match import About, Equals, Match, Matches, OneOf
from nemotron_ros.tools.entries import TOOL_NAME, Fault, mapping, sequence, text
from nemotron_ros.tools.model import Reading, Tool, ToolFile
from nemotron_ros.tools.parts import At, Place, dotted
from nemotron_ros.tools.validate import Validator
from nemotron_ros.tools.yaml_lines import YamlError, parse

MAX_CALLS = 8
"""Most calls that one scenario may expect."""
MATCHES = ('about', 'one_of', 'matches')


@dataclass(frozen=True)
class Fails:
    """In this world, the tool fails for this reason."""

    reason: str


@dataclass(frozen=True)
class WantedCall:
    """A call that should be made. An argument that is left out may be anything."""

    tool: str
    arguments: Mapping[str, Match] = field(default_factory=dict)


@dataclass(frozen=True)
class WantedAnswer:
    """What the last words should be.

    ``contains_one_of`` empty takes any words. ``asks``: the person is asked something.
    ``refuses``: nothing acts, and the command does not end as if it had. ``example`` would do;
    it is for training data, and no answer is held against it.
    """

    contains_one_of: tuple[str, ...] = ()
    asks: bool = False
    refuses: bool = False
    example: str = ''


@dataclass(frozen=True)
class Expected:
    """What should come of a command.

    ``calls`` are lists of calls, each as good as the others. ``may`` are tools that may be
    called besides, as those that only read always may; ``never`` are tools that must not.
    """

    calls: tuple[tuple[WantedCall, ...], ...]
    any_order: bool = False
    may: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    answer: WantedAnswer = field(default_factory=WantedAnswer)


@dataclass(frozen=True)
class Scenario:
    """One thing that a robot is told, in several ways.

    Each of ``say`` is a conversation, of which the last turn is judged. ``world`` has what
    tools return.
    """

    id: str
    robot: str
    place: Place
    tags: tuple[str, ...]
    say: tuple[tuple[str, ...], ...]
    world: Mapping[str, object | Fails]
    expected: Expected


class ScenarioError(ValueError):
    """A file of scenarios is wrong; the message lists every problem, a line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__('\n'.join(self.problems))


def load(paths: Iterable[Path], tool_file_of: Callable[[str], ToolFile]) -> tuple[Scenario, ...]:
    """Read files of scenarios, and hold each against its robot's tool file.

    :param tool_file_of: returns the tool file of a robot; a ``LookupError`` says that there
        is none.
    :raise ScenarioError: with every problem as ``FILE:LINE: path: what is wrong``.
    """
    problems: list[str] = []
    scenarios: dict[str, Scenario] = {}
    for path in paths:
        reader = _Reader(path, tool_file_of)
        for scenario in reader.read():
            first = scenarios.setdefault(scenario.id, scenario)
            if first is not scenario:
                problems.append(
                    f'{scenario.place}: scenarios.{scenario.id}: stands in {first.place} '
                    'already; give this one another name'
                )
        problems += reader.problems
    if problems:
        raise ScenarioError(problems)
    return tuple(scenarios.values())


class _Reader:
    """Reads one file, gathering problems on the way."""

    def __init__(self, path: Path, tool_file_of: Callable[[str], ToolFile]) -> None:
        self._path = path
        self._tool_file_of = tool_file_of
        self._lines: Mapping[At, int] = {}
        self.problems: list[str] = []

    def read(self) -> list[Scenario]:
        try:
            data, self._lines = parse(self._path.read_text(encoding='utf-8'))
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f'{self._path}: can not be read: {error}')
            return []
        except YamlError as error:
            self.problems.append(f'{self._path}:{error.line}: {error}')
            return []
        try:
            top = mapping(data, (), ('robot', 'scenarios'))
            robot = text(top, 'robot', ())
            tool_file = self._tool_file(robot)
            entries = mapping(top.get('scenarios'), ('scenarios',))
            if not entries:
                raise Fault(('scenarios',), 'expected at least one scenario')
        except Fault as fault:
            self._note(fault)
            return []
        checked = _Tools(tool_file)
        read = (self._scenario(name, entry, robot, checked) for name, entry in entries.items())
        return [scenario for scenario in read if scenario is not None]

    def _tool_file(self, robot: str) -> ToolFile:
        try:
            return self._tool_file_of(robot)
        except LookupError as error:
            raise Fault(('robot',), str(error.args[0])) from error

    def _note(self, fault: Fault) -> None:
        self.problems.append(f'{self._place(fault.at)}: {dotted(fault.at)}: {fault}')

    def _place(self, at: At) -> Place:
        while at and at not in self._lines:
            at = at[:-1]
        return Place(str(self._path), self._lines.get(at, 1))

    def _scenario(self, name: str, entry: Any, robot: str, tools: _Tools) -> Scenario | None:
        at: At = ('scenarios', name)
        before = len(self.problems)
        try:
            if not TOOL_NAME.match(name):
                raise Fault(at, 'expected a name of a-z, 0-9 and _, beginning with a letter')
            entry = mapping(entry, at, ('tags', 'say', 'world', 'expect'))
        except Fault as fault:
            self._note(fault)
            return None
        tags = self._try(lambda: _tags(entry.get('tags', []), (*at, 'tags')))
        say = self._try(lambda: _say(entry.get('say'), (*at, 'say'), tools))
        world = self._try(lambda: _world(entry.get('world'), (*at, 'world'), tools))
        expected = self._try(lambda: _expected(entry, at, tools))
        if len(self.problems) > before:
            return None
        return Scenario(name, robot, self._place(at), tags, say, world, expected)

    def _try(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Fault as fault:
            self._note(fault)
            return None


class _Tools:
    """What a tool file has, for who names it."""

    def __init__(self, tool_file: ToolFile) -> None:
        self._file = tool_file
        self._validators: dict[str, Validator] = {}
        examples = (
            *tool_file.examples,
            *(e for t in tool_file.tools.values() for e in t.spec.examples),
        )
        self.shown = {wording(example.utterance): example.utterance for example in examples}

    def tool(self, name: object, at: At) -> Tool:
        """Return a tool by its name."""
        tool = self._file.tools.get(name) if isinstance(name, str) else None
        if tool is None:
            near = get_close_matches(str(name), self._file.tools, 1)
            known = ', '.join(sorted(self._file.tools))
            hint = f'did you mean {near[0]!r}?' if near else f'there is {known}'
            raise Fault(at, f'{self._file.path} has no tool {name!r}; {hint}')
        return tool

    def acts(self, name: str) -> bool:
        """Whether a tool does more than read."""
        return not isinstance(self._file.tools[name].binding, Reading)

    def names(self, data: Any, at: At) -> frozenset[str]:
        """Return a list of names of tools."""
        return frozenset(
            self.tool(name, (*at, index)).spec.name
            for index, name in enumerate(sequence(data, at))
        )

    def check(self, tool: Tool, name: str, match: Match, at: At) -> None:
        """Refuse what no valid call could have as this argument."""
        properties: Mapping[str, Any] = tool.spec.parameters['properties']
        if name not in properties:
            near = get_close_matches(name, properties, 1)
            known = ', '.join(properties) or 'none'
            hint = f'did you mean {near[0]!r}?' if near else f'there is {known}'
            raise Fault(at, f'{tool.spec.name} has no such argument; {hint}')
        if isinstance(match, Matches) and properties[name].get('type', 'string') != 'string':
            raise Fault(at, f'matches is for text, and {name} is {properties[name]["type"]}')
        if tool.spec.name not in self._validators:
            self._validators[tool.spec.name] = Validator(tool.spec)
        for value in match.examples():
            faults = self._validators[tool.spec.name].check({name: value})
            wrong = [fault for fault in faults if not fault.endswith(': is missing')]
            if wrong:
                raise Fault(at, f'no valid call has it: {"; ".join(wrong)}')


def wording(utterance: str) -> str:
    """Return the words of a sentence, alike for all ways to write it."""
    return ' '.join(re.findall(r'\w+', utterance.casefold()))


def _tags(data: Any, at: At) -> tuple[str, ...]:
    for index, tag in enumerate(sequence(data, at)):
        if not isinstance(tag, str) or not TOOL_NAME.match(tag):
            raise Fault((*at, index), f'expected a word of a-z, 0-9 and _, got {tag!r}')
        if tag in data[:index]:
            raise Fault((*at, index), f'{tag!r} stands here a second time')
    return tuple(data)


def _say(data: Any, at: At, tools: _Tools) -> tuple[tuple[str, ...], ...]:
    if not isinstance(data, list) or not data:
        raise Fault(at, 'expected a list of what a person says')
    said: dict[tuple[str, ...], int] = {}
    for index, item in enumerate(data):
        turns = tuple(item) if isinstance(item, list) else (item,)
        if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
            raise Fault((*at, index), f'expected text, or a list of texts, got {item!r:.60}')
        if said.setdefault(turns, index) != index:
            raise Fault((*at, index), f'{turns[-1]!r} is said here a second time')
        shown = tools.shown.get(wording(turns[-1])) if len(turns) == 1 else None
        if shown is not None:
            raise Fault(
                (*at, index), f'{shown!r} is an example of the tool file: the model has read it'
            )
    return tuple(said)


def _world(data: Any, at: At, tools: _Tools) -> dict[str, object | Fails]:
    world: dict[str, object | Fails] = {}
    for name, value in mapping(data, at).items():
        tools.tool(name, (*at, name))
        if isinstance(value, dict) and 'fails' in value:
            mapping(value, (*at, name), ('fails',))
            world[name] = Fails(text(value, 'fails', (*at, name)))
        else:
            world[name] = value
    return world


def _expected(entry: Mapping[str, Any], at: At, tools: _Tools) -> Expected:
    at = (*at, 'expect')
    keys = ('calls', 'any_order', 'or', 'may', 'never', 'answer')
    data = mapping(entry.get('expect'), at, keys)
    if 'calls' not in data:
        raise Fault(at, 'calls is missing; [] says that nothing may act')
    others = sequence(data.get('or', []), (*at, 'or'))
    lists = (
        _calls(data['calls'], (*at, 'calls'), tools),
        *(_calls(item, (*at, 'or', i), tools) for i, item in enumerate(others)),
    )
    expected = Expected(
        lists,
        _flag(data, 'any_order', at),
        tools.names(data.get('may', []), (*at, 'may')),
        tools.names(data.get('never', []), (*at, 'never')),
        _answer(data.get('answer'), (*at, 'answer')),
    )
    wanted = {call.tool for calls in lists for call in calls} | expected.may
    for name in sorted(expected.never & wanted):
        raise Fault((*at, 'never'), f'{name} is expected or allowed by calls, or or may')
    if expected.answer.refuses and any(tools.acts(call.tool) for call in lists[0]):
        raise Fault((*at, 'answer', 'refuses'), 'calls expects that something acts')
    return expected


def _calls(data: Any, at: At, tools: _Tools) -> tuple[WantedCall, ...]:
    calls = sequence(data, at)
    if len(calls) > MAX_CALLS:
        raise Fault(at, f'expected at most {MAX_CALLS} calls, got {len(calls)}')
    return tuple(_call(call, (*at, index), tools) for index, call in enumerate(calls))


def _call(data: Any, at: At, tools: _Tools) -> WantedCall:
    if isinstance(data, str):
        data = {data: {}}
    pairs = list(mapping(data, at).items())
    if len(pairs) != 1:
        raise Fault(at, 'expected one {tool: arguments}')
    name, arguments = pairs[0]
    tool = tools.tool(name, (*at, name))
    matches = {}
    for argument, value in mapping(arguments, (*at, name)).items():
        here = (*at, name, argument)
        matches[argument] = _match(value, here)
        tools.check(tool, argument, matches[argument], here)
    return WantedCall(name, matches)


def _match(data: Any, at: At) -> Match:
    if not isinstance(data, dict) or not data.keys() & {*MATCHES, 'within'}:
        return Equals(data)
    mapping(data, at, (*MATCHES, 'within'))
    kinds = [kind for kind in MATCHES if kind in data]
    if len(kinds) != 1 or ('within' in data) != (kinds == ['about']):
        raise Fault(
            at,
            'expected a value, {about: NUMBER, within: NUMBER}, {one_of: [...]} '
            'or {matches: REGEX}',
        )
    if kinds == ['about']:
        return About(_number(data, 'about', at), _number(data, 'within', at, low=0.0))
    if kinds == ['one_of']:
        values = sequence(data['one_of'], (*at, 'one_of'))
        if not values:
            raise Fault((*at, 'one_of'), 'expected at least one value')
        return OneOf(tuple(values))
    try:
        return Matches(re.compile(text(data, 'matches', at), re.IGNORECASE))
    except re.error as error:
        raise Fault((*at, 'matches'), f'is no regular expression: {error}') from error


def _number(data: Mapping[str, Any], key: str, at: At, low: float = float('-inf')) -> float:
    value = data[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < low:
        least = '' if low == float('-inf') else f' of at least {low:g}'
        raise Fault((*at, key), f'expected a number{least}, got {value!r}')
    return float(value)


def _answer(data: Any, at: At) -> WantedAnswer:
    data = mapping(data, at, ('contains_one_of', 'asks', 'refuses', 'example'))
    words = sequence(data.get('contains_one_of', []), (*at, 'contains_one_of'))
    for index, word in enumerate(words):
        if not isinstance(word, str) or not word.strip():
            raise Fault((*at, 'contains_one_of', index), f'expected text in quotes, got {word!r}')
    example = text(data, 'example', at) if 'example' in data else ''
    if example and words and not any(word.casefold() in example.casefold() for word in words):
        raise Fault((*at, 'example'), f'has none of the words {", ".join(words)}')
    answer = WantedAnswer(
        tuple(words), _flag(data, 'asks', at), _flag(data, 'refuses', at), example
    )
    if example and answer.asks and example[-1] not in '?？':  # noqa: RUF001
        raise Fault((*at, 'example'), 'asks: expected a question, which ends with ?')
    return answer


def _flag(data: Mapping[str, Any], key: str, at: At) -> bool:
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise Fault((*at, key), f'expected true or false, got {value!r}')
    return value
