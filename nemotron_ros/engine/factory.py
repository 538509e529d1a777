"""Makes the engine that a robot's parameters name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nemotron_ros.bringup import config_path
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.model_files import fetch, load_catalogue
from nemotron_ros.engine.protocol import Engine, EngineError, EngineState, Progress
from nemotron_ros.engine.scripted import ScriptedEngine
