"""The embedded engine: llama.cpp from the ``xllamacpp`` wheel, in a child process."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats.protocol import Format
from nemotron_ros.chat.messages import Message
from nemotron_ros.chat.prompt import format_for
from nemotron_ros.engine import refusals, saved_prompt
from nemotron_ros.engine.answer import deltas
from nemotron_ros.engine.dialects import DIALECTS, body, lark
from nemotron_ros.engine.exchange import Bounds, Refused, RefusedInStream, chunks
from nemotron_ros.engine.gguf_file import check
from nemotron_ros.engine.protocol import (
    ChatRequest,
    Delta,
    EngineDied,
    EngineError,
    EngineState,
    ModelInfo,
    Progress,
)
from nemotron_ros.engine.server_process import ServerProcess, private_folder

# The wheel has LLGuidance.
DIALECT = replace(DIALECTS['llama_server'], grammar=lark)
CHAT = '/v1/chat/completions'
COMPLETION = '/v1/completions'
CONNECT_S = 5.0
IDLE_S = 600.0
BOUNDS = Bounds(IDLE_S)
WARM_S = 600.0


class LlamaCppEngine:
    """Serves a GGUF file.

    The child reads prompts in steps of ``batch_tokens``, so that a cancel is
    noticed within one step; it keeps what it has read of the last prompt.

    :param threads: 0 leaves one core to the rest of the robot while words are generated.
    :param on_state: told when the server becomes ready, dies or fails, from any thread.
    """

    def __init__(
        self,
        model_path: Path,
        context_tokens: int = 4096,
        threads: int = 0,
        batch_tokens: int = 128,
        start_timeout_s: float = 300.0,
        on_state: Callable[[EngineState, str], None] = lambda _state, _text: None,
    ) -> None:
        self._path = Path(model_path)
        self._context_tokens = context_tokens
        cores = os.cpu_count() or 2
        self._threads = threads or max(1, cores - 1)
        # Reading is done in bursts, the longest of them before the robot has anything to do.
        self._prompt_threads = threads or cores
        self._batch_tokens = batch_tokens
        self._start_timeout_s = start_timeout_s
        self._prompts = Path()
        self._on_state = on_state
        self._lock = threading.Lock()
        self._folder = ''
        self._process: ServerProcess | None = None
        self._client: httpx.Client | None = None
        self._format: Format | None = None
        self._end = ''
        self._opening = ''
        self._saved = ''
        self._warm_generation = 0

    @property
    def pid(self) -> int | None:
        """Process id of the server; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        """Start the server, and have it read what every prompt begins with."""
        check(self._path)
        try:
            return self._open(warm, progress)
        except BaseException:
            self.close()
            raise

    def _open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        progress(0.0, f'loading {self._path.name}')
        # At once, so that a close() at any time finds all of it.
        with self._lock:
            self._folder = private_folder()
            self._prompts = saved_prompt.prompts_folder(Path(self._folder))
            process, client = self._process, self._client = self._server(self._folder)
        process.start()
        properties = _properties(client)
        self._format = format_for(properties['chat_template'])
        self._end = properties['eos_token']
        self._opening = self._opening_of(warm, client)
        self._saved = saved_prompt.file_name(self._path, self._opening, self._settings())
        if self._opening and not self._restore(client):
            self._read_opening(progress)
            self._save(client)
        self._warm_generation = process.generation
        progress(1.0, 'ready')
        context_tokens = properties['default_generation_settings']['n_ctx']
        return ModelInfo('llama_cpp', self._path.name, context_tokens)

    def _server(self, folder: str) -> tuple[ServerProcess, httpx.Client]:
        """Return the server, not started yet, and what speaks to it."""
        address = os.path.join(folder, 'server.sock')
        key = secrets.token_urlsafe(24)
        settings = {
            'model': str(self._path.resolve()),
            'socket': address,
            'key': key,
            'threads': self._threads,
            'prompt_threads': self._prompt_threads,
            'prompts_folder': f'{self._prompts}{os.sep}',
            **self._settings(),
        }
        command = [sys.executable, '-m', 'nemotron_ros.engine.llama_child']
        process = ServerProcess(
            command, json.dumps(settings), self._start_timeout_s, self._on_state
        )
        client = httpx.Client(
            transport=httpx.HTTPTransport(
                uds=address,
                # The server hangs up on kept connections when it likes; a new one costs nothing.
                limits=httpx.Limits(max_keepalive_connections=0),
            ),
            base_url='http://llama.cpp',
            headers={'Authorization': f'Bearer {key}'},
            timeout=httpx.Timeout(IDLE_S, connect=CONNECT_S),
        )
        return process, client

    def _settings(self) -> dict[str, int]:
        """Return what, beside the model, decides what comes of reading a prompt."""
        return {'context_tokens': self._context_tokens, 'batch_tokens': self._batch_tokens}

    def _opening_of(self, warm: ChatRequest, client: httpx.Client) -> str:
        """Return the text that every prompt begins with."""
        prompts = []
        for text in ('A', 'B'):
            asked = replace(warm, messages=(*warm.messages, Message('user', text)))
            answer = _answer(client.post('/apply-template', json=self._body(asked)))
            prompts.append(answer['prompt'])
        return saved_prompt.shared_beginning(*prompts)

    def _read_opening(self, progress: Progress) -> None:
        """Have the server read the opening, so that the first command need not wait for it."""
        progress(0.5, 'reading the prompt')
        request = {
            'prompt': self._opening,
            'n_predict': 0,
            'stream': True,
            'return_progress': True,
        }
        for chunk in self._chunks(COMPLETION, request, CancelToken(WARM_S)):
            part = chunk.get('prompt_progress')
            if part:
                progress(0.5 + 0.5 * part['processed'] / part['total'], 'reading the prompt')

    def _restore(self, client: httpx.Client) -> bool:
        """Have the server load what an earlier one has read of the opening."""
        path = self._prompts / self._saved
        if not path.is_file():
            return False
        try:
            _slot(client, 'restore', self._saved)
            path.touch()
        except (EngineError, OSError):  # damaged, or of another make: it is read again
            return False
        return True

    def _save(self, client: httpx.Client) -> None:
        """Have the server keep what it has read for the next start, if there is room."""
        path = self._prompts / self._saved
        part = f'{self._saved}.{secrets.token_hex(4)}'
        try:
            _slot(client, 'save', part)
            path.with_name(part).replace(path)
            saved_prompt.make_room(self._prompts, self._saved)
        except (EngineError, OSError):
            path.with_name(part).unlink(missing_ok=True)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        """Yield the deltas of one turn; see :class:`Engine`."""
        form = self._format
        if form is None:
            raise EngineError('the engine is not open')
        yield from deltas(self._chunks(CHAT, self._body(request), cancel), form, request, cancel)

    def close(self) -> None:
        """End the server and free everything."""
        with self._lock:
            process, self._process = self._process, None
            client, self._client = self._client, None
            folder, self._folder = self._folder, ''
        if process is not None:
            process.close()
        if client is not None:
            client.close()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        form = self._format
        assert form is not None
        return body(DIALECT, '', form, self._end, request)

    def _chunks(
        self, route: str, request: dict[str, Any], cancel: CancelToken
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the parsed chunks of a streamed answer, until it or ``cancel`` ends."""
        try:
            yield from self._ask(route, request, cancel)
        except _DiedBefore:
            yield from self._ask(route, request, cancel)

    def _ask(
        self, route: str, request: dict[str, Any], cancel: CancelToken
    ) -> Generator[dict[str, Any], None, None]:
        process, client = self._process, self._client
        if process is None or client is None:
            raise EngineError('the engine is not open')
        if not process.wait_ready(cancel):
            return
        generation = process.generation
        if self._warm_generation not in (0, generation):
            self._warm_generation = generation
            self._restore(client)
        died: type[EngineDied] = _DiedBefore
        try:
            with closing(chunks(client, route, request, cancel, BOUNDS)) as answer:
                for chunk in answer:
                    died = EngineDied
                    yield chunk
        except Refused as refused:
            raise refusals.of_status(refused) from None
        except RefusedInStream as refused:
            raise refusals.of_error(refused.error) from None
        except (httpx.HTTPError, EngineError, RuntimeError) as error:
            if self._process is not process:
                raise EngineError('the engine was closed while it answered') from error
            if process.is_dead(generation, 1.0):
                raise died(
                    'the engine died while it answered; it is being started again'
                ) from error
            raise EngineError(f'the engine does not answer: {error}') from error


class _DiedBefore(EngineDied):
    """It had died unnoticed, or died before it said anything: its successor can be asked."""


def _properties(client: httpx.Client) -> dict[str, Any]:
    try:
        properties: dict[str, Any] = client.get('/props').raise_for_status().json()
    except (httpx.HTTPError, RuntimeError) as error:  # the latter if it has been closed
        raise EngineError(f'the engine does not tell its properties: {error!r}') from error
    return properties


def _answer(response: httpx.Response) -> dict[str, Any]:
    data: dict[str, Any] = response.json()
    if response.status_code != 200:
        raise refusals.of_error(data.get('error'))
    return data


def _slot(client: httpx.Client, action: str, name: str) -> None:
    """Save or restore what the server has read.

    :raise EngineError: if it can't.
    """
    try:
        _answer(client.post(f'/slots/0?action={action}', json={'filename': name}))
    except (httpx.HTTPError, ValueError, RuntimeError) as error:
        raise EngineError(f'{action} of the prompt: {error!r}') from error
