"""How OpenAI-compatible servers differ: which fields a request may have, and what they mean.

A dialect is a row of ``DIALECTS``. All of them are streamed from ``/v1/chat/completions``.
What a row says of a server was read in that server's own source or documents, at the
version beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nemotron_ros.chat.formats import structural_tag
from nemotron_ros.chat.formats.protocol import Format
from nemotron_ros.chat.prompt import render
from nemotron_ros.engine.protocol import ChatRequest, EngineError

MAX_GUIDE_BYTES = 1 << 17
"""Edge-LLM takes no longer guide."""

Fields = dict[str, Any]


def _no_guide(_request: ChatRequest) -> Fields:
    return {}


def _response_format(request: ChatRequest) -> Fields:
    return {'response_format': structural_tag.write(request.tools)}


def _guided_decoding(request: ChatRequest) -> Fields:
    tag = structural_tag.write(request.tools)
    size = len(json.dumps(tag))
    if size > MAX_GUIDE_BYTES:
        raise EngineError(
            f'tools: what holds the model to their schemas takes {size} bytes, and the server '
            f'takes {MAX_GUIDE_BYTES}; use fewer or simpler tools'
        )
    return {'guided_decoding': {'structural_tag': tag}}


def gbnf(form: Format, _end: str, request: ChatRequest) -> str:
    """Return the grammar of a turn for any build of llama.cpp."""
    return form.gbnf(request.tools, request.thinking)


def lark(form: Format, end: str, request: ChatRequest) -> str:
    """Return the grammar of a turn for a build with LLGuidance; any other ends at it.

    It is let end with the model's own end of turn: LLGuidance lets it end with one that the
    server names, which is another token in some models. Those could not stop calling tools.
    """
    grammar = form.grammar(request.tools, request.thinking)
    if not re.fullmatch(r'<[^<>\s]+>', end):
        return grammar
    head, start, answer = grammar.partition('\nstart: ')
    first, _, rest = answer.partition('\n')
    return f'{head}{start}({first}) {end}?\n{rest}'


def _in_template(thinking: bool) -> Fields:
    return {'chat_template_kwargs': {'enable_thinking': thinking}}


def _in_template_and_apart(thinking: bool) -> Fields:
    return {**_in_template(thinking), 'separate_reasoning': thinking}


def _by_effort(thinking: bool) -> Fields:
    return {'reasoning_effort': 'medium' if thinking else 'none'}


def _thinking_token_budget(tokens: int) -> Fields:
    return {'thinking_token_budget': tokens}


def _nvext_budget(tokens: int) -> Fields:
    return {'nvext': {'max_thinking_tokens': tokens}}


@dataclass(frozen=True)
class Dialect:
    """What is particular to one kind of server.

    :param thinking: the fields that switch thinking; None if it can't be switched, which
        leaves it to the model.
    :param guide: the fields that hold the model to the tools' schemas, for requests with
        tools. What they leave out is in :mod:`nemotron_ros.chat.formats.structural_tag`;
        the validator checks it.
    :param budget: the fields that bound the reasoning alone; None if it has no such bound.
    :param always: fields of every request.
    :param max_tokens: the name of that field.
    :param grammar: returns the grammar of the model's own format. The tools then go to the
        chat template by ``chat_template_kwargs``, and the server reads no calls.
    :param ready_route: answers with status 200 once the server serves.
    """

    name: str
    thinking: Callable[[bool], Fields] | None = None
    guide: Callable[[ChatRequest], Fields] = _no_guide
    budget: Callable[[int], Fields] | None = None
    always: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: str = 'max_tokens'
    grammar: Callable[[Format, str, ChatRequest], str] | None = None
    ready_route: str = '/health'

    @property
    def renders_tools(self) -> bool:
        """Whether the tools go to the model by its template, and the server reads no calls."""
        return self.grammar is not None


DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        # tensorrt-edgellm 0.11.0: a field that it does not know is an error (400). Its own
        # parser of calls needs --enable-auto-tool-choice; it reads what the guide has held.
        Dialect(
            'edge_llm',
            thinking=_in_template,
            guide=_guided_decoding,
            ready_route='/health/ready',
        ),
        # TensorRT-LLM 1.2 and later: needs guided_decoding_backend in its configuration;
        # without it the guide is not heeded.
        Dialect(
            'trtllm_serve',
            thinking=_in_template,
            guide=_response_format,
            budget=_thinking_token_budget,
        ),
        # vLLM 0.11 and later. Its reasoning parsers look at the request alone, not at what
        # the server was started with: thinking is said with each.
        Dialect(
            'vllm',
            thinking=_in_template,
            guide=_response_format,
            budget=_thinking_token_budget,
        ),
        # llama.cpp: its own route for tools does not hold enumerations in this format. Given
        # to the template, the tools leave our grammar in place, and the prompt stays read
        # from one command to the next, in hybrid models too.
        Dialect(
            'llama_server',
            always={'reasoning_format': 'none', 'cache_prompt': True, 'return_progress': True},
            grammar=gbnf,
        ),
        # SGLang 0.5: with a reasoning parser and thinking off, answers would arrive as
        # reasoning, if it were set apart.
        Dialect('sglang', thinking=_in_template_and_apart, guide=_response_format),
        # NIM for language models: vLLM or TensorRT-LLM behind NVIDIA's own extensions.
        Dialect(
            'nim',
            thinking=_in_template,
            budget=_nvext_budget,
            ready_route='/v1/health/ready',
        ),
        # Ollama 0.12 and later: has neither a grammar nor template arguments on this route.
        Dialect('ollama', thinking=_by_effort, ready_route='/'),
        # Any other: only what the original has.
        Dialect('openai', max_tokens='max_completion_tokens', ready_route='/v1/models'),
    )
}


def body(
    dialect: Dialect, model: str, form: Format, end: str, request: ChatRequest
) -> dict[str, Any]:
    """Return the request as the server takes it.

    :param form: the format in which the model writes calls.
    :param end: the model's own end of turn, where it is known.
    :raise EngineError: if the server can't honour a field of it.
    """
    prompt = render(form, request.tools, request.messages, request.thinking)
    fields: dict[str, Any] = {
        'messages': list(prompt.messages),
        dialect.max_tokens: request.max_tokens,
        'temperature': request.temperature,
        'seed': request.seed,
        'stream': True,
        'stream_options': {'include_usage': True},
        **dialect.always,
        **_budget(dialect, request),
    }
    if model:
        fields['model'] = model
    if dialect.grammar is not None:
        fields['chat_template_kwargs'] = prompt.template_kwargs
        if request.constrained:
            fields['grammar'] = dialect.grammar(form, end, request)
        return fields
    if dialect.thinking is not None:
        fields |= dialect.thinking(request.thinking)
    elif request.thinking:
        raise EngineError(
            f'thinking: servers of the dialect {dialect.name} have no switch for it; leave it '
            'off, or choose the dialect of the server'
        )
    if request.tools:
        fields |= {'tools': prompt.template_kwargs['tools'], 'tool_choice': 'auto'}
        if request.constrained:
            fields |= dialect.guide(request)
    return fields


def _budget(dialect: Dialect, request: ChatRequest) -> Fields:
    if not request.thinking or not request.max_thinking_tokens:
        return {}
    if dialect.budget is None:
        raise EngineError(
            f'max_thinking_tokens: servers of the dialect {dialect.name} have no such bound; '
            'leave it 0, then max_tokens bounds the reasoning and the answer together'
        )
    return dialect.budget(request.max_thinking_tokens)
