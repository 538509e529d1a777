"""The program of the engine's child process: a llama.cpp server on a unix socket.

It reads its settings as one line of JSON from standard input and says ``ready``
on standard output. Standard input is also its lifeline: when it closes, because
the parent closed it or died, the process ends at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from pathlib import Path

WARNINGS = 2


def main() -> None:
    """Serve until standard input closes."""
    # Ctrl-C in a terminal reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.loads(sys.stdin.buffer.readline())
    _end_with_input()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings['model']
    params.hostnames = [settings['socket']]
    params.api_keys = [settings['key']]
    params.ui = False
    params.n_ctx = settings['context_tokens']
    params.n_batch = settings['batch_tokens']
    params.n_ubatch = settings['batch_tokens']
    params.n_parallel = 1
    params.slot_save_path = settings['prompts_folder']
    # All prompts begin alike, so one is enough to go on from; the defaults are 8 GiB and 32.
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 4
    params.cpuparams.n_threads = settings['threads']
    params.cpuparams_batch.n_threads = settings['prompt_threads']
    params.verbosity = WARNINGS
    # One that was killed leaves its socket behind, and nobody else could use the name.
    Path(settings['socket']).unlink(missing_ok=True)
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        sys.exit(1)  # its log has said why
    print('ready', flush=True)
    while server and sys.stdin.buffer.read(4096):
        pass
    # Interpreter shutdown would wait for the request in hand.
    os._exit(0)


def _end_with_input() -> None:
    """Have the kernel end this process when its input closes, even while it loads the model.

    The signal for that, SIGIO, ends a process that has made no other arrangement.
    """
    flags = fcntl.fcntl(sys.stdin, fcntl.F_GETFL)
    fcntl.fcntl(sys.stdin, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sys.stdin, fcntl.F_SETFL, flags | os.O_ASYNC)


if __name__ == '__main__':
    main()
