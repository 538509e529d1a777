"""Where a server is, and who may ask it: its address, its key, and what speaks to it."""

from __future__ import annotations

import os
import ssl
from urllib.parse import urlsplit

import httpx

from nemotron_ros.engine.loopback import HOST, PORT
from nemotron_ros.engine.protocol import EngineError

CONNECT_S = 5.0


def checked_url(url: str, is_own: bool = False) -> str:
    """Return the address of a server without what its routes begin with.

    :param is_own: the server is started here, so that it has to be on this machine.
    :raise EngineError: if it isn't one.
    """
    expected = 'url: expected http://HOST:PORT or https://HOST:PORT'
    try:
        parts = urlsplit(url.replace(PORT, '1'))
        _ = parts.port
    except ValueError as error:
        raise EngineError(f'{expected}, got {url!r}: {error}') from None
    if parts.username or parts.password:
        raise EngineError(f'{expected} without a name or password; a key goes into api_key_env')
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        raise EngineError(f'{expected}, got {url!r}')
    if parts.query or parts.fragment:
        raise EngineError(f'{expected} without ? and #, got {url!r}')
    if is_own and parts.hostname not in (HOST, 'localhost', '::1'):
        raise EngineError(f'url: a server that is started here is at {HOST}, got {url!r}')
    if is_own and PORT not in url:
        raise EngineError(f'url: expected {PORT} where the port is, got {url!r}')
    if not is_own and PORT in url:
        raise EngineError(f'url: {PORT} means nothing without a server_command')
    return url.rstrip('/').removesuffix('/v1')


def read_key(variable: str) -> str:
    """Return the key that an environment variable holds; empty if none is named.

    :raise EngineError: that names the variable, and never holds the key.
    """
    if not variable:
        return ''
    key = os.environ.get(variable, '').strip()
    if not key:
        raise EngineError(f'api_key_env: the environment variable {variable} is not set')
    if not key.isascii() or not key.isprintable():
        raise EngineError(f'api_key_env: {variable} holds what no key can hold')
    return key


def client(url: str, key: str) -> httpx.Client:
    """Return what speaks to one server, and to no other: nothing is followed, no proxy asked."""
    is_safe = url.startswith('https:')
    transport = httpx.HTTPTransport(
        verify=ssl.create_default_context() if is_safe else False,
        # Servers hang up on kept connections when they like; a new one costs little.
        limits=httpx.Limits(max_keepalive_connections=0),
    )
    return httpx.Client(
        transport=transport,
        base_url=url,
        headers={'Authorization': f'Bearer {key}'} if key else {},
        # Who waits for an answer has a deadline, and hangs up.
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        trust_env=False,
    )


def unreachable(url: str, error: httpx.HTTPError) -> EngineError:
    """Say that nobody answers at an address."""
    return EngineError(
        f'url: {url} can not be reached: {error}; is the server running, and is this its port?'
    )
