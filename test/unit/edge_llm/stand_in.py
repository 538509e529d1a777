"""A stand-in for an installed TensorRT Edge-LLM: real programs in a real environment.

Its builder takes the flags of the real one that are used, and nothing else; what it does is
said by ``behaviour.json`` in the environment. The contract with the real one is held by
``test/engine/test_edge_llm_contract.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

VERSION = '0.11.0'
TENSORRT = '10.16.1'
SIZE = 100_000
ENGINE_BUILD = """\
import hashlib, os
from dataclasses import dataclass

@dataclass(frozen=True)
class BuildOptions:
    max_input_len: int
    max_kv_cache_capacity: int
    max_batch_size: int

def bundle_cache_path(model_dir, cache_dir, options):
    digest = hashlib.sha256(open(os.path.join(model_dir, "config.json"), "rb").read()).hexdigest()
    return os.path.join(cache_dir, "engines", "model-" + digest[:16], f"i{options.max_input_len}")
"""
BUILDER = """\
#!{python}
import argparse, json, os, signal, sys, time
from pathlib import Path

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--engine-dir", type=Path, required=True)
parser.add_argument("--model-dir", type=Path, required=True)
parser.add_argument("--components", choices=["all"], required=True)
for size in ("--max-input-len", "--max-kv-cache-capacity", "--max-batch-size"):
    parser.add_argument(size, type=int, required=True)
args = parser.parse_args()
behaviour = json.loads((Path(sys.prefix) / "behaviour.json").read_text())
Path(sys.prefix, "pid").write_text(str(os.getpid()))
with Path(sys.prefix, "runs").open("a") as runs:
    runs.write("x")
print("Building component llm", flush=True)
if behaviour.get("ignore_terminate"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "say" in behaviour:
    print(behaviour["say"], flush=True)
if behaviour.get("die"):
    os.kill(os.getpid(), behaviour["die"])
if "fail" in behaviour:
    sys.exit(behaviour["fail"])
with (args.engine_dir / "llm.engine").open("wb") as file:
    file.write(bytes(range(256)) * (behaviour.get("size", {size}) // 256))
if not behaviour.get("no_config"):
    (args.engine_dir / "config.json").write_text(json.dumps(vars(args), default=str))
(args.engine_dir / "tokenizer").mkdir()
(args.engine_dir / "tokenizer" / "vocab.json").write_text("{{}}")
Path(sys.prefix, "written").touch()
print("Serialized", flush=True)
time.sleep(behaviour.get("linger_s", 0))
print("Engine outputs:", flush=True)
"""
SERVER = '#!{python}\nimport json, sys\nprint(json.dumps(sys.argv))\n'


class Environment:
    """The environment, in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], check=True)
        (self._packages,) = folder.glob('lib/python3*/site-packages')
        package = self._packages / 'experimental' / 'server' / 'runtime'
        package.mkdir(parents=True)
        (package / 'engine_build.py').write_text(ENGINE_BUILD)
        self.install(VERSION)
        self.tensorrt(f'__version__ = {TENSORRT!r}\n')
        self._program('tensorrt-edgellm-build', BUILDER)
        self._program('tensorrt-edgellm-serve', SERVER)
        self.behave()

    def __str__(self) -> str:
        return str(self.folder)

    def install(self, version: str) -> None:
        """Have it be of another version, or none."""
        for folder in self._packages.glob('tensorrt_edgellm-*'):
            (folder / 'METADATA').unlink()
            folder.rmdir()
        if version:
            folder = self._packages / f'tensorrt_edgellm-{version}.dist-info'
            folder.mkdir()
            (folder / 'METADATA').write_text(
                f'Metadata-Version: 2.2\nName: tensorrt-edgellm\nVersion: {version}\n'
            )

    def tensorrt(self, module: str) -> None:
        """Have TensorRT's module say this."""
        (self._packages / 'tensorrt.py').write_text(module)

    def behave(self, **behaviour: object) -> None:
        """Say what the builder does from now on."""
        (self.folder / 'behaviour.json').write_text(json.dumps(behaviour))

    @property
    def runs(self) -> int:
        """How often the builder was started."""
        path = self.folder / 'runs'
        return len(path.read_text()) if path.exists() else 0

    @property
    def builder_runs(self) -> bool:
        """Whether the builder that was started last is still there."""
        pid = int((self.folder / 'pid').read_text())
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        # A process that has ended and that nobody has asked about is there no more.
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'

    def _program(self, name: str, text: str) -> None:
        path = self.folder / 'bin' / name
        path.write_text(text.format(python=self.folder / 'bin' / 'python', size=SIZE))
        path.chmod(0o755)


def write_checkpoint(folder: Path) -> Path:
    """Write a folder that looks like a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.json').write_text('{"model_type": "nemotron_h"}')
    (folder / 'tokenizer.json').write_text('{}')
    (folder / 'model.safetensors').write_bytes(b'\0' * 64)
    return folder
