"""What refusals are told as."""

from __future__ import annotations

import email.utils
import json
import time

import pytest

from nemotron_ros.engine.exchange import Refused
from nemotron_ros.engine.protocol import PromptTooLong
from nemotron_ros.engine.refusals import of_error, of_status, retry_after_s


def refused(status: int, body: object = '', **headers: str) -> Refused:
    text = body if isinstance(body, str) else json.dumps(body)
    return Refused(
        status, {name.replace('_', '-'): value for name, value in headers.items()}, text
    )


@pytest.mark.parametrize(
    ('error', 'told'),
    [
        ({'error': {'message': 'no\n such  field', 'type': 'x'}}, 'no such field'),
        ({'error': 'no such field'}, 'no such field'),
        ({'object': 'error', 'message': 'no such field', 'code': 400}, 'no such field'),
        ({'detail': [{'msg': 'Field required'}]}, '[{"msg": "Field required"}]'),
        ({'detail': 'no such field'}, 'no such field'),
        ('no such field', 'no such field'),
        ([1], '[1]'),
        ({'error': {'message': 'x' * 9999}}, 'x' * 400),
    ],
)
def test_however_the_error_is_written(error: object, told: str) -> None:
    assert str(of_status(refused(400, error))) == f'the server refused the request: {told}'


@pytest.mark.parametrize(
    'message',
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000",
        'EDGELLM_INPUT_TOO_LONG: 5000 > 4096',
        'Input length (5000 tokens) exceeds the maximum context window',
        'The sum of prompt length and max_tokens should not exceed max_seq_len',
    ],
)
def test_a_prompt_that_is_too_long(message: str) -> None:
    error = of_status(refused(400, {'error': {'message': message}}))
    assert isinstance(error, PromptTooLong)
    assert str(error).endswith(
        '; use fewer tools or examples, or start the server with a larger context'
    )


def test_the_context_of_llama_cpp() -> None:
    error = {'type': 'exceed_context_size_error', 'n_prompt_tokens': 5000, 'n_ctx': 4096}
    assert isinstance(of_error(error), PromptTooLong)
    assert str(of_error(error)) == (
        'the prompt has 5000 tokens and the context holds 4096; use fewer tools or examples, or '
        'a larger context_tokens'
    )


def test_when_to_ask_again() -> None:
    assert retry_after_s(refused(429, retry_after='x'), 0) == 0.1
    assert retry_after_s(refused(429, retry_after='7'), 0) == 7.0
    assert retry_after_s(refused(503, retry_after='7'), 3) == 7.0
    assert [retry_after_s(refused(503), attempt) for attempt in (0, 1, 2, 9)] == [0.1, 0.2, 0.4, 2]
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    wait_s = retry_after_s(refused(429, retry_after=date), 0)
    assert wait_s is not None
    assert 28 < wait_s <= 30
    past = email.utils.formatdate(0, usegmt=True)
    assert retry_after_s(refused(429, retry_after=past), 0) == 0.0


@pytest.mark.parametrize('value', ['', '-5', 'soon', '9' * 500, '1e9', 'nan', '٣'])
def test_an_odd_time_to_ask_again(value: str) -> None:
    assert retry_after_s(refused(429, retry_after=value), 0) == 0.1


@pytest.mark.parametrize('status', [400, 401, 404, 500, 502, 200, 307])
def test_nothing_else_is_asked_again(status: int) -> None:
    assert retry_after_s(refused(status, retry_after='1'), 0) is None
