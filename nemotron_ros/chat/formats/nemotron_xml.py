"""Nemotron 3's own format of tool calls.

::

    <tool_call>
    <function=drive>
    <parameter=direction>
    forward
    </parameter>
    </function>
    </tool_call>

Values are bare text, typed by the tool's schema. A string that itself holds one
of the format's tags cannot be told from the tag: the first tag ends the value,
and what then does not fit is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nemotron_ros.chat.formats import gbnf, json_object, strict_json, xml_grammar
from nemotron_ros.chat.formats.coerce import print_value, read_value
from nemotron_ros.chat.formats.protocol import FormatError, Parser, Piece, Text, no_such_tool
from nemotron_ros.chat.formats.reasoning import Trimmed
from nemotron_ros.chat.formats.strict_json import MAX_CALL_CHARS, JsonEnd
from nemotron_ros.chat.formats.turn import TurnParser
from nemotron_ros.chat.messages import ToolCall, ToolSpec

_NAMED = ('function', 'parameter')
_WORDS = ('tool_call', 'TOOLCALL', *_NAMED)
_LONGEST_WORD = max(map(len, _WORDS))
_MAX_NAME_CHARS = 200
_MAX_SPACES = 8
_CHUNK_CHARS = 1024


class NemotronXml:
    """The format of Nemotron 3, which its chat template writes."""

    name = 'nemotron_xml'

    def print_calls(self, calls: Sequence[ToolCall]) -> str:
        """Write calls as the chat template does."""
        return '\n'.join(_print_call(call) for call in calls)

    def grammar(self, tools: Sequence[ToolSpec], thinking: bool = False) -> str:
        """Return a Lark grammar: words, or calls that keep their tool's schema.

        It begins where the template's prompt ends: after ``<think></think>``,
        or inside the reasoning when ``thinking``.
        """
        return xml_grammar.write(tools, thinking)

    def gbnf(self, tools: Sequence[ToolSpec], thinking: bool = False) -> str:
        """Return the grammar for llama.cpp, which holds less."""
        return gbnf.write_xml(tools, thinking)

    def parser(self, tools: Sequence[ToolSpec], thinking: bool = False) -> Parser:
        """Return a parser for one turn.

        When ``thinking``, only what comes after the last ``</think>`` can be a
        call, so calls are returned by ``finish``.
        """
        schemas = {tool.name: tool.parameters for tool in tools}
        return TurnParser(lambda: _Reader(schemas), thinking, marks_in_calls=True)


def _print_call(call: ToolCall) -> str:
    parameters = ''.join(
        f'<parameter={name}>\n{print_value(value)}\n</parameter>\n'
        for name, value in call.arguments.items()
    )
    return f'<tool_call>\n<function={call.name}>\n{parameters}</function>\n</tool_call>'


class _State(Enum):
    WORDS = 'words'
    OPENED = 'after <tool_call>'
    BODY = 'between parameters'
    VALUE = 'in a value'
    JSON = 'in JSON'
    CLOSING = 'after the call, before its closing tag'


@dataclass(frozen=True)
class _Tag:
    """``word`` begins with a slash in a closing tag; ``name`` is what follows an equals sign."""

    word: str
    name: str
    end: int


@dataclass(frozen=True)
class _Begun:
    """The beginning of a tag at the end of the text; ``certain`` if its word is there."""

    certain: bool


class _Reader:
    """Reads words and calls from what is not reasoning."""

    def __init__(self, schemas: Mapping[str, Mapping[str, Any]]) -> None:
        self.calls = 0
        self._schemas = schemas
        self._state = _State.WORDS
        self._buffer = ''
        self._at = 0
        self._words = Trimmed()
        self._pieces: list[Piece] = []
        self._complete: list[ToolCall] = []
        self._size = 0
        self._tool = ''
        self._parameter = ''
        self._arguments: dict[str, Any] = {}
        self._value: list[str] = []
        self._json = JsonEnd()

    def feed(self, text: str) -> list[Piece]:
        self._buffer, self._at = self._buffer[self._at :] + text, 0
        while self._at < len(self._buffer) and self._step():
            pass
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self, truncated: bool) -> list[Piece]:
        rest = self._buffer[self._at :]
        if self._state is _State.CLOSING and not rest and not truncated:
            self._emit_calls()
        elif self._state is not _State.WORDS:
            raise FormatError(f'{self._tool or "tool call"}: cut short {self._state.value}')
        elif rest:
            tag = _read_tag(rest, 0)
            if isinstance(tag, _Begun) and tag.certain:
                raise FormatError('tool call: cut short in its first tag')
            self._say(rest)
        return self._pieces

    def _step(self) -> bool:
        """Take something from the buffer; False if more text is needed first."""
        if self._state is _State.WORDS:
            return self._step_words()
        if self._state is _State.VALUE:
            return self._step_value()
        if self._state is _State.JSON:
            return self._step_json()
        return self._step_structure()

    def _step_words(self) -> bool:
        plain = self._before_bracket()
        if plain:
            self._say(self._take(plain))
            return True
        tag = _read_tag(self._buffer, self._at)
        if isinstance(tag, _Begun):
            return False
        if tag is None:
            self._say(self._take(1))
            return True
        self._size = 0
        self._words = Trimmed()
        self._take(tag.end - self._at)
        if tag.word == 'tool_call':
            self._state = _State.OPENED
        elif tag.word == 'function':
            self._begin_function(tag.name)
        elif tag.word == 'TOOLCALL':
            self._json = JsonEnd()
            self._state = _State.OPENED
        else:
            raise FormatError(f'<{tag.word}>: there is no tool call that it belongs to')
        return True

    def _step_structure(self) -> bool:
        """Take a tag, or the bracket of JSON, where nothing but white space may come before."""
        if self._buffer[self._at].isspace():
            self._take(1)
            return True
        if self._state is _State.OPENED and self._buffer[self._at] in '{[':
            self._json = JsonEnd()
            self._state = _State.JSON
            return True
        if self._buffer[self._at] != '<':
            raise self._misplaced(self._buffer[self._at])
        tag = _read_tag(self._buffer, self._at)
        if isinstance(tag, _Begun):
            return False
        if tag is None:
            raise self._misplaced('<')
        if self._state is _State.CLOSING and tag.word in ('tool_call', 'function', 'TOOLCALL'):
            self._emit_calls()  # the closing tag was left out
            return True
        self._take(tag.end - self._at)
        self._follow(tag)
        return True

    def _follow(self, tag: _Tag) -> None:
        state, word = self._state, tag.word
        if state is _State.OPENED and word == 'function':
            self._begin_function(tag.name)
        elif state is _State.BODY and word == 'parameter':
            self._begin_parameter(tag.name)
        elif state is _State.BODY and word == '/function':
            self._end_function()
        elif state is _State.BODY and word == '/tool_call':
            self._end_function()
            self._emit_calls()
        elif state is _State.CLOSING and word in ('/tool_call', '/TOOLCALL'):
            self._emit_calls()
        else:
            raise self._misplaced(f'<{word}>')

    def _step_value(self) -> bool:
        plain = self._before_bracket()
        if plain:
            self._value.append(self._take(plain))
            return True
        tag = _read_tag(self._buffer, self._at)
        if isinstance(tag, _Begun):
            return False
        if tag is None or tag.word in ('TOOLCALL', '/TOOLCALL'):
            self._value.append(self._take(1))
            return True
        self._end_parameter()
        if tag.word == '/parameter':
            self._take(tag.end - self._at)
        return True

    def _step_json(self) -> bool:
        chunk = self._take(min(len(self._buffer) - self._at, _CHUNK_CHARS))
        end = self._json.take(chunk)
        if end is None:
            return True
        self._at -= len(chunk) - end
        value = strict_json.loads(self._json.text)
        for item in value if isinstance(value, list) else [value]:
            self._complete.append(json_object.call_of(item, self._schemas, self._next_id()))
        self._state = _State.CLOSING
        return True

    def _begin_function(self, name: str) -> None:
        if name not in self._schemas:
            raise no_such_tool(name, self._schemas)
        self._tool, self._arguments = name, {}
        self._state = _State.BODY

    def _begin_parameter(self, name: str) -> None:
        if name not in self._schemas[self._tool].get('properties', {}):
            raise FormatError(f'{self._tool}.{name}: there is no such parameter')
        if name in self._arguments:
            raise FormatError(f'{self._tool}.{name}: is there twice')
        self._parameter, self._value = name, []
        self._state = _State.VALUE

    def _end_parameter(self) -> None:
        text = ''.join(self._value).removeprefix('\n').removesuffix('\n')
        schema = self._schemas[self._tool]['properties'][self._parameter]
        try:
            self._arguments[self._parameter] = read_value(text, schema)
        except FormatError as error:
            raise FormatError(f'{self._tool}.{self._parameter}: {error}') from None
        self._state = _State.BODY

    def _end_function(self) -> None:
        for name in self._schemas[self._tool].get('required', ()):
            if name not in self._arguments:
                raise FormatError(f'{self._tool}.{name}: is required and is not there')
        self._complete.append(ToolCall(self._next_id(), self._tool, self._arguments))
        self._state = _State.CLOSING

    def _emit_calls(self) -> None:
        self._pieces += self._complete
        self._complete = []
        self._tool = ''
        self._state = _State.WORDS

    def _next_id(self) -> str:
        self.calls += 1
        return f'call_{self.calls}'

    def _say(self, text: str) -> None:
        text = self._words.push(text)
        if text:
            self._pieces.append(Text(text))

    def _before_bracket(self) -> int:
        at = self._buffer.find('<', self._at)
        return (len(self._buffer) if at < 0 else at) - self._at

    def _take(self, count: int) -> str:
        text = self._buffer[self._at : self._at + count]
        self._at += count
        if self._state is not _State.WORDS:
            self._size += count
            if self._size > MAX_CALL_CHARS:
                raise FormatError(
                    f'{self._tool or "tool call"}: longer than {MAX_CALL_CHARS} characters'
                )
        return text

    def _misplaced(self, what: str) -> FormatError:
        return FormatError(f'{self._tool or "tool call"}: unexpected {what!r} {self._state.value}')


def _read_tag(text: str, at: int) -> _Tag | _Begun | None:
    """Read the tag that begins with the ``<`` at ``at``; spaces in it are tolerated.

    :return: None if it isn't one of the format's tags.
    """
    i = _skip_spaces(text, at + 1)
    slash = '/' if text.startswith('/', i) else ''
    i = _skip_spaces(text, i + len(slash))
    word = next((word for word in _WORDS if text.startswith(word, i)), None)
    if word is None:
        rest = text[i : i + _LONGEST_WORD]
        return _Begun(False) if any(word.startswith(rest) for word in _WORDS) else None
    i = _skip_spaces(text, i + len(word))
    if i == len(text):
        return _Begun(True)
    if slash or word not in _NAMED:
        return _Tag(slash + word, '', i + 1) if text[i] == '>' else None
    if text[i] != '=':
        return None
    name = text[i + 1 : i + 1 + _MAX_NAME_CHARS]
    end = name.find('>')
    name = name[:end] if end >= 0 else name
    if '\n' in name or '<' in name:
        return None
    if end >= 0:
        return _Tag(word, name.strip(), i + 1 + end + 1)
    return _Begun(True) if len(name) < _MAX_NAME_CHARS else None


def _skip_spaces(text: str, at: int) -> int:
    """Skip a few spaces, so that a tag has an end."""
    end = at + _MAX_SPACES
    while at < end and text.startswith(' ', at):
        at += 1
    return at
