"""The tiny model: its template writes what Nemotron 3's does, and its file is small and stable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jinja2
import pytest
import tiny_nemotron
import xllamacpp

TOOLS = [
    {
        'type': 'function',
        'function': {
            'name': 'navigate_to',
            'description': 'Drive the base to a named place.',
            'parameters': {
                'type': 'object',
                'properties': {
                    'place': {
                        'type': 'string',
                        'description': 'Place name',
                        'enum': ['kitchen', 'dock'],
                    },
                    'speed': {
                        'type': 'number',
                        'description': 'm/s',
                        'minimum': 0.1,
                        'maximum': 1.5,
                    },
                    'waypoints': {'type': 'array', 'items': {'type': 'number'}},
                },
                'additionalProperties': False,
                'required': ['place'],
            },
        },
    }
]
ARGUMENTS = {'place': 'kitchen', 'speed': 0.3, 'waypoints': [1, 2], 'dry': True}
RENDERED = Path(__file__).with_name('rendered.txt').read_text()


def chat(arguments: object) -> list[dict[str, Any]]:
    call = {
        'id': 'call_1',
        'type': 'function',
        'function': {'name': 'navigate_to', 'arguments': arguments},
    }
    return [
        {'role': 'system', 'content': 'You control a robot.'},
        {'role': 'user', 'content': 'go to the kitchen slowly'},
        {'role': 'assistant', 'content': '', 'tool_calls': [call]},
        {'role': 'tool', 'content': '{"status":"succeeded"}'},
    ]


LONGER = [
    {'role': 'tool', 'content': 'one more'},
    {'role': 'assistant', 'content': 'Done.'},
    {'role': 'user', 'content': 'And now?'},
]


def render(messages: list[dict[str, Any]], trim: bool = True, **names: object) -> str:
    environment = jinja2.Environment(trim_blocks=trim, lstrip_blocks=trim)
    environment.filters['tojson'] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(tiny_nemotron.TEMPLATE.read_text())
    return template.render(messages=messages, add_generation_prompt=True, **names)


@pytest.mark.parametrize('trim', [True, False])
def test_template_writes_what_the_model_reads(trim: bool) -> None:
    assert render(chat(ARGUMENTS), trim, tools=TOOLS) == RENDERED


def test_thinking_off() -> None:
    text = render(chat(ARGUMENTS), tools=TOOLS, enable_thinking=False)
    assert text.endswith('<|im_end|>\n<|im_start|>assistant\n<think></think>')


def test_results_share_a_turn() -> None:
    text = render([*chat(ARGUMENTS), *LONGER])
    assert (
        '<|im_start|>user\n<tool_response>\n{"status":"succeeded"}\n</tool_response>\n'
        '<tool_response>\none more\n</tool_response>\n<|im_end|>\n'
        '<|im_start|>assistant\n<think></think>Done.<|im_end|>\n'
    ) in text


def test_there_is_always_a_system_turn() -> None:
    text = render([{'role': 'user', 'content': 'Hi'}])
    assert text.startswith('<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n')


@pytest.mark.parametrize('thinking', [True, False])
@pytest.mark.parametrize('tools', [TOOLS, None])
def test_engine_renders_alike(
    tiny_server: xllamacpp.Server, thinking: bool, tools: list[dict[str, Any]] | None
) -> None:
    names = {'enable_thinking': thinking, **({'tools': tools} if tools else {})}
    answer = httpx.post(
        f'{tiny_server.listening_address}/apply-template',
        json={
            'messages': [*chat(json.dumps(ARGUMENTS)), *LONGER],
            'chat_template_kwargs': names,
        },
    ).json()
    assert answer['prompt'] == render([*chat(ARGUMENTS), *LONGER], **names)


def test_file_is_small_and_the_same_each_time(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ('a.gguf', 'b.gguf', 'c.gguf')]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        tiny_nemotron.write(file, seed)
    first, again, other = (file.read_bytes() for file in files)
    assert first == again != other
    assert len(first) < 1_500_000


def test_it_writes_ascii(tiny_server: xllamacpp.Server) -> None:
    answer = tiny_server.handle_completions(
        {'prompt': 'Hello', 'max_tokens': 300, 'temperature': 2.0, 'seed': 1, 'ignore_eos': True}
    )
    assert answer['choices'][0]['text'].isascii()
    assert answer['usage']['completion_tokens'] == 300
