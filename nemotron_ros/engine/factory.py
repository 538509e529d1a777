"""Makes the engine that a robot's parameters name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nemotron_ros.engine.dialects import DIALECTS
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.model_files import Catalogue, find
from nemotron_ros.engine.openai_engine import OpenAIEngine
from nemotron_ros.engine.protocol import Engine, EngineError, EngineState
from nemotron_ros.engine.scripted import ScriptedEngine

LOCAL_ENGINES = ('llama_cpp', 'transformers', 'tensorrt_llm', 'scripted')
ENGINES = (*LOCAL_ENGINES, *DIALECTS)


@dataclass(frozen=True)
class EngineSettings:
    """What a robot's parameters say of its engine.

    ``model`` is a name of the catalogue or a path for ``llama_cpp``, a folder for the other
    engines of this process, and the name that a server gives to it for the others; ``script``
    is the path of a script; ``threads`` 0 leaves one core to the rest of the robot.

    ``url`` is where a server is that somebody else runs; ``server_command`` starts one here,
    with ``{port}`` where its port goes. ``api_key_env`` is the name of the environment
    variable that holds a server's key. ``batch`` is how many requests it is set up to answer
    side by side.
    """

    engine: str
    model: str = ''
    script: str = ''
    context_tokens: int = 4096
    threads: int = 0
    url: str = ''
    api_key_env: str = ''
    server_command: tuple[str, ...] = ()
    batch: int = 1


def make_engine(
    settings: EngineSettings,
    catalogue: Catalogue,
    on_state: Callable[[EngineState, str], None],
) -> Engine:
    """Return an engine that is not open yet. Nothing is fetched: a robot starts without a net.

    :raise EngineError: if there is no such engine, its model is not on disk, or what is said
        of its server can't be right.
    """
    if settings.engine in DIALECTS:
        return _served(settings, on_state)
    if settings.engine in LOCAL_ENGINES and (settings.url or settings.server_command):
        name = 'url' if settings.url else 'server_command'
        raise EngineError(
            f'{name}: the engine {settings.engine} runs by itself; leave it empty, or choose '
            f'one of the servers: {", ".join(DIALECTS)}'
        )
    if settings.engine == 'llama_cpp':
        return LlamaCppEngine(
            find(settings.model, catalogue),
            settings.context_tokens,
            settings.threads,
            on_state=on_state,
        )
    # These two pull in what most robots do not have.
    if settings.engine == 'transformers':
        from nemotron_ros.engine.transformers_engine import TransformersEngine

        return TransformersEngine(
            settings.model, settings.context_tokens, threads=settings.threads
        )
    if settings.engine == 'tensorrt_llm':
        from nemotron_ros.engine.tensorrt_llm_engine import TensorRtLlmEngine

        return TensorRtLlmEngine(settings.model, settings.context_tokens)
    if settings.engine == 'scripted':
        return ScriptedEngine(Path(settings.script), settings.context_tokens)
    raise EngineError(f'engine: expected {" or ".join(ENGINES)}, got {settings.engine!r}')


def _served(
    settings: EngineSettings, on_state: Callable[[EngineState, str], None]
) -> OpenAIEngine:
    if not settings.url and not settings.server_command:
        raise EngineError(
            f'url: the engine {settings.engine} is a server; say where it is, or how it is '
            'started in server_command'
        )
    return OpenAIEngine(
        DIALECTS[settings.engine],
        settings.url,
        settings.model,
        api_key_env=settings.api_key_env,
        server_command=settings.server_command,
        context_tokens=settings.context_tokens,
        on_state=on_state,
    )
