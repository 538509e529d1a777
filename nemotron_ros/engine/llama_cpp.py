"""The embedded engine: llama.cpp from the ``xllamacpp`` wheel, in a child process."""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats.protocol import Format, FormatError, Piece, Reasoning, Text
from nemotron_ros.chat.messages import Message
from nemotron_ros.chat.prompt import format_for, render
from nemotron_ros.engine import saved_prompt
from nemotron_ros.engine.gguf_file import check
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    EngineDied,
    EngineError,
    EngineState,
    ModelInfo,
    OutputError,
    Progress,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.engine.server_process import ServerProcess, private_folder

CHAT = '/v1/chat/completions'
COMPLETION = '/v1/completions'
CONNECT_S = 5.0
IDLE_S = 600.0
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
        body = {'prompt': self._opening, 'n_predict': 0, 'stream': True, 'return_progress': True}
        for chunk in self._chunks(COMPLETION, body, CancelToken(WARM_S)):
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
        parser = form.parser(request.tools, request.thinking)
        meter = _Meter()
        stopped_by = ''
        try:
            with closing(self._chunks(CHAT, self._body(request), cancel)) as chunks:
                for chunk in chunks:
                    meter.read(chunk)
                    for choice in chunk.get('choices', ()):
                        stopped_by = choice.get('finish_reason') or stopped_by
                        content = choice.get('delta', {}).get('content')
                        if content:
                            yield from map(_delta, parser.feed(content))
            if cancel.ended:
                return
            yield from map(_delta, parser.finish(truncated=stopped_by == 'length'))
        except FormatError as error:
            raise OutputError(f"the model's output can not be used: {error}") from error
        yield meter.usage()
        if stopped_by == 'length':
            raise OutputError(f'the answer was cut off after {meter.completion} tokens')

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
        prompt = render(form, request.tools, request.messages, request.thinking)
        return {
            'messages': list(prompt.messages),
            'chat_template_kwargs': prompt.template_kwargs,
            'grammar': _ending(form.grammar(request.tools, request.thinking), self._end),
            'reasoning_format': 'none',
            'max_tokens': request.max_tokens,
            'temperature': request.temperature,
            'seed': request.seed,
            'stream': True,
            'stream_options': {'include_usage': True},
            'return_progress': True,
            'timings_per_token': False,
            'cache_prompt': True,
        }

    def _chunks(
        self, route: str, body: dict[str, Any], cancel: CancelToken
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the parsed chunks of a streamed answer, until it or ``cancel`` ends."""
        try:
            yield from self._ask(route, body, cancel)
        except _DiedBefore:
            yield from self._ask(route, body, cancel)

    def _ask(
        self, route: str, body: dict[str, Any], cancel: CancelToken
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
        exchange = _Exchange(client, route, body)
        forget = cancel.on_cancel(exchange.abandon)
        exchange.start()
        try:
            while True:
                item = exchange.next(min(cancel.remaining_s(), 1.0))
                if cancel.ended or item is _END:
                    return
                if isinstance(item, EngineError):
                    raise item
                if isinstance(item, Exception):
                    if self._process is not process:
                        raise EngineError('the engine was closed while it answered') from item
                    if process.is_dead(generation, 1.0):
                        raise died(
                            'the engine died while it answered; it is being started again'
                        ) from item
                    raise EngineError(f'the engine does not answer: {item!r}') from item
                if item is not None:
                    died = EngineDied
                    yield item
        finally:
            forget()
            exchange.abandon()


class _DiedBefore(EngineDied):
    """It had died unnoticed, or died before it said anything: its successor can be asked."""


_END = object()


class _Exchange:
    """One streamed HTTP exchange, read in a thread of its own so that it can be abandoned."""

    def __init__(self, client: httpx.Client, route: str, body: dict[str, Any]) -> None:
        self._client = client
        self._route = route
        self._body = body
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._abandoned = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Send the request."""
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, timeout_s: float) -> Any:
        """Return the next chunk, error or end; None if there is none in time."""
        try:
            return self._items.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            return None

    def abandon(self) -> None:
        """Hang up: the server stops working on it, and the reader ends."""
        with self._lock:
            self._abandoned.set()
            if self._socket is not None:
                # Closing it would not wake a reader that waits in it.
                _shut_down(self._socket)
        self._items.put(None)

    def _read(self) -> None:
        try:
            with self._client.stream('POST', self._route, json=self._body) as response:
                with self._lock:
                    stream = response.extensions['network_stream']
                    self._socket = stream.get_extra_info('socket')
                    if self._abandoned.is_set():
                        return
                if response.status_code != 200:
                    raise EngineError(_reason(json.loads(response.read())['error']))
                for line in response.iter_lines():
                    if self._abandoned.is_set():
                        return
                    if line == 'data: [DONE]':
                        return self._items.put(_END)
                    if line.startswith('data: '):
                        chunk = json.loads(line[len('data: ') :])
                        if 'error' in chunk:
                            raise EngineError(_reason(chunk['error']))
                        self._items.put(chunk)
                raise EngineError('the engine left its answer without an end')
        except Exception as error:  # whatever it is, the one who waits must learn of it
            self._items.put(error)
        finally:
            with self._lock:
                self._socket = None


@dataclass
class _Meter:
    """Counts tokens from what the server tells in its chunks."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def read(self, chunk: dict[str, Any]) -> None:
        usage = chunk.get('usage')
        if usage:
            self.prompt = usage.get('prompt_tokens', 0)
            self.completion = usage.get('completion_tokens', 0)
        timings = chunk.get('timings')
        if timings:
            self.cached = timings.get('cache_n', 0)

    def usage(self) -> UsageDelta:
        return UsageDelta(self.prompt, self.cached, self.completion)


def _properties(client: httpx.Client) -> dict[str, Any]:
    try:
        properties: dict[str, Any] = client.get('/props').raise_for_status().json()
    except (httpx.HTTPError, RuntimeError) as error:  # the latter if it has been closed
        raise EngineError(f'the engine does not tell its properties: {error!r}') from error
    return properties


def _answer(response: httpx.Response) -> dict[str, Any]:
    data: dict[str, Any] = response.json()
    if response.status_code != 200:
        raise EngineError(_reason(data.get('error')))
    return data


def _slot(client: httpx.Client, action: str, name: str) -> None:
    """Save or restore what the server has read.

    :raise EngineError: if it can't.
    """
    try:
        _answer(client.post(f'/slots/0?action={action}', json={'filename': name}))
    except (httpx.HTTPError, ValueError, RuntimeError) as error:
        raise EngineError(f'{action} of the prompt: {error!r}') from error


def _ending(grammar: str, end: str) -> str:
    """Let what keeps a grammar end with the model's own end of turn.

    The server lets it end with what it takes for that, and takes another token for
    it in some models: those could not stop calling tools.
    """
    if not re.fullmatch(r'<[^<>\s]+>', end):
        return grammar
    head, start, answer = grammar.partition('\nstart: ')
    first, _, rest = answer.partition('\n')
    return f'{head}{start}({first}) {end}?\n{rest}'


def _delta(piece: Piece) -> Delta:
    if isinstance(piece, Text):
        return TextDelta(piece.text)
    if isinstance(piece, Reasoning):
        return ReasoningDelta(piece.text)
    return CallDelta(piece)


def _reason(error: Any) -> str:
    text = str(error.get('message', error)) if isinstance(error, dict) else str(error)
    kind = error.get('type', '') if isinstance(error, dict) else ''
    if kind == 'exceed_context_size_error':
        return (
            f'the prompt has {error.get("n_prompt_tokens")} tokens and the context holds '
            f'{error.get("n_ctx")}; use fewer tools or examples, or a larger context_tokens'
        )
    return f'the engine refused the request: {text}'


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
