"""What a server tells of the model that it serves."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.formats.protocol import Format
from nemotron_ros.chat.prompt import format_for
from nemotron_ros.engine.exchange import Answer
from nemotron_ros.engine.protocol import EngineError


@dataclass(frozen=True)
class Served:
    """The model, the format in which it writes calls, its end of turn where that is known."""

    model: str
    context_tokens: int
    form: Format
    end: str = ''


def listed(answer: Answer, where: str) -> list[dict[str, Any]]:
    """Return the entries of a list of models.

    :raise EngineError: if it isn't one.
    """
    data = _json(answer, where)
    models = data.get('data') if isinstance(data, dict) else None
    if not isinstance(models, list) or not all(
        isinstance(model, dict) and isinstance(model.get('id'), str) for model in models
    ):
        raise EngineError(
            f'url: {where} does not list models as OpenAI does; it is a server of another API'
        )
    return models


def choose(models: list[dict[str, Any]], name: str, context_tokens: int) -> Served:
    """Return the model asked for.

    :param name: empty if it is the only one.
    :param context_tokens: taken where the server does not tell.
    :raise EngineError: naming those that there are.
    """
    there = ', '.join(model['id'] for model in models[:10]) or 'none'
    wanted = (name, f'{name}:latest')  # as Ollama completes a name
    fitting = [model for model in models if not name or model['id'] in wanted]
    if not name and len(fitting) != 1:
        raise EngineError(f'model: name one of those that the server serves: {there}')
    if not fitting:
        raise EngineError(f'model: the server does not serve {name!r}; it serves {there}')
    told = fitting[0].get('max_model_len')
    return Served(
        fitting[0]['id'], told if isinstance(told, int) else context_tokens, NemotronXml()
    )


def with_properties(served: Served, answer: Answer, where: str) -> Served:
    """Add what llama.cpp's server tells of itself.

    :raise EngineError: if it is another server.
    """
    properties = _json(answer, where)
    try:
        return replace(
            served,
            context_tokens=int(properties['default_generation_settings']['n_ctx']),
            form=format_for(str(properties['chat_template'])),
            end=str(properties['eos_token']),
        )
    except (KeyError, TypeError, ValueError):
        raise EngineError(
            f"url: {where} does not tell what llama.cpp's server tells; choose the engine that "
            'fits the server'
        ) from None


def _json(answer: Answer, where: str) -> Any:
    kind = answer.headers.get('content-type', 'something without a content type')
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise EngineError(
            f'url: {where} answers with {kind}, not with JSON; expected an '
            'OpenAI-compatible server'
        ) from None
