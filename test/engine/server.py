"""A server that says what it is told to, in the dialect that it is told to, or misbehaves.

It refuses what the real server refuses: the fields that it takes were read in the vendor's
own source or documents (see ``nemotron_ros/engine/dialects.py`` for the versions).
"""

from __future__ import annotations

import json
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.engine.scripted import Reply

TEMPLATE = Path(__file__).parents[1] / 'fixtures' / 'nemotron_template.jinja'
MODEL = 'nemotron-3-nano-4b'
CONTEXT_TOKENS = 50_000
SLOW_WORDS = 1000
"""A prompt of so many words takes its time."""
SLOW_S = 5.0

COMMON = {
    'messages', 'model', 'temperature', 'seed', 'stream', 'stream_options', 'tools', 'tool_choice',
}  # fmt: skip
TAKEN = {
    'edge_llm': COMMON | {'max_tokens', 'chat_template_kwargs', 'guided_decoding'},
    'trtllm_serve': COMMON
    | {'max_tokens', 'chat_template_kwargs', 'response_format', 'thinking_token_budget'},
    'vllm': COMMON
    | {'max_tokens', 'chat_template_kwargs', 'response_format', 'thinking_token_budget'},
    'llama_server': COMMON
    | {'max_tokens', 'chat_template_kwargs', 'grammar', 'reasoning_format', 'cache_prompt'}
    | {'return_progress'},
    'sglang': COMMON
    | {'max_tokens', 'chat_template_kwargs', 'response_format', 'separate_reasoning'},
    'nim': COMMON | {'max_tokens', 'chat_template_kwargs', 'nvext'},
    'ollama': COMMON | {'max_tokens', 'reasoning_effort'},
    'openai': COMMON | {'max_completion_tokens'},
}
READY = {
    'edge_llm': '/health/ready',
    'nim': '/v1/health/ready',
    'ollama': '/',
    'openai': '/v1/models',
}
# Where a server puts reasoning that it sets apart; left out: it stays in the text.
REASONING = {
    'edge_llm': 'reasoning_content',
    'trtllm_serve': 'reasoning_content',
    'vllm': 'reasoning',
    'nim': 'reasoning_content',
    'sglang': 'reasoning_content',
    'ollama': 'reasoning',
    'openai': 'reasoning_content',
}
DRIVE = ToolCall('', 'drive', {'direction': 'forward', 'distance_m': 1.5})


@dataclass(frozen=True)
class Turn:
    """What the model says: reasoning if it is asked for, words, calls; or words for ever."""

    text: str = ''
    reasoning: str = ''
    calls: tuple[ToolCall, ...] = ()
    ends: str = ''
    endless: bool = False


TALKER = Turn(endless=True, reasoning='I have to think.')
CALLER = Turn(calls=(DRIVE,))

# What is wrong with a call that the server has read: its name and its arguments.
BAD_CALLS = {
    'a call that is not JSON': ('drive', '{"direction": "forward"'),
    'a call with NaN': ('drive', '{"direction": "forward", "distance_m": NaN}'),
    'a call with a key twice': ('stop', '{"a": 1, "a": 2}'),
    'a call with a list': ('drive', '[1]'),
    'a call with a string': ('drive', '"{}"'),
    'a call to another tool': ('self_destruct', '{}'),
    'a call without a name': ('', '{}'),
    'a call too long': ('say', '{"text": "' + 'x' * 70_000 + '"}'),
}


@dataclass
class Script:
    """What the server does, and what it was asked."""

    dialect: str
    turn: Turn = CALLER
    fault: str = ''
    key: str = ''
    replies: tuple[Reply, ...] = ()
    """What it says where the newest message has their words, before ``turn``."""
    loading: int = 0
    """How many questions it still answers with 503."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    busy: int = 0
    """How many answers it is giving."""

    def reply(self, body: dict[str, Any]) -> tuple[Turn, float]:
        """Return what the model says to a request, and how long it takes to begin."""
        newest = str(body['messages'][-1]['content'])
        for reply in self.replies:
            if reply.when in newest:
                return Turn(reply.text, reply.reasoning, reply.calls), reply.delay_s
        return self.turn, 0.0

    def is_idle(self, within_s: float = 2.0) -> bool:
        """Whether it gives no answer any more, in time."""
        until = time.monotonic() + within_s
        while self.busy and time.monotonic() < until:
            time.sleep(0.005)
        return not self.busy


class ScriptedServer(ThreadingHTTPServer):
    """The server, in threads of this process.

    Example::

        with ScriptedServer('vllm') as server:
            server.script.turn = Turn('Hello.')
            OpenAIEngine(DIALECTS['vllm'], server.url)
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, dialect: str, host: str = '127.0.0.1', port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.script = Script(dialect)
        self.url = f'http://127.0.0.1:{self.server_port}'
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def serve_on(self) -> None:
        """Serve until the process ends."""
        self._thread.join()

    def stop(self) -> None:
        """Stop listening; may be called more than once."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def __exit__(self, *_args: object) -> None:
        self.stop()

    def handle_error(self, *_args: object) -> None:
        """Print nothing: clients hang up."""


class _HungUp(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: ScriptedServer
    wbufsize = 0
    PIECES: ClassVar[re.Pattern[str]] = re.compile(r'\s*\S+|\s+')

    @property
    def script(self) -> Script:
        return self.server.script

    def log_message(self, *_args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Tell what is served."""
        if not self._may_answer():
            return
        dialect = self.script.dialect
        if self.path == READY.get(dialect, '/health') and self.path != '/v1/models':
            self._json(200, {})
        elif self.path == '/v1/models':
            entry: dict[str, Any] = {'id': MODEL, 'object': 'model'}
            if dialect in ('edge_llm', 'vllm', 'sglang'):
                entry['max_model_len'] = CONTEXT_TOKENS
            models = [] if self.script.fault == 'no model' else [entry]
            self._json(200, {'object': 'list', 'data': models})
        elif self.path == '/props' and dialect == 'llama_server':
            settings = {'n_ctx': CONTEXT_TOKENS}
            properties = {
                'default_generation_settings': settings,
                'chat_template': TEMPLATE.read_text(),
                'eos_token': '<|im_end|>',
            }
            self._json(200, properties)
        else:
            self._json(404, {'error': {'message': 'Not Found'}})

    def do_POST(self) -> None:
        """Answer as the script says."""
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.script.asked.append(body)
        self.script.busy += 1
        try:
            if self._may_answer():
                self._answer(body)
        except (_HungUp, OSError):
            self.close_connection = True
        finally:
            self.script.busy -= 1

    # Refusing

    def _may_answer(self) -> bool:
        """Answer for a server that does not: busy, loading, or of another kind."""
        script = self.script
        if script.loading:
            script.loading -= 1
            self._json(503, {'error': {'message': 'Loading model', 'code': 503}})
        elif script.key and self.headers.get('Authorization') != f'Bearer {script.key}':
            given = self.headers.get('Authorization', 'none')
            self._json(401, {'error': {'message': f'Incorrect API key provided: {given}'}})
        elif script.fault in _REFUSALS:
            _REFUSALS[script.fault](self)
        else:
            return True
        return False

    def _fault_in(self, body: dict[str, Any]) -> str:
        unknown = sorted(set(body) - TAKEN[self.script.dialect])
        if unknown:
            return f'Extra inputs are not permitted: {", ".join(unknown)}'
        template = set(body.get('chat_template_kwargs', {}))
        if self.script.dialect == 'edge_llm' and template - {'enable_thinking'}:
            return f'unsupported chat_template_kwargs: {sorted(template)}'
        if self.script.dialect == 'edge_llm' and body['seed'] < 0:
            return 'seed must not be negative'
        if body.get('model', MODEL) != MODEL:
            return f'model {body["model"]!r} is not served by this process'
        words = _words(body)
        if words > CONTEXT_TOKENS:
            return (
                f"This model's maximum context length is {CONTEXT_TOKENS} tokens. However, your "
                f'prompt has {words} tokens.'
            )
        return ''

    # Answering

    def _answer(self, body: dict[str, Any]) -> None:
        fault = self._fault_in(body)
        if fault:
            self._json(400, {'error': {'message': fault, 'type': 'invalid_request_error'}})
            return
        if _words(body) > SLOW_WORDS:
            self._wait(SLOW_S)
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream; charset=utf-8')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        most = body.get('max_tokens') or body['max_completion_tokens']
        said = 0
        ends = self.script.turn.ends or 'stop'
        self._chunk({'role': 'assistant', 'content': None})
        for delta in self._deltas(body):
            if said == most:
                ends = 'length'
                break
            said += 1
            self._chunk(delta)
            self._misbehave(said)
            if 'tool_calls' in delta:
                ends = self.script.turn.ends or 'tool_calls'
        if self.script.fault != 'no reason':
            self._chunk({}, ends)
        usage = {'prompt_tokens': _words(body), 'completion_tokens': said}
        if body['stream_options']['include_usage']:
            self._event({'choices': [], 'usage': usage})
        if self.script.fault != 'no end':
            self._send(b'data: [DONE]\n\n')
        self._send_chunk(b'')

    def _deltas(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield what the model says, a token each."""
        dialect = self.script.dialect
        turn, delay_s = self.script.reply(body)
        self._wait(delay_s)
        if _is_thinking(body) and turn.reasoning:
            field = REASONING.get(dialect, 'content')
            for piece in self.PIECES.findall(turn.reasoning):
                yield {field: piece}
            if field == 'content':
                yield {'content': '</think>'}
        for piece in self.PIECES.findall(turn.text):
            yield {'content': piece}
        number = 0
        while turn.endless:
            yield {'content': f'word{number} '}
            number += 1
            self._wait(0.005)
        bad = BAD_CALLS.get(self.script.fault)
        if bad:
            function = {'name': bad[0], 'arguments': bad[1]}
            yield {'tool_calls': [{'index': 0, 'id': 'a', 'function': function}]}
        elif turn.calls and not (body.get('tools') or _template_tools(body)):
            yield {'content': 'Hello.'}
        elif dialect == 'llama_server':
            text = NemotronXml().print_calls(turn.calls)
            for piece in re.findall(r'(?s).{1,6}', text):
                yield {'content': piece}
        else:
            for index, call in enumerate(turn.calls):
                yield from _call_pieces(index, call)

    def _misbehave(self, said: int) -> None:
        """Do what the script says, after the second token."""
        fault = self.script.fault
        if said != 2 or fault not in _IN_STREAM:
            return
        _IN_STREAM[fault](self)

    def _chunk(self, delta: dict[str, Any], ends: str | None = None) -> None:
        choice = {'index': 0, 'delta': delta, 'finish_reason': ends}
        self._event({'object': 'chat.completion.chunk', 'choices': [choice], 'usage': None})

    def _event(self, data: dict[str, Any]) -> None:
        escaped = self.script.fault == 'halves of characters'
        line = json.dumps(data, ensure_ascii=escaped).encode()
        if self.script.fault == 'CRLF and comments':
            self._send(b': ping\r\n\r\nevent: chunk\r\nid: 1\r\n')
            self._send(b'data:' + line + b'\r\n\r\n')
        elif self.script.fault == 'byte by byte':
            for byte in b'data: ' + line + b'\n\n':
                self._send(bytes([byte]))
        else:
            self._send(b'data: ' + line + b'\n\n')

    def _send(self, data: bytes) -> None:
        self._look()
        self._send_chunk(data)

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(f'{len(data):x}\r\n'.encode() + data + b'\r\n')

    def _wait(self, seconds: float) -> None:
        """Take time, unless the client hangs up."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._look(min(left_s, 0.05))

    def _look(self, timeout_s: float = 0.0) -> None:
        readable, _, _ = select.select([self.connection], [], [], timeout_s)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise _HungUp

    def _json(self, status: int, data: object, **headers: str) -> None:
        self._whole(status, 'application/json', json.dumps(data), **headers)

    def _whole(self, status: int, kind: str, text: str, **headers: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        self.wfile.write(data)


def _call_pieces(index: int, call: ToolCall) -> Iterator[dict[str, Any]]:
    """Yield a call in pieces, as servers stream it."""
    head = {'index': index, 'id': f'call-{index}', 'type': 'function'}
    yield {'tool_calls': [{**head, 'function': {'name': call.name, 'arguments': ''}}]}
    for piece in re.findall(r'.{1,5}', json.dumps(dict(call.arguments))):
        yield {'tool_calls': [{'index': index, 'function': {'arguments': piece}}]}


def _words(body: dict[str, Any]) -> int:
    return sum(len(str(message['content']).split()) for message in body['messages'])


def _template_tools(body: dict[str, Any]) -> object:
    return body.get('chat_template_kwargs', {}).get('tools')


def _is_thinking(body: dict[str, Any]) -> bool:
    switched = body.get('chat_template_kwargs', {}).get('enable_thinking', False)
    return switched or body.get('reasoning_effort', 'none') != 'none'


def _refuse(status: int, **headers: str) -> Callable[[_Handler], None]:
    error = {'error': {'message': f'as told: {status}', 'code': status}}
    return lambda handler: handler._json(status, error, **headers)


def _once(status: int, **headers: str) -> Callable[[_Handler], None]:
    def refuse(handler: _Handler) -> None:
        handler.script.fault = ''
        _refuse(status, **headers)(handler)

    return refuse


PAGE = '<!DOCTYPE html><html><body>Welcome to nginx!</body></html>'
_REFUSALS: dict[str, Callable[[_Handler], None]] = {
    'status 400': _refuse(400),
    'status 401': _refuse(401),
    'status 403': _refuse(403),
    'status 404': _refuse(404),
    'status 500': _refuse(500),
    'busy for an hour': _refuse(429, Retry_After='3600'),
    'busy for ever': _refuse(429, Retry_After='0'),
    'busy once': _once(429, Retry_After='0'),
    'loading once': _once(503),
    'sends on': _refuse(307, Location='http://127.0.0.1:1/v1/chat/completions'),
    'a web page': lambda handler: handler._whole(200, 'text/html', PAGE),
    'a web page that is not there': lambda handler: handler._whole(404, 'text/html', PAGE),
    'repeats the key': lambda handler: handler._json(
        400, {'error': {'message': f'no good: {handler.headers["Authorization"]}'}}
    ),
    'another API': lambda handler: handler._json(200, {'models': ['a', 'b']}),
}


def _break_off(handler: _Handler) -> None:
    raise _HungUp


def _send_and_wait(data: bytes) -> Callable[[_Handler], None]:
    return lambda handler: handler._send(data)


def _endless_text(handler: _Handler) -> None:
    for _ in range(100_000):
        handler._chunk({'content': 'x' * 10_000})


_IN_STREAM: dict[str, Callable[[_Handler], None]] = {
    'breaks off': _break_off,
    'stalls': lambda handler: handler._wait(30.0),
    'garbage': _send_and_wait(b'data: {"choices": [}\n\n'),
    'a list': _send_and_wait(b'data: [1, 2]\n\n'),
    'choices of another kind': _send_and_wait(b'data: {"choices": [1]}\n\n'),
    'a text of another kind': _send_and_wait(
        b'data: {"choices": [{"delta": {"content": {"a": 1}}}]}\n\n'
    ),
    'what is not UTF-8': _send_and_wait(b'data: {"choices": [], "a": "\xff\xfe"}\n\n'),
    'a line of 10 MB': _send_and_wait(b'data: {"a": "' + b'x' * 10_000_000 + b'"}\n\n'),
    'too much text': _endless_text,
    'an error in the stream': _send_and_wait(
        b'data: {"error": {"message": "out of memory", "type": "engine_error"}}\n\n'
    ),
    'halves of characters': lambda handler: (
        [handler._chunk({'content': half}) for half in ('\ud83e', '\udd16')] and None
    ),
}
