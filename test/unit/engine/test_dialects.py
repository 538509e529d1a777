"""What each dialect asks for, field by field."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec
from nemotron_ros.engine.dialects import DIALECTS, MAX_GUIDE_BYTES, body, lark
from nemotron_ros.engine.protocol import ChatRequest, EngineError

PARAMETERS = {
    'type': 'object',
    'properties': {'angle_deg': {'type': 'number', 'minimum': 1, 'maximum': 180}},
    'required': ['angle_deg'],
}
TURN = ToolSpec('turn', 'Turn.', PARAMETERS)
MESSAGES = (
    Message('system', 'You control a robot.'),
    Message('user', 'turn'),
    Message('assistant', '', (ToolCall('call_1', 'turn', {'angle_deg': 90}),)),
    Message('tool', '{"status": "succeeded"}', (), 'call_1', 'turn'),
    Message('user', 'again'),
)
REQUEST = ChatRequest(MESSAGES, (TURN,), max_tokens=77, temperature=0.5, seed=3)
WORDS_ONLY = ChatRequest(MESSAGES, max_tokens=77)
THINKING = ChatRequest(MESSAGES, (TURN,), thinking=True)
COMMON = {'messages', 'model', 'temperature', 'seed', 'stream', 'stream_options'}


def fields(name: str, request: ChatRequest = REQUEST) -> dict[str, Any]:
    return body(DIALECTS[name], 'm', NemotronXml(), '<|im_end|>', request)


@pytest.mark.parametrize('name', DIALECTS)
def test_what_all_of_them_ask_for(name: str) -> None:
    asked = fields(name)
    json.dumps(asked)
    assert asked['model'] == 'm'
    assert asked['stream'] is True
    assert asked['stream_options'] == {'include_usage': True}
    assert (asked['temperature'], asked['seed']) == (0.5, 3)
    assert asked.get('max_tokens', asked.get('max_completion_tokens')) == 77
    assert [message['role'] for message in asked['messages']] == [m.role for m in MESSAGES]
    call = asked['messages'][2]['tool_calls'][0]
    assert json.loads(call['function']['arguments']) == {'angle_deg': 90}
    assert asked['messages'][3]['tool_call_id'] == call['id'] == 'call_1'


@pytest.mark.parametrize('name', DIALECTS)
def test_the_model_sees_the_whole_schema(name: str) -> None:
    asked = fields(name)
    tools = asked['chat_template_kwargs']['tools'] if 'tools' not in asked else asked['tools']
    assert [tool['function']['parameters'] for tool in tools] == [PARAMETERS]


@pytest.mark.parametrize('name', DIALECTS)
def test_no_range_is_in_what_holds_the_model(name: str) -> None:
    asked = fields(name)
    asked.pop('tools', None)
    asked.get('chat_template_kwargs', {}).pop('tools', None)
    assert '180' not in json.dumps(asked)


@pytest.mark.parametrize('name', DIALECTS)
def test_without_tools_there_is_nothing_of_them(name: str) -> None:
    asked = fields(name, WORDS_ONLY)
    assert not {'tools', 'tool_choice', 'response_format', 'guided_decoding'} & set(asked)
    assert 'tools' not in asked.get('chat_template_kwargs', {})


@pytest.mark.parametrize(
    ('name', 'more'),
    [
        ('edge_llm', {'max_tokens', 'tools', 'tool_choice', 'chat_template_kwargs'}
         | {'guided_decoding'}),
        ('trtllm_serve', {'max_tokens', 'tools', 'tool_choice', 'chat_template_kwargs'}
         | {'response_format'}),
        ('vllm', {'max_tokens', 'tools', 'tool_choice', 'chat_template_kwargs'}
         | {'response_format'}),
        ('llama_server', {'max_tokens', 'chat_template_kwargs', 'grammar', 'reasoning_format'}
         | {'cache_prompt', 'return_progress'}),
        ('sglang', {'max_tokens', 'tools', 'tool_choice', 'chat_template_kwargs'}
         | {'response_format', 'separate_reasoning'}),
        ('nim', {'max_tokens', 'tools', 'tool_choice', 'chat_template_kwargs'}),
        ('ollama', {'max_tokens', 'tools', 'tool_choice', 'reasoning_effort'}),
        ('openai', {'max_completion_tokens', 'tools', 'tool_choice'}),
    ],
)  # fmt: skip
def test_the_fields_of_a_request(name: str, more: set[str]) -> None:
    assert set(fields(name)) == COMMON | more


@pytest.mark.parametrize('name', sorted(set(DIALECTS) - {'openai', 'ollama'}))
def test_thinking_is_said_with_each_request(name: str) -> None:
    assert fields(name)['chat_template_kwargs']['enable_thinking'] is False
    assert fields(name, THINKING)['chat_template_kwargs']['enable_thinking'] is True


def test_sglang_sets_apart_what_is_there() -> None:
    """Without any reasoning its parser would take the answer for it."""
    assert fields('sglang')['separate_reasoning'] is False
    assert fields('sglang', THINKING)['separate_reasoning'] is True


def test_thinking_by_effort() -> None:
    assert fields('ollama')['reasoning_effort'] == 'none'
    assert fields('ollama', THINKING)['reasoning_effort'] == 'medium'


def test_thinking_without_a_switch() -> None:
    with pytest.raises(EngineError, match=r'^thinking: .*openai have no switch for it'):
        fields('openai', THINKING)


BUDGETS = {
    'vllm': {'thinking_token_budget': 50},
    'trtllm_serve': {'thinking_token_budget': 50},
    'nim': {'nvext': {'max_thinking_tokens': 50}},
}


@pytest.mark.parametrize('name', sorted(set(DIALECTS) - {'openai'}))
def test_a_bound_of_the_reasoning(name: str) -> None:
    bounded = replace(THINKING, max_thinking_tokens=50)
    if name in BUDGETS:
        assert fields(name, bounded) == {**fields(name, THINKING), **BUDGETS[name]}
    else:
        with pytest.raises(EngineError, match=f'^max_thinking_tokens: .* {name} have no such'):
            fields(name, bounded)
    quiet = replace(REQUEST, max_thinking_tokens=50)
    assert fields(name, quiet) == fields(name), 'it bounds nothing'


def test_edge_llm_takes_no_longer_guide() -> None:
    guide = fields('edge_llm')['guided_decoding']['structural_tag']
    assert guide['format']['tags'][0]['content']['json_schema']['required'] == ['angle_deg']
    tools = tuple(ToolSpec(f'turn_{n}', 'Turn.', PARAMETERS) for n in range(1000))
    with pytest.raises(EngineError, match=f'^tools: .* the server takes {MAX_GUIDE_BYTES}; use'):
        fields('edge_llm', ChatRequest(MESSAGES, tools))


@pytest.mark.parametrize('form', [NemotronXml(), JsonCall()])
def test_no_llama_server_is_sent_what_ends_it(form: NemotronXml | JsonCall) -> None:
    """A build without LLGuidance aborts at a grammar that begins so."""
    for request in (REQUEST, WORDS_ONLY, THINKING):
        grammar = body(DIALECTS['llama_server'], 'm', form, '<|im_end|>', request)['grammar']
        assert grammar.startswith('root ::= ')
        assert '%llguidance' not in grammar


@pytest.mark.parametrize('name', DIALECTS)
def test_a_model_can_be_let_go_for_a_measurement(name: str) -> None:
    sent, free = fields(name), fields(name, replace(REQUEST, constrained=False))
    assert free.keys() & {'grammar', 'guided_decoding', 'response_format'} == set()
    assert free == {key: value for key, value in sent.items() if key in free}


def test_a_lark_grammar_can_end_with_the_model_s_own_end() -> None:
    for end, is_there in (('<|im_end|>', True), ('</s>', True), ('', False), ('END', False)):
        grammar = lark(NemotronXml(), end, REQUEST)
        assert (f') {end}?\n' in grammar) is is_there
