"""What our client adds to an engine: time to the first word, and time per token.

Both sides ask the same server for the same answer in turns, one by ``Engine.stream`` and one
by a bare HTTP client that only looks for the first and the last piece of text. Without
``--url`` it is llama.cpp's own HTTP server with the smallest model of config/models.yaml::

    . scripts/env.bash
    python bench/engine_overhead.py
    python bench/engine_overhead.py --url http://127.0.0.1:8000 --dialect vllm

Exit code 1 if more is added than ``MOST_ADDED_S`` to the first word or ``MOST_RATIO`` per token.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from nemotron_ros.bringup import config_path
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message
from nemotron_ros.engine.dialects import DIALECTS, Dialect, body
from nemotron_ros.engine.exchange import ask
from nemotron_ros.engine.loopback import free_port
from nemotron_ros.engine.model_files import find, load_catalogue
from nemotron_ros.engine.openai_engine import CHAT, MODELS, PROPERTIES, OpenAIEngine
from nemotron_ros.engine.protocol import ChatRequest, Engine, OutputError, TextDelta
from nemotron_ros.engine.served_model import Served, choose, listed, with_properties

MOST_ADDED_S = 0.002
MOST_RATIO = 1.02
SERVER = Path(__file__).resolve().parents[1] / 'test/engine/llama_server.py'
START_S = 60.0
TOLD = 'Tell me a long story about a robot that looks for its charger in the dark.'


@dataclass(frozen=True)
class Timing:
    """Seconds from the request to the first text, and from there to the last."""

    first_s: float
    rest_s: float
    characters: int


def bare(url: str, fields: dict[str, object]) -> Timing:
    """Ask as plainly as Python can."""
    payload = json.dumps(fields)
    address = urlsplit(url)
    began_s = time.perf_counter()
    connection = http.client.HTTPConnection(address.hostname or '', address.port, timeout=120)
    with closing(connection):
        connection.request('POST', CHAT, payload, {'Content-Type': 'application/json'})
        first_s = last_s = 0.0
        characters = 0
        for line in connection.getresponse():
            if not line.startswith(b'data: {'):
                continue
            choices = json.loads(line[6:])['choices']
            text = choices and choices[0]['delta'].get('content')
            if text:
                last_s = time.perf_counter()
                first_s = first_s or last_s
                characters += len(text)
    return Timing(first_s - began_s, last_s - first_s, characters)


def ours(engine: Engine, request: ChatRequest) -> Timing:
    """Ask by the engine."""
    first_s = last_s = 0.0
    characters = 0
    began_s = time.perf_counter()
    try:
        for delta in engine.stream(request, CancelToken(120.0)):
            if isinstance(delta, TextDelta):
                last_s = time.perf_counter()
                first_s = first_s or last_s
                characters += len(delta.text)
    except OutputError:  # it is cut off, as it is meant to be
        pass
    return Timing(first_s - began_s, last_s - first_s, characters)


def served_by(url: str, dialect: Dialect) -> Served:
    """Return what the server tells of its model."""
    with httpx.Client(base_url=url) as client:
        models = ask(client, MODELS, CancelToken(10.0))
        assert models is not None, 'the server does not answer'
        served = choose(listed(models, url), '', 0)
        if dialect.renders_tools:
            properties = ask(client, PROPERTIES, CancelToken(10.0))
            assert properties is not None, 'the server does not answer'
            served = with_properties(served, properties, url)
    return served


@contextmanager
def llama_server() -> Iterator[str]:
    """Run llama.cpp's server with a small model; yield its address."""
    model = find('smollm2-135m', load_catalogue(config_path('models.yaml')))
    port = free_port()
    command = [sys.executable, str(SERVER), '--model', str(model), '--port', str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child, httpx.Client() as client:
        url = f'http://127.0.0.1:{port}'
        deadline_s = time.monotonic() + START_S
        try:
            while not _is_there(client, f'{url}/health'):
                assert child.poll() is None, 'the server ended'
                assert time.monotonic() < deadline_s, f'the server is not up after {START_S:g} s'
                time.sleep(0.1)
            yield url
        finally:
            child.terminate()


def _is_there(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(address).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def opened(engine: Engine, warm: ChatRequest) -> Iterator[Engine]:
    """Open an engine; close it at the end."""
    engine.open(warm, lambda part, text: None)
    try:
        yield engine
    finally:
        engine.close()


def measured(
    engine: Engine, request: ChatRequest, url: str, fields: dict[str, object], rounds: int
) -> Iterator[tuple[Timing, Timing]]:
    """Yield the bare client's timing and ours of each round; who begins changes."""
    ours(engine, request)  # to warm up
    for number in range(rounds):
        if number % 2:
            yield bare(url, fields), ours(engine, request)
        else:
            own = ours(engine, request)
            yield bare(url, fields), own


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--url', default='', help='a server that runs already')
    parser.add_argument('--dialect', choices=sorted(DIALECTS), default='llama_server')
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument('--tokens', type=int, default=128)
    arguments = parser.parse_args()
    dialect = DIALECTS[arguments.dialect]
    request = ChatRequest(
        (Message('system', 'You tell stories.'), Message('user', TOLD)),
        max_tokens=arguments.tokens,
    )
    with nullcontext(arguments.url) if arguments.url else llama_server() as url:
        served = served_by(url, dialect)
        fields = body(dialect, served.model, served.form, served.end, request)
        with opened(OpenAIEngine(dialect, url), request) as engine:
            pairs = list(measured(engine, request, url, fields, arguments.rounds))
    if any(plain.characters != own.characters for plain, own in pairs):
        print('the two sides did not get the same answer')
        return 1
    first_s = [statistics.median(pair[side].first_s for pair in pairs) for side in (0, 1)]
    rest_s = [statistics.median(pair[side].rest_s for pair in pairs) for side in (0, 1)]
    added_s, ratio = first_s[1] - first_s[0], rest_s[1] / rest_s[0]
    name = Path(served.model).name
    print(f'{name}, {dialect.name}, {len(pairs)} rounds, {arguments.tokens} tokens')
    print(f'{"":22}{"bare":>10}{"ours":>10}')
    print(f'{"to the first word, ms":22}{first_s[0] * 1e3:10.2f}{first_s[1] * 1e3:10.2f}')
    print(f'{"from there on, ms":22}{rest_s[0] * 1e3:10.1f}{rest_s[1] * 1e3:10.1f}')
    print(f'added to the first word: {added_s * 1e3:.2f} ms (at most {MOST_ADDED_S * 1e3:g})')
    print(f'time per token, ratio: {ratio:.4f} (at most {MOST_RATIO:g})')
    return 0 if added_s <= MOST_ADDED_S and ratio <= MOST_RATIO else 1


if __name__ == '__main__':
    sys.exit(main())
