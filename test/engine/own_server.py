"""The scripted server as a program of its own: ``own_server.py --port 8000``.

Its replies are those of a script for the scripted engine, and it misbehaves by ``--fault``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from server import ScriptedServer

from nemotron_ros.engine.scripted import load_script

parser = argparse.ArgumentParser()
parser.add_argument('--host', default='127.0.0.1')
parser.add_argument('--port', type=int, required=True)
parser.add_argument('--loading-s', type=float, default=0.0)
parser.add_argument('--script', type=Path)
parser.add_argument('--fault', default='')
flags = parser.parse_args()

print('loading the weights', file=sys.stderr, flush=True)
time.sleep(flags.loading_s)
server = ScriptedServer('vllm', flags.host, flags.port)
server.script.fault = flags.fault
if flags.script:
    server.script.replies = load_script(flags.script)
server.serve_on()
