"""What a server that refuses means, as one clear message."""

from __future__ import annotations

import email.utils
import json
import re
import time
from contextlib import suppress
from typing import Any

from nemotron_ros.engine.exchange import Refused
from nemotron_ros.engine.protocol import EngineError, PromptTooLong

MAX_TEXT = 400
_BUSY = (429, 503)
_TOO_LONG = re.compile(
    r'exceed_context_size|maximum context|context (length|size|window)|INPUT_TOO_LONG|'
    r'max_model_len|max_seq_len|too long',
    re.IGNORECASE,
)


def of_status(refused: Refused) -> EngineError:
    """Say why the server answered with something other than a stream."""
    status, text = refused.status, _text(error_in(refused.body))
    if 300 <= status < 400:
        where = refused.headers.get('location', 'elsewhere')
        return EngineError(
            f'url: the server sends on to {where[:MAX_TEXT]}; that is not followed: name the '
            'place itself'
        )
    if status == 200 or _is_markup(refused.body):
        kind = refused.headers.get('content-type', 'something without a content type')
        return EngineError(
            f'url: expected the stream of an OpenAI-compatible server, got status {status} and '
            f'{kind}; is it the right address and port?'
        )
    if status in (401, 403):
        return EngineError(f'api_key_env: the server refuses the key (status {status}): {text}')
    if status == 404:
        return EngineError(f'url or model: the server does not have it (status 404): {text}')
    if status == 429:
        return EngineError(f'the server has too much to do (status 429): {text}')
    if status >= 500:
        return EngineError(f'the server failed (status {status}): {text}')
    return of_error(error_in(refused.body))


def of_error(error: Any) -> EngineError:
    """Say what an error means that the server sent as JSON, or as a text."""
    kind = error.get('type', '') if isinstance(error, dict) else ''
    text = _text(error)
    if kind == 'exceed_context_size_error' and isinstance(error, dict):
        return PromptTooLong(
            f'the prompt has {error.get("n_prompt_tokens")} tokens and the context holds '
            f'{error.get("n_ctx")}; use fewer tools or examples, or a larger context_tokens'
        )
    told = f'the server refused the request: {text}'
    if _TOO_LONG.search(f'{kind} {text}'):
        return PromptTooLong(
            f'{told}; use fewer tools or examples, or start the server with a larger context'
        )
    return EngineError(told)


def retry_after_s(refused: Refused, attempt: int) -> float | None:
    """Return when to ask a server again that is busy or loading; None: it is neither.

    :param attempt: how often it has been asked before.
    """
    if refused.status not in _BUSY:
        return None
    asked_for = refused.headers.get('retry-after', '')
    if re.fullmatch(r'[0-9]{1,9}', asked_for):
        return float(asked_for)
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(asked_for).timestamp() - time.time())
    return min(2.0, 0.1 * 2.0**attempt)


def error_in(body: str) -> Any:
    """Return what a refusal's body says: its error object, or its text."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if isinstance(data, dict):
        for key in ('error', 'detail', 'message'):
            if data.get(key):
                return data[key]
    return data


def _text(error: Any) -> str:
    if isinstance(error, dict) and error.get('message'):
        error = error['message']
    text = error if isinstance(error, str) else json.dumps(error)
    return ' '.join(text.split())[:MAX_TEXT]


def _is_markup(body: str) -> bool:
    return body.lstrip().startswith('<')
