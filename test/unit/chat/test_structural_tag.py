"""The structural tag: what it holds a model to, and what it leaves to the validator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from nemotron_ros.chat.formats import structural_tag
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.messages import ToolCall, ToolSpec

DRIVE = ToolSpec(
    'drive',
    'Drive.',
    {
        'type': 'object',
        'properties': {
            'direction': {'enum': ['forward', 'backward']},
            'distance_m': {'type': 'number', 'exclusiveMinimum': 0, 'maximum': 2.5},
            'times': {'type': 'integer', 'minimum': 1, 'multipleOf': 1},
        },
        'required': ['direction', 'distance_m'],
        'additionalProperties': False,
    },
)
SAY = ToolSpec(
    'say',
    'Say.',
    {'type': 'object', 'properties': {'text': {'type': 'string', 'maxLength': 12}}},
)
STOP = ToolSpec('stop', 'Stop.', {'type': 'object', 'properties': {}})
TOOLS = (DRIVE, SAY, STOP)


def test_keywords_that_servers_refuse_are_left_out() -> None:
    schema = {
        'type': 'object',
        'properties': {
            # Names of parameters are no keywords.
            'minimum': {'type': 'number', 'minimum': 1, 'maximum': 2, 'multipleOf': 0.5},
            'pattern': {'type': 'string', 'pattern': '^a', 'format': 'date', 'maxLength': 5},
            'list': {
                'type': 'array',
                'uniqueItems': True,
                'contains': {},
                'items': {'minimum': 1},
            },
            'either': {'oneOf': [{'type': 'null'}, {'type': 'integer', 'exclusiveMaximum': 3}]},
            'both': {'allOf': [{'type': 'string'}, {'maxLength': 3, 'format': 'x'}]},
        },
        'patternProperties': {'^x': {}},
        'additionalProperties': {'type': 'integer', 'minimum': 0},
        'title': 'T',
        'default': {},
    }
    assert structural_tag.lower(schema) == {
        'type': 'object',
        'properties': {
            'minimum': {'type': 'number'},
            'pattern': {'type': 'string', 'maxLength': 5},
            'list': {'type': 'array', 'items': {}},
            'either': {'anyOf': [{'type': 'null'}, {'type': 'integer'}]},
            'both': {'type': 'string', 'maxLength': 3},
        },
        'additionalProperties': {'type': 'integer'},
    }


def test_what_it_says() -> None:
    tag = structural_tag.write(TOOLS)
    json.dumps(tag)
    assert tag['format']['triggers'] == ['<tool_call>\n<function=']
    drive, say, stop = tag['format']['tags']
    assert drive['begin'] == '<tool_call>\n<function=drive>\n'
    assert drive['end'] == '\n</function>\n</tool_call>'
    assert drive['content']['json_schema']['properties']['distance_m'] == {'type': 'number'}
    assert say['content']['json_schema']['additionalProperties'] is False
    assert stop['content'] == {'type': 'const_string', 'value': '</function>\n'}


def test_a_range_is_passed_on_where_the_tool_asks_for_it() -> None:
    held = structural_tag.write([replace(DRIVE, holds_ranges=True)])['format']['tags'][0]
    assert held['content']['json_schema']['properties']['distance_m'] == {
        'type': 'number',
        'exclusiveMinimum': 0,
        'maximum': 2.5,
    }


def call(name: str, **arguments: object) -> str:
    return NemotronXml().print_calls([ToolCall('', name, arguments)])


@pytest.mark.parametrize(
    ('text', 'taken'),
    [
        ('Hello, you.', True),
        (call('stop'), True),
        (call('stop') + '\n' + call('drive', direction='backward', distance_m=1), True),
        ('I will. ' + call('drive', direction='forward', distance_m=1.5, times=3), True),
        (call('say', text='{"a": 1}'), True),
        ('<tool_call>\n{"name": "another format"}', True),
        # It has to be seen to be refused, and told.
        (call('drive', direction='forward', distance_m=400), True),
        (call('drive', direction='up', distance_m=1.5), False),
        (call('drive', direction='forward'), False),
        (call('drive', direction='forward', distance_m='far'), False),
        (call('drive', direction='forward', distance_m=1, times=1.5), False),
        (call('stop', now=True), False),
        (call('say', text='x' * 13), False),
        (call('self_destruct'), False),
    ],
)
def test_what_xgrammar_makes_of_it(text: str, taken: bool) -> None:
    assert accepts(TOOLS, text) is taken


@pytest.mark.parametrize(
    ('distance_m', 'taken'), [(2.5, True), (0.25, True), (400, False), (2.6, False), (-1, False)]
)
def test_xgrammar_holds_a_range_where_the_tool_asks_for_it(distance_m: float, taken: bool) -> None:
    text = call('drive', direction='forward', distance_m=distance_m)
    assert accepts([replace(DRIVE, holds_ranges=True)], text) is taken


def accepts(tools: Sequence[ToolSpec], text: str) -> bool:
    """Whether XGrammar lets a model write the text."""
    xgrammar = pytest.importorskip('xgrammar', reason='XGrammar, which servers have, is not here')
    from xgrammar.testing import _is_grammar_accept_string

    grammar = xgrammar.Grammar.from_structural_tag(structural_tag.write(tools))
    return bool(_is_grammar_accept_string(grammar, text))
