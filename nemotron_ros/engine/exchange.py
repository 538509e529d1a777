"""One streamed answer of an HTTP server: asked for, bounded, and hung up on at any time."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from nemotron_ros.cancel import CancelToken
from nemotron_ros.engine.protocol import EngineError

MAX_LINE_BYTES = 1 << 20
MAX_REFUSAL_BYTES = 1 << 16
"""How much of a refusal is read; its text is for a person."""


class Refused(Exception):
    """The server answered with something other than a stream. ``body`` may be cut short."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        super().__init__(f'HTTP status {status}')
        self.status = status
        self.headers = headers
        self.body = body


class RefusedInStream(Exception):
    """The server sent an error in its stream: ``error`` is what it sent."""

    def __init__(self, error: Any) -> None:
        super().__init__('an error in the stream')
        self.error = error


@dataclass(frozen=True)
class Bounds:
    """How long a server may be silent, and how much it may send."""

    idle_s: float
    max_bytes: int = 1 << 28


@dataclass(frozen=True)
class Answer:
    """What a server answered to a plain question. ``body`` may be cut short."""

    status: int
    headers: Mapping[str, str]
    body: str


class _End:
    """The server's ``[DONE]``."""


def chunks(
    client: httpx.Client, route: str, body: Mapping[str, Any], cancel: CancelToken, bounds: Bounds
) -> Generator[dict[str, Any], None, None]:
    """Yield the parsed chunks of a streamed answer, until it or ``cancel`` ends.

    Closing the generator, or the end of ``cancel``, hangs up: the server stops working.

    :raise Refused: if there is no stream.
    :raise RefusedInStream: if an error comes in it.
    :raise EngineError: if the server is silent for too long or sends what is no chunk.
    :raise httpx.HTTPError: if the connection can't be made or breaks off.
    """
    exchange = _Exchange(client, route, bounds, body)
    forget = cancel.on_cancel(exchange.hang_up)
    exchange.start()
    try:
        while True:
            idle_left_s = exchange.heard_s + bounds.idle_s - time.monotonic()
            item = exchange.next(min(cancel.remaining_s(), idle_left_s))
            if cancel.ended or isinstance(item, _End):
                return
            if isinstance(item, Exception):
                raise item
            if item is None and time.monotonic() - exchange.heard_s >= bounds.idle_s:
                raise EngineError(f'the server was silent for {bounds.idle_s:g} s')
            if item is not None:
                yield item
    finally:
        forget()
        exchange.hang_up()


def ask(client: httpx.Client, route: str, cancel: CancelToken) -> Answer | None:
    """Return the answer to a plain question; None if ``cancel`` ends first.

    :raise httpx.HTTPError: if the connection can't be made or breaks off.
    """
    exchange = _Exchange(client, route, Bounds(cancel.remaining_s()))
    forget = cancel.on_cancel(exchange.hang_up)
    exchange.start()
    try:
        while not cancel.ended:
            item = exchange.next(cancel.remaining_s())
            if isinstance(item, Answer):
                return item
            if isinstance(item, Exception) and not cancel.ended:
                raise item
        return None
    finally:
        forget()
        exchange.hang_up()


class _Exchange:
    """The exchange, read in a thread of its own so that nobody has to wait for it."""

    def __init__(
        self,
        client: httpx.Client,
        route: str,
        bounds: Bounds,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self._route = route
        self._body = body
        self._bounds = bounds
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._hung_up = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.heard_s = time.monotonic()
        """When the last byte came."""

    def start(self) -> None:
        """Send the request."""
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, timeout_s: float) -> Any:
        """Return the next chunk, error or end; None if there is none in time."""
        try:
            return self._items.get(timeout=min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))
        except queue.Empty:
            return None

    def hang_up(self) -> None:
        """End the connection: the server stops working on it, and the reader ends."""
        with self._lock:
            self._hung_up.set()
            if self._socket is not None:
                # Closing it would not wake a reader that waits in it.
                _shut_down(self._socket)
        self._items.put(None)

    def _read(self) -> None:
        try:
            if self._body is None:
                self._ask()
            else:
                self._converse()
        except Exception as error:  # whatever it is, the one who waits must learn of it
            self._items.put(error)
        finally:
            with self._lock:
                self._socket = None

    def _ask(self) -> None:
        with self._client.stream(
            'GET',
            self._route,
            headers={'Accept-Encoding': 'identity'},
            extensions={'trace': self._note_connection},
        ) as response:
            body = _beginning(response.iter_raw(), MAX_LINE_BYTES)
            self._items.put(Answer(response.status_code, dict(response.headers), body))

    def _converse(self) -> None:
        with self._client.stream(
            'POST',
            self._route,
            json=self._body,
            headers={'Accept': 'text/event-stream', 'Accept-Encoding': 'identity'},
            # A server may not answer at all before its first token.
            extensions={'trace': self._note_connection},
        ) as response:
            kind = response.headers.get('content-type', '')
            if response.status_code != 200 or not kind.startswith('text/event-stream'):
                body = _beginning(response.iter_raw(), MAX_REFUSAL_BYTES)
                raise Refused(response.status_code, dict(response.headers), body)
            for line in lines(self._heard(response.iter_raw())):
                if self._hung_up.is_set():
                    return
                if not line.startswith('data:'):
                    continue
                text = line.removeprefix('data:').strip()
                if text == '[DONE]':
                    return self._items.put(_End())
                self._items.put(_chunk(text))
            raise EngineError('the server left its answer without an end')

    def _heard(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the bytes on; note when they came, and tell if they are too many."""
        received = 0
        for piece in pieces:
            received += len(piece)
            if received > self._bounds.max_bytes:
                raise EngineError(f'the server sent more than {self._bounds.max_bytes} bytes')
            self.heard_s = time.monotonic()
            yield piece

    def _note_connection(self, event: str, info: Mapping[str, Any]) -> None:
        """Keep the socket as soon as there is one, to hang up on a server that is silent."""
        if event.startswith('connection.') and event.endswith('.complete'):
            stream = info.get('return_value')
            if stream is None or not hasattr(stream, 'get_extra_info'):
                return
            with self._lock:
                self._socket = stream.get_extra_info('socket')
                if self._hung_up.is_set() and self._socket is not None:
                    _shut_down(self._socket)


def lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Cut bytes into lines, wherever the pieces end.

    :raise EngineError: if a line is too long, or is not UTF-8.
    """
    held = bytearray()
    for piece in pieces:
        *whole, rest = piece.split(b'\n')
        for end in whole:
            held += end
            yield _text(held)
            held.clear()
        held += rest
        if len(held) > MAX_LINE_BYTES:
            raise _too_long()
    if held:
        yield _text(held)


def _text(line: bytearray) -> str:
    if len(line) > MAX_LINE_BYTES:
        raise _too_long()
    try:
        return line.decode().rstrip('\r')
    except UnicodeDecodeError as error:
        raise EngineError(f'the server sent what is not UTF-8: {error}') from None


def _too_long() -> EngineError:
    return EngineError(f'the server sent a line of more than {MAX_LINE_BYTES} bytes')


def _chunk(text: str) -> dict[str, Any]:
    try:
        chunk = json.loads(text)
    except (ValueError, RecursionError):
        raise EngineError(f'the server sent what is not JSON: {text[:80]!r}') from None
    if not isinstance(chunk, dict):
        raise EngineError(f'the server sent what is no chunk of an answer: {text[:80]!r}')
    if chunk.get('error'):
        raise RefusedInStream(chunk['error'])
    return chunk


def _beginning(pieces: Iterable[bytes], most_bytes: int) -> str:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) >= most_bytes:
            break
    return body[:most_bytes].decode(errors='replace')


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
