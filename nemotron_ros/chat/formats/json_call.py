"""Tool calls as lines of JSON: ``{"name": "drive", "arguments": {"distance_m": 1.0}}``.

For models without a format of their own that their chat template writes. Tolerated
from a model that isn't held to the grammar: fences of Markdown,
``<tool_call>`` tags round a call, words before and after, ``parameters`` for
``arguments``, and arguments that are a string of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum

from nemotron_ros.chat.formats import gbnf, json_object, lark
from nemotron_ros.chat.formats.protocol import FormatError, Parser, Piece, Text
from nemotron_ros.chat.formats.reasoning import Trimmed
from nemotron_ros.chat.formats.strict_json import JsonEnd
from nemotron_ros.chat.formats.turn import TurnParser
from nemotron_ros.chat.messages import ToolCall, ToolSpec

_OPENER, _CLOSER, _FENCE, _KEY = '<tool_call>', '</tool_call>', '```', '"name"'
_CONTROL = r'\x00-\x08\x0b-\x1f\x7f'
_SOLID = rf'[^\s<`{{{_CONTROL}]'
_MAX_OPENING_CHARS = 200
_CHUNK_CHARS = 1024


class JsonCall:
    """One call a line, or words; a turn that begins with a brace is calls."""

    name = 'json_call'

    def print_calls(self, calls: Sequence[ToolCall]) -> str:
        """Write calls, one a line."""
        return '\n'.join(
            json.dumps({'name': call.name, 'arguments': dict(call.arguments)}, ensure_ascii=False)
            for call in calls
        )

    def grammar(self, tools: Sequence[ToolSpec], thinking: bool = False) -> str:
        """Return a Lark grammar: words, or calls that keep their tool's schema.

        When ``thinking``, the turn begins inside the reasoning.
        """
        lines = [lark.HEADER, f'start: {"thought " if thinking else ""}answer']
        if thinking:
            lines.append('thought[lazy]: /(?s:.*)<\\/think>\\s*/')
        if tools:
            lines.append('answer: calls | WORDS')
            lines.append(lark.calls_rule([_call_rule(tool) for tool in tools]))
        else:
            lines.append('answer: WORDS')
        # Nothing in words may be taken for a call.
        lines.append(rf'WORDS: /{_SOLID}([^<`\n{_CONTROL}]|\n[ \n]*{_SOLID}|< ?[0-9=.-])*/')
        return '\n'.join(lines) + '\n'

    def gbnf(self, tools: Sequence[ToolSpec], thinking: bool = False) -> str:
        """Return the grammar for llama.cpp, which holds less."""
        return gbnf.write_json(tools, thinking)

    def parser(self, tools: Sequence[ToolSpec], thinking: bool = False) -> Parser:
        """Return a parser for one turn.

        When ``thinking``, only what comes after the last ``</think>`` can be a
        call, so calls are returned by ``finish``.
        """
        names = tuple(tool.name for tool in tools)
        return TurnParser(lambda: _Reader(names), thinking, marks_in_calls=False)


def _call_rule(tool: ToolSpec) -> str:
    name = json.dumps(tool.name, ensure_ascii=False)
    begin = lark.literal(f'{{"name": {name}, "arguments": ')
    return f'{begin} {lark.json_rule(tool.parameters, tool.holds_ranges)} "}}"'


class _State(Enum):
    FRESH = 'at the beginning, or right after a call'
    LINE = 'at the beginning of a line of words'
    WORDS = 'in words'
    OPENED = 'after <tool_call>'
    JSON = 'in JSON'


class _Reader:
    """Reads words and calls from what is not reasoning."""

    def __init__(self, names: Sequence[str]) -> None:
        self.calls = 0
        self._names = names
        self._state = _State.FRESH
        self._buffer = ''
        self._at = 0
        self._words = Trimmed()
        self._pieces: list[Piece] = []
        self._json = JsonEnd()

    def feed(self, text: str) -> list[Piece]:
        self._buffer, self._at = self._buffer[self._at :] + text, 0
        while self._at < len(self._buffer) and self._step():
            pass
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self, truncated: bool) -> list[Piece]:
        rest = self._buffer[self._at :]
        if self._state in (_State.OPENED, _State.JSON) or '{' in rest:
            raise FormatError('tool call: cut short')
        if not (self._state is _State.FRESH and self.calls):  # else it closed the last call
            self._say(rest)
        return self._pieces

    def _step(self) -> bool:
        """Take something from the buffer; False if more text is needed first."""
        if self._state is _State.JSON:
            return self._step_json()
        if self._state is _State.WORDS:
            return self._step_words()
        if self._buffer[self._at].isspace():
            blank = self._take(1)
            if self._state is _State.LINE:
                self._say(blank)
            return True
        if self._state is _State.LINE:
            return self._step_line()
        if self._buffer[self._at] == '{':
            self._begin_json()
            return True
        if self._state is _State.OPENED:
            raise FormatError(f'<tool_call>: expected "{{", got {self._buffer[self._at]!r}')
        return self._step_fresh()

    def _step_fresh(self) -> bool:
        """Skip what closes a call."""
        if self.calls:
            rest = self._buffer[self._at : self._at + len(_CLOSER)]
            if _CLOSER.startswith(rest):
                if rest == _CLOSER:
                    self._take(len(_CLOSER))
                return rest == _CLOSER
            if rest.startswith(_FENCE):
                brace = _opening(self._buffer, self._at)
                if brace is None:
                    self._take(len(_FENCE))
                    return True
                if brace < 0:
                    return False
            elif _FENCE.startswith(rest):
                return False
        self._state = _State.LINE
        return True

    def _step_line(self) -> bool:
        """See whether a call begins on a line of its own, perhaps in a fence."""
        brace = _opening(self._buffer, self._at)
        if brace is None:
            self._state = _State.WORDS
        elif brace < 0:
            return False
        else:
            self._at = brace
            self._begin_json()
        return True

    def _step_words(self) -> bool:
        ends = [self._buffer.find(mark, self._at) for mark in '\n<']
        at = min((end for end in ends if end >= 0), default=len(self._buffer))
        self._say(self._take(at - self._at))
        rest = self._buffer[at : at + len(_OPENER)]
        if rest.startswith('\n'):
            self._say(self._take(1))
            self._state = _State.LINE
        elif rest == _OPENER:
            self._take(len(_OPENER))
            self._state = _State.OPENED
        elif rest and _OPENER.startswith(rest):
            return False
        elif rest:
            self._say(self._take(1))
        return True

    def _step_json(self) -> bool:
        chunk = self._take(min(len(self._buffer) - self._at, _CHUNK_CHARS))
        end = self._json.take(chunk)
        if end is None:
            return True
        self._at -= len(chunk) - end
        self.calls += 1
        self._pieces.append(
            json_object.read_call(self._json.text, self._names, f'call_{self.calls}')
        )
        self._state = _State.FRESH
        return True

    def _begin_json(self) -> None:
        self._words = Trimmed()
        self._json = JsonEnd()
        self._state = _State.JSON

    def _say(self, text: str) -> None:
        text = self._words.push(text)
        if text:
            self._pieces.append(Text(text))

    def _take(self, count: int) -> str:
        text = self._buffer[self._at : self._at + count]
        self._at += count
        return text


def _opening(text: str, at: int) -> int | None:
    """Look for a call that begins at ``at``, behind a fence or not.

    :return: where its brace is, None if there is none, -1 if that can't be said yet.
    """
    start = at
    if text.startswith(_FENCE, at):
        at += len(_FENCE)
        while at < len(text) and text[at].isalnum():
            at += 1
        at = _skip_blank(text, at)
    elif text.startswith('`', at) and _FENCE.startswith(text[at:]):
        return -1
    key = _skip_blank(text, at + 1)
    rest = text[key : key + len(_KEY)]
    if text[at : at + 1] in ('{', '') and (at == len(text) or _KEY.startswith(rest)):
        if rest == _KEY:
            return at
        return -1 if len(text) - start <= _MAX_OPENING_CHARS else None
    return None


def _skip_blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at
