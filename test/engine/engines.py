"""The engines that the conformance suite is held against.

To add one: write a maker, and a line in ``SUBJECTS``. A maker returns a :class:`Rig` with
an engine that is not open yet, around one of two models:

* ``talker`` talks in words until it is cut off;
* ``caller`` answers soon, with tool calls or with words.

What a rig leaves None does not apply to its engine, and is shown so in the table.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from asking import asked
from leaning_model import write_leaning, write_tiny

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.protocol import ChatRequest, Engine
from nemotron_ros.engine.scripted import ScriptedEngine
from nemotron_ros.engine.transformers_engine import TransformersEngine

Model = Literal['talker', 'caller']
CONTEXT = 1 << 16


class Unavailable(Exception):
    """The engine can't run on this machine; the message says why."""


@dataclass(frozen=True)
class Turn:
    """What a model that can be told what to say says next."""

    text: str = ''
    reasoning: str = ''
    calls: tuple[ToolCall, ...] = ()
    ends: str = 'stop'
    wait_s: float = 0.0
    """How long nothing comes before the first word."""


@dataclass
class Rig:
    """An engine, and what the suite may do to it.

    ``say`` decides what the model says from now on; ``fail`` makes its server misbehave, see
    ``FAULTS`` of ``server.py``; ``kill`` ends its process. ``long_prompt`` takes it at least a
    second to read, ``endless`` is answered by the talker for many seconds.
    """

    engine: Engine
    say: Callable[[Turn], None] | None = None
    fail: Callable[[str], None] | None = None
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
        counts_tokens=False,
        thinks=False,
        is_held=False,
        knows_its_context=False,
    )


def llama_cpp(workshop: Workshop, model: Model) -> Rig:
    """The embedded engine, its child process and all."""
    engine = LlamaCppEngine(workshop.gguf(model), CONTEXT)
    return Rig(
        engine,
        kill=lambda: _kill(engine.pid),
        long_prompt=asked('kitchen ' * 4000),
        pids=lambda: [engine.pid] if engine.pid else [],
    )


def transformers(workshop: Workshop, model: Model) -> Rig:
    """The engine in this process, on the CPU."""
    try:
        import llguidance  # noqa: F401
        import tiny_nemotron_h
    except ImportError as error:
        raise Unavailable(str(error)) from error
    folder = workshop.shared / f'{model}-h'
    if not folder.exists():
        if model == 'talker':
            tiny_nemotron_h.write(folder, never=('<tool_call>', '<|im_end|>'))
        else:
            tiny_nemotron_h.write(folder, seed=6, often=('<tool_call>', '<|im_end|>'))
    return Rig(
        TransformersEngine(str(folder), CONTEXT, batch_tokens=128),
        long_prompt=asked('kitchen ' * 4000),
    )


def _kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


SUBJECTS: dict[str, Maker] = {
    'scripted': scripted,
    'llama_cpp': llama_cpp,
    'transformers': transformers,
}
