"""The engines that the conformance suite is held against.

To add one: write a maker, and a line in ``SUBJECTS``. A maker returns a :class:`Rig` with
an engine that is not open yet, around one of two models:

* ``talker`` talks in words until it is cut off;
* ``caller`` answers soon, with tool calls or with words.

What a rig leaves None does not apply to its engine, and is shown so in the table.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import edge_llm_layer
import pytest
from asking import asked
from leaning_model import write_leaning, write_tiny
from server import CALLER, TALKER, Script, ScriptedServer

from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.device.profile import load_profile
from nemotron_ros.engine.dialects import DIALECTS
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.openai_engine import OpenAIEngine
from nemotron_ros.engine.protocol import ChatRequest, Engine
from nemotron_ros.engine.scripted import ScriptedEngine
from nemotron_ros.engine.tensorrt_llm_engine import TensorRtLlmEngine
from nemotron_ros.engine.transformers_engine import TransformersEngine

Model = Literal['talker', 'caller']
CONTEXT = 1 << 16
DEVICES = Path(__file__).resolve().parents[2] / 'config' / 'devices'
IDLE_S = 1.0
"""How long a server that is told what to do may be silent."""


class Unavailable(Exception):
    """The engine can't run on this machine; the message says why."""


@dataclass
class Rig:
    """An engine, and what the suite may do to it.

    ``script`` decides what the model says and how its server misbehaves; ``kill`` ends its
    process; ``spoil`` makes the next ``open`` fail. ``long_prompt`` takes it at least a second
    to read, ``endless`` is answered by the talker for many seconds.
    """

    engine: Engine
    script: Script | None = None
    spoil: Callable[[], None] | None = None
    kill: Callable[[], None] | None = None
    long_prompt: ChatRequest | None = None
    endless: ChatRequest = field(
        default_factory=lambda: asked('talk', max_tokens=30_000, temperature=1.0)
    )
    counts_tokens: bool = True
    """It keeps to ``max_tokens`` and tells what it has counted."""
    thinks: bool = True
    """Thinking can be switched."""
    is_held: bool = True
    """The model can't write a call that breaks its schema, ranges apart."""
    knows_its_context: bool = True
    """A prompt that is too long is refused."""
    pids: Callable[[], list[int]] = list
    """The processes that it has started."""
    put_away: Callable[[], None] = lambda: None
    """Frees what is around the engine; called after ``engine.close()``."""


@dataclass(frozen=True)
class Workshop:
    """What a maker may use: an empty folder of its own, and one shared by the whole run."""

    folder: Path
    shared: Path

    def gguf(self, model: Model) -> Path:
        """Return the file of a tiny model of noise that leans as it should."""
        path = self.shared / f'{model}.gguf'
        if not path.exists():
            tiny = self.shared / 'tiny.gguf'
            if not tiny.exists():
                write_tiny(tiny)
            special = ('<tool_call>', '<|im_end|>')
            if model == 'talker':
                write_leaning(tiny, path, never=special)
            else:
                write_leaning(tiny, path, often=special)
        return path

    def own_gguf(self, model: Model) -> Path:
        """Return a file of that model which the maker may spoil."""
        return Path(shutil.copy(self.gguf(model), self.folder / f'{model}.gguf'))


Maker = Callable[[Workshop, Model], Rig]


def scripted(workshop: Workshop, model: Model) -> Rig:
    """Replies from a file."""
    path = workshop.folder / 'script.yaml'
    if model == 'talker':
        path.write_text(f'- text: "{"word " * 2000}"\n  delay_s: 60\n')
    else:
        path.write_text(
            '- calls: [{name: drive, arguments: {direction: forward, distance_m: 1.0}}]\n'
            '  text: I will.\n'
        )
    return Rig(
        ScriptedEngine(path),
        spoil=path.unlink,
        counts_tokens=False,
        thinks=False,
        is_held=False,
        knows_its_context=False,
    )


def llama_cpp(workshop: Workshop, model: Model) -> Rig:
    """The embedded engine, its child process and all."""
    path = workshop.own_gguf(model)
    engine = LlamaCppEngine(path, CONTEXT)
    return Rig(
        engine,
        spoil=lambda: path.write_bytes(path.read_bytes()[:-1000]),
        kill=lambda: _kill(engine.pid),
        long_prompt=asked('kitchen ' * 4000),
        pids=lambda: [engine.pid] if engine.pid else [],
    )


def transformers(workshop: Workshop, model: Model) -> Rig:
    """The engine in this process, on the CPU."""
    folder = shutil.copytree(_checkpoint(workshop, model), workshop.folder / 'model')
    weights = folder / 'model.safetensors'
    return Rig(
        TransformersEngine(str(folder), CONTEXT, batch_tokens=128),
        spoil=lambda: weights.write_bytes(weights.read_bytes()[:-1000]),
        long_prompt=asked('kitchen ' * 4000),
    )


def tensorrt_llm(workshop: Workshop, model: Model) -> Rig:
    """TensorRT-LLM in this process, or rather a stand-in that knows the names it has."""
    folder = _checkpoint(workshop, model)
    import fake_tensorrt_llm

    runtime = fake_tensorrt_llm.Runtime(token_s=0.001)
    special = ('<tool_call>', '<|im_end|>')
    if model == 'talker':
        runtime.never = special
    else:
        runtime.often = special
    patch = pytest.MonkeyPatch()
    fake_tensorrt_llm.install(patch, runtime)

    def spoil() -> None:
        runtime.load_error = RuntimeError('CUDA error: no kernel image is available')

    return Rig(
        TensorRtLlmEngine(str(folder), CONTEXT, max_batch_size=2),
        spoil=spoil,
        put_away=patch.undo,
    )


def _checkpoint(workshop: Workshop, model: Model) -> Path:
    """Return the folder of a tiny model of noise that leans as it should."""
    try:
        import llguidance  # noqa: F401
        import tiny_nemotron_h
    except ImportError as error:
        raise Unavailable(str(error)) from error
    folder = workshop.shared / f'{model}-h'
    if not folder.exists():
        special = ('<tool_call>', '<|im_end|>')
        if model == 'talker':
            tiny_nemotron_h.write(folder, never=special)
        else:
            tiny_nemotron_h.write(folder, seed=6, often=special)
    return folder


def llama_server(workshop: Workshop, model: Model) -> Rig:
    """The server of llama.cpp itself, started as any server is, with its own command line."""
    path = workshop.own_gguf(model)
    program = Path(__file__).with_name('llama_server.py')
    command = (sys.executable, str(program), '--host', '127.0.0.1', '--port', '{port}')
    command += ('--model', str(path), '--ctx-size', str(CONTEXT))
    engine = OpenAIEngine(DIALECTS['llama_server'], server_command=command, start_timeout_s=60.0)
    return Rig(
        engine,
        spoil=lambda: path.write_bytes(path.read_bytes()[:-1000]),
        kill=lambda: _kill(_child_of(engine.pid)),
        long_prompt=asked('kitchen ' * 4000),
        pids=lambda: [engine.pid, _child_of(engine.pid)] if engine.pid else [],
    )


def dialect(name: str) -> Maker:
    """Return the maker of an engine that speaks a dialect to a server which is told what to do."""

    def make(_workshop: Workshop, model: Model) -> Rig:
        server = ScriptedServer(name)
        server.script.turn = TALKER if model == 'talker' else CALLER
        engine = OpenAIEngine(
            DIALECTS[name], server.url, context_tokens=CONTEXT, idle_timeout_s=IDLE_S
        )

        def spoil() -> None:
            server.script.fault = 'a web page'

        return Rig(
            engine,
            script=server.script,
            spoil=spoil,
            long_prompt=asked('kitchen ' * 4000),
            thinks=name != 'openai',
            is_held=False,
            put_away=server.stop,
        )

    return make


def edge_llm(workshop: Workshop, model: Model) -> Rig:
    """NVIDIA's own server layer, started by Thor's profile; only the model is stood in for."""
    try:
        layer = edge_llm_layer.layer()
    except edge_llm_layer.NotToBeHad as error:
        raise Unavailable(str(error)) from error
    persona: dict[str, object] = {'reasoning': 'I have to think.', 'slow_words': 1000}
    if model == 'talker':
        persona |= {'text': 'word ', 'repeat': 100_000, 'pause_s': 0.002}
    else:
        persona |= {'text': 'Hello.', 'call': NemotronXml().print_calls(CALLER.calls)}
    path = workshop.folder / 'persona.json'
    path.write_text(json.dumps(persona))
    profile = load_profile(DEVICES / 'jetson_thor.yaml')
    _, *arguments = profile.command(str(workshop.folder), workshop.folder)
    command = (str(layer.python), '-I', str(edge_llm_layer.STUB), *arguments)
    engine = OpenAIEngine(DIALECTS['edge_llm'], server_command=command, start_timeout_s=60.0)
    return Rig(
        engine,
        spoil=lambda: path.write_text('{'),
        kill=lambda: _kill(_child_of(engine.pid)),
        long_prompt=asked('kitchen ' * 4000),
        is_held=False,
        pids=lambda: [engine.pid, _child_of(engine.pid)] if engine.pid else [],
    )


def _child_of(pid: int | None) -> int:
    assert pid is not None
    (child,) = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return int(child)


def _kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


TOLD: dict[str, Maker] = {f'{name} (scripted)': dialect(name) for name in DIALECTS}
"""Those before a server that does what it is told."""
SUBJECTS: dict[str, Maker] = {
    'scripted': scripted,
    'llama_cpp': llama_cpp,
    'llama_server': llama_server,
    **TOLD,
    'edge_llm': edge_llm,
    'transformers': transformers,
    'tensorrt_llm (stand-in)': tensorrt_llm,
}
