"""The installed TensorRT Edge-LLM: which versions, and where its server keeps an engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nemotron_ros.device.profile import Profile
from nemotron_ros.engine.protocol import EngineError

INSIDE = Path(__file__).with_name('inside.py')
ASK_S = 120.0
"""How long it may take to answer: TensorRT is loaded for it."""


class ToolchainError(EngineError):
    """TensorRT Edge-LLM is not installed as it must be. The message says what to do."""


@dataclass(frozen=True)
class Toolchain:
    """What is installed in the environment.

    :param tensorrt: its version; empty where it can't be loaded, ``tensorrt_fault`` says why.
    :param engine_dir: where the server looks for the engine that was asked for.
    """

    edge_llm: str
    tensorrt: str
    engine_dir: str = ''
    tensorrt_fault: str = ''


def sizes(profile: Profile) -> dict[str, int]:
    """Return the sizes that an engine is built for, by the builder's names.

    The builder's own defaults (32, 96 and 1) serve nobody: all three are always given.
    """
    return {
        'max_input_len': profile.max_input_tokens,
        'max_kv_cache_capacity': profile.context_tokens,
        'max_batch_size': profile.max_batch_size,
    }


def program(profile: Profile, environment: str, name: str) -> Path:
    """Return a program of the environment.

    :raise ToolchainError: if it is not there.
    """
    path = Path(environment, 'bin', name)
    if not path.exists():
        raise ToolchainError(f'environment: {path} is not there; install it: {profile.install}')
    return path


def ask(profile: Profile, environment: str, checkpoint: Path | None, cache: Path) -> Toolchain:
    """Ask the environment for its versions, and for the engine's folder for a checkpoint.

    :param checkpoint: None asks for the versions only.
    :raise ToolchainError: if it can't answer, or has another version than the profile needs.
    """
    asked: Mapping[str, object] = {
        'checkpoint': str(checkpoint or ''),
        'cache': str(cache),
        'sizes': sizes(profile),
    }
    python = str(program(profile, environment, 'python'))
    toolchain = _run([python, '-I', str(INSIDE), json.dumps(asked)])
    if profile.needs.package != f'tensorrt-edgellm=={toolchain.edge_llm}':
        raise ToolchainError(
            f'environment: {environment} has tensorrt-edgellm {toolchain.edge_llm or "not at all"}'
            f', {profile.needs.package} is needed; install it: {profile.install}'
        )
    return toolchain


def _run(command: list[str]) -> Toolchain:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_S
        )
        if done.returncode == 0:
            return Toolchain(**json.loads(done.stdout.splitlines()[-1]))
        reason = (done.stderr.strip().splitlines() or [f'code {done.returncode}'])[-1]
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError, TypeError) as error:
        reason = str(error)
    raise ToolchainError(f'environment: {command[0]} does not answer: {reason}')
