"""llama.cpp's own HTTP server on a TCP port, with the flags of ``llama-server``.

It is what the ``xllamacpp`` wheel has of it, and so all but its command line.
"""

from __future__ import annotations

import argparse
import signal
import sys

import xllamacpp

parser = argparse.ArgumentParser()
parser.add_argument('--host', default='127.0.0.1')
parser.add_argument('--port', type=int, default=8080)
parser.add_argument('--model', required=True)
parser.add_argument('--ctx-size', type=int, default=4096)
flags = parser.parse_args()

params = xllamacpp.CommonParams()
params.model.path = flags.model
params.hostnames = [flags.host]
params.port = flags.port
params.ui = False
params.n_ctx = flags.ctx_size
params.n_batch = params.n_ubatch = 128
params.n_parallel = 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.verbosity = 2
try:
    server = xllamacpp.Server(params)
except RuntimeError as error:
    sys.exit(str(error))
# Python's own handler would only run when a call returns.
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pause()
