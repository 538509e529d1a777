"""The model hub, in this process: the two routes that a download uses."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelHub(ThreadingHTTPServer):
    """Serves one file under any name, its bytes from another host as the real hub does.

    ``breaks`` holds, for each download to come, after how many bytes the line breaks.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.data = data
        self.breaks: list[int] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """The address of the hub."""
        return f'http://127.0.0.1:{self.server_port}'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: ModelHub

    def do_HEAD(self) -> None:
        """Say what the file is and where its bytes are."""
        self.server.asked.append(f'HEAD {self.path}')
        self._redirect()

    def do_GET(self) -> None:
        """Send the file, from where it is asked for."""
        if '/resolve/' in self.path:
            self._redirect()
            return
        data = self.server.data
        wanted = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        start = int(wanted[1]) if wanted else 0
        self.server.asked.append(f'GET {start}')
        if start >= len(data):
            self._answer(416, {'Content-Range': f'bytes */{len(data)}', 'Content-Length': '0'})
            return
        headers = {'Content-Length': str(len(data) - start)}
        if wanted:
            headers['Content-Range'] = f'bytes {start}-{len(data) - 1}/{len(data)}'
        self._answer(206 if wanted else 200, headers)
        end = start + self.server.breaks.pop(0) if self.server.breaks else len(data)
        self.wfile.write(data[start:end])
        self.close_connection = end < len(data)

    def _redirect(self) -> None:
        etag = hashlib.sha256(self.server.data).hexdigest()
        headers = {
            'X-Repo-Commit': 'a' * 40,
            'X-Linked-ETag': f'"{etag}"',
            'X-Linked-Size': str(len(self.server.data)),
            'Location': f'http://localhost:{self.server.server_port}/bytes',
            'Content-Length': '0',
        }
        self._answer(302, headers)

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Print nothing."""


@contextmanager
def model_hub(data: bytes) -> Iterator[ModelHub]:
    """Run a hub.

    Example::

        with model_hub(b'GGUF...') as hub:
            httpx.get(f'{hub.url}/some/model/resolve/main/model.gguf', follow_redirects=True)
    """
    hub = ModelHub(data)
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
