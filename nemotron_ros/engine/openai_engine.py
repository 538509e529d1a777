"""An engine behind an OpenAI-compatible HTTP server: somebody else's, or one of its own."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message
from nemotron_ros.engine import endpoint, refusals
from nemotron_ros.engine.answer import MAX_CHARS_PER_TOKEN, deltas
from nemotron_ros.engine.dialects import Dialect, body
from nemotron_ros.engine.exchange import Answer, Bounds, Refused, RefusedInStream, ask, chunks
from nemotron_ros.engine.loopback import HOST, PORT, free_port, is_reachable_from_outside
from nemotron_ros.engine.protocol import (
    ChatRequest,
    Delta,
    EngineDied,
    EngineError,
    EngineState,
    ModelInfo,
    Progress,
)
from nemotron_ros.engine.served_model import Served, choose, listed, with_properties
from nemotron_ros.engine.server_process import ServerProcess, guarded

CHAT, MODELS, PROPERTIES = '/v1/chat/completions', '/v1/models', '/props'
ASK_S = 10.0
WARM_S = 600.0
MAX_TRIES = 5
"""How often a server is asked that is busy, loading or can't be reached."""
_CHUNK_BYTES = 1 << 12
"""More than a server writes round one token."""


@dataclass(frozen=True)
class _Session:
    """What there is between an open and a close. ``until`` ends with the close."""

    client: httpx.Client
    key: str = field(repr=False)
    until: CancelToken
    process: ServerProcess | None


class _AskAgain(Exception):
    """Nothing has been said yet, and it may go better in a while."""

    def __init__(self, error: EngineError, after_s: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


class OpenAIEngine:
    """Speaks to a server in its dialect.

    :param url: where the server is, ``http://HOST:PORT``; with ``server_command``,
        ``{port}`` in it stands for a free port of this machine.
    :param model: as the server names it; empty if it serves one alone.
    :param api_key_env: the name of the environment variable that holds the key. The key is
        read when the engine opens, and is in no error and no log.
    :param server_command: starts the server, ``{port}`` in it stands for the port; empty if
        somebody else runs it.
    :param context_tokens: told where the server does not tell.
    :param idle_timeout_s: how long the server may be silent in an answer.
    :param start_timeout_s: how long it may take to load.
    :param on_state: told when a server of its own becomes ready, dies or fails.
    """

    def __init__(
        self,
        dialect: Dialect,
        url: str = '',
        model: str = '',
        *,
        api_key_env: str = '',
        server_command: tuple[str, ...] = (),
        context_tokens: int = 0,
        idle_timeout_s: float = 120.0,
        start_timeout_s: float = 1800.0,
        on_state: Callable[[EngineState, str], None] = lambda _state, _text: None,
    ) -> None:
        if server_command:
            url = url or f'http://{HOST}:{PORT}'
        self._dialect = dialect
        self._url = endpoint.checked_url(url, is_own=bool(server_command))
        self._model = model
        self._api_key_env = api_key_env
        self._command = server_command
        self._context_tokens = context_tokens
        self._idle_timeout_s = idle_timeout_s
        self._start_timeout_s = start_timeout_s
        self._on_state = on_state
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._served: Served | None = None

    @property
    def pid(self) -> int | None:
        """Process id of what guards its own server; None while there is none."""
        session = self._session
        process = None if session is None else session.process
        return None if process is None else process.pid

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        """Start the server if it is its own; see what it serves; have it read the prompt."""
        if self._session is not None:
            raise EngineError('the engine is open already')
        try:
            return self._open(warm, progress)
        except BaseException:
            self.close()
            raise

    def _open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        progress(0.0, 'looking for the server')
        port = free_port() if self._command else 0
        url = self._url.replace(PORT, str(port))
        key = endpoint.read_key(self._api_key_env)
        session = self._begin(url, key, port)
        if session.process is not None:
            session.process.start(lambda part, text: progress(part / 2, text))
            if is_reachable_from_outside(port):
                raise EngineError(
                    'server_command: the server listens for other machines as well; give it '
                    f'{HOST} as its host'
                )
        served = self._find_model(session, url, progress)
        progress(0.5, 'reading the prompt')
        self._served = served
        self._warm(warm, progress)
        progress(1.0, 'ready')
        return ModelInfo(self._dialect.name, served.model, served.context_tokens)

    def _begin(self, url: str, key: str, port: int) -> _Session:
        """Make the session at once, so that a close() at any time finds all of it."""
        client, until = endpoint.client(url, key), CancelToken()
        process = None
        if self._command:
            command = [part.replace(PORT, str(port)) for part in self._command]
            process = ServerProcess(
                *guarded(command),
                self._start_timeout_s,
                self._on_state,
                lambda: _is_ready(client, self._dialect.ready_route, until),
            )
        with self._lock:
            if self._session is not None:
                client.close()
                raise EngineError('the engine is open already')
            self._session = session = _Session(client, key, until, process)
        return session

    def _find_model(self, session: _Session, url: str, progress: Progress) -> Served:
        where = f'{url}{MODELS}'
        answer = self._wait_for(session, url, MODELS, progress)
        served = choose(listed(answer, where), self._model, self._context_tokens)
        if not self._dialect.renders_tools:
            return served
        where = f'{url}{PROPERTIES}'
        answer = self._wait_for(session, url, PROPERTIES, progress)
        return with_properties(served, answer, where)

    def _wait_for(self, session: _Session, url: str, route: str, progress: Progress) -> Answer:
        """Return what a route answers, waiting for a server that is loading.

        :raise EngineError: naming the setting at fault.
        """
        waiting = session.until.child(self._start_timeout_s)
        for attempt in itertools.count():
            try:
                answer = ask(session.client, route, waiting.child(ASK_S))
            except httpx.HTTPError as error:
                raise endpoint.unreachable(url, error) from None
            if session.until.ended:
                raise EngineError('the engine was closed while it opened')
            if answer is None:
                raise EngineError(f'url: {url} did not answer within {ASK_S:g} s')
            if answer.status == 200:
                return answer
            refused = Refused(answer.status, answer.headers, answer.body)
            pause_s = refusals.retry_after_s(refused, attempt)
            if pause_s is None:
                raise self._explained(session, refused, f'{url}{route}')
            if pause_s >= waiting.remaining_s():
                raise EngineError(
                    f'url: {url} was still loading after {self._start_timeout_s:g} s'
                )
            waited = 1.0 - waiting.remaining_s() / self._start_timeout_s
            progress(0.5 if session.process else waited / 2, 'the server is loading')
            waiting.wait(pause_s)
        raise AssertionError('unreachable')

    def _warm(self, warm: ChatRequest, progress: Progress) -> None:
        """Have the server read what every prompt begins with: it shows what it refuses, too."""
        messages = warm.messages
        if not messages or messages[-1].role != 'user':
            messages = (*messages, Message('user', 'Hi'))
        request = replace(warm, messages=messages, max_tokens=1)
        with closing(self._chunks(request, CancelToken(WARM_S), idle_s=WARM_S)) as answer:
            for chunk in answer:
                part = chunk.get('prompt_progress')
                if isinstance(part, dict) and part.get('total'):
                    read = part.get('processed', 0) / part['total']
                    progress(0.5 + 0.5 * min(1.0, max(0.0, read)), 'reading the prompt')

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        """Yield the deltas of one turn; see :class:`Engine`."""
        served = self._served
        if served is None:
            raise EngineError('the engine is not open')
        answer = self._chunks(request, cancel, self._idle_timeout_s)
        yield from deltas(answer, served.form, request, cancel)

    def close(self) -> None:
        """End every answer, and the server if it is its own; free everything."""
        with self._lock:
            session, self._session = self._session, None
            self._served = None
        if session is None:
            return
        session.until.cancel()
        if session.process is not None:
            session.process.close()
        session.client.close()

    def _chunks(
        self, request: ChatRequest, cancel: CancelToken, idle_s: float
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the chunks of an answer; ask again while nothing of it has come."""
        session, served = self._session, self._served
        if session is None or served is None:
            raise EngineError('the engine is not open')
        fields = body(self._dialect, served.model, served.form, served.end, request)
        most_bytes = (request.max_tokens + 64) * (_CHUNK_BYTES + MAX_CHARS_PER_TOKEN)
        bounds = Bounds(idle_s, most_bytes)
        until = cancel.child()
        forget = session.until.on_cancel(until.cancel)
        try:
            for attempt in itertools.count():
                try:
                    yield from self._ask(session, fields, until, bounds, attempt)
                    break
                except _AskAgain as again:
                    if attempt + 1 == MAX_TRIES:
                        raise again.error from None
                    if again.after_s >= until.remaining_s():
                        raise EngineError(
                            f'{again.error}; it can be asked again in {again.after_s:g} s, '
                            'which is later than this command may take'
                        ) from None
                    if until.wait(again.after_s):
                        break
        finally:
            forget()
        if session.until.ended and not cancel.ended:
            raise EngineError('the engine was closed while it answered')

    def _ask(
        self,
        session: _Session,
        fields: dict[str, Any],
        until: CancelToken,
        bounds: Bounds,
        attempt: int,
    ) -> Generator[dict[str, Any], None, None]:
        process = session.process
        if process is not None and not process.wait_ready(until):
            return
        generation = 0 if process is None else process.generation
        has_begun = False
        try:
            with closing(chunks(session.client, CHAT, fields, until, bounds)) as answer:
                for chunk in answer:
                    has_begun = True
                    yield chunk
        except Refused as refused:
            error = self._explained(session, refused, CHAT)
            after_s = refusals.retry_after_s(refused, attempt)
            if after_s is None:
                raise error from None
            raise _AskAgain(error, after_s) from None
        except RefusedInStream as refused:
            raise _without(session.key, refusals.of_error(refused.error)) from None
        except (httpx.HTTPError, EngineError, RuntimeError) as error:
            if session.until.ended:
                return
            if process is not None and process.is_dead(generation, 1.0):
                died = EngineDied('the server died while it answered; it is being started again')
                if has_begun or attempt:
                    raise died from error
                raise _AskAgain(died, 0.0) from error
            if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
                lost = endpoint.unreachable(str(session.client.base_url), error)
                raise _AskAgain(lost, min(2.0, 0.1 * 2.0**attempt)) from None
            if isinstance(error, httpx.HTTPError):
                raise EngineError(f'the server broke its answer off: {error!r}') from error
            raise

    def _explained(self, session: _Session, refused: Refused, route: str) -> EngineError:
        if refused.status in (401, 403) and not session.key:
            return EngineError(
                f'api_key_env: the server wants a key (status {refused.status}): put it into an '
                'environment variable, and the name of that variable here'
            )
        if refused.status in (401, 403):
            return EngineError(
                f'api_key_env: the server refuses the key in {self._api_key_env} '
                f'(status {refused.status})'
            )
        if refused.status == 404 and route.endswith(MODELS):
            return EngineError(
                f'url: {route} is not there; expected http://HOST:PORT of an OpenAI-compatible '
                'server, without a path'
            )
        return _without(session.key, refusals.of_status(refused))


def _is_ready(client: httpx.Client, route: str, until: CancelToken) -> bool:
    try:
        answer = ask(client, route, until.child(ASK_S))
    except (httpx.HTTPError, RuntimeError):  # the latter if it has been closed
        return False
    return answer is not None and answer.status == 200


def _without(key: str, error: EngineError) -> EngineError:
    """Take the key out of what a server has sent back."""
    return type(error)(str(error).replace(key, '***')) if key else error
