"""Makes the engine that a robot's parameters name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.model_files import Catalogue, find
from nemotron_ros.engine.protocol import Engine, EngineError, EngineState
from nemotron_ros.engine.scripted import ScriptedEngine

ENGINES = ('llama_cpp', 'scripted')


@dataclass(frozen=True)
class EngineSettings:
    """What a robot's parameters say of its engine.

    ``model`` is a name of the catalogue or a path, ``script`` the path of a script;
    ``threads`` 0 leaves one core to the rest of the robot.
    """

    engine: str
    model: str = ''
    script: str = ''
    context_tokens: int = 4096
    threads: int = 0


def make_engine(
    settings: EngineSettings,
    catalogue: Catalogue,
    on_state: Callable[[EngineState, str], None],
) -> Engine:
    """Return an engine that is not open yet. Nothing is fetched: a robot starts without a net.

    :raise EngineError: if there is no such engine, or its model is not on disk.
    """
    if settings.engine == 'llama_cpp':
        return LlamaCppEngine(
            find(settings.model, catalogue),
            settings.context_tokens,
            settings.threads,
            on_state=on_state,
        )
    if settings.engine == 'scripted':
        return ScriptedEngine(Path(settings.script))
    raise EngineError(f'engine: expected {" or ".join(ENGINES)}, got {settings.engine!r}')
