"""A conversation that outgrows the context of a real engine goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorder import ROBOT, Recorder, dispatcher

pytest.importorskip('xllamacpp', reason='xllamacpp, the embedded engine, is not installed')
pytest.importorskip('gguf', reason='gguf is not installed')

from leaning_model import write_leaning, write_tiny

from nemotron_ros.agent import Agent, Command, Limits
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.history import History
from nemotron_ros.engine import saved_prompt
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.events import Event, Phase

CONTEXT_TOKENS = 3072
WORDS = 'kitchen ' * 120


def test_the_oldest_commands_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_prompt, 'prompts_folder', lambda otherwise: tmp_path)
    tiny = write_tiny(tmp_path / 'tiny.gguf')
    quiet = write_leaning(
        tiny, tmp_path / 'quiet.gguf', often=('<|im_end|>',), never=('<tool_call>',)
    )
    engine = LlamaCppEngine(quiet, CONTEXT_TOKENS)
    history = History(max_commands=100, max_tokens=10**6)
    agent = Agent(engine, ROBOT, dispatcher(Recorder()), Limits(max_tokens=32), history=history)
    events: list[Event] = []
    try:
        engine.open(agent.warm_request(), lambda *_: None)
        for number in range(6):
            command = Command(str(number), f'{number} {WORDS}', 'session')
            outcome = agent.execute(command, CancelToken(30.0), events.append)
            # A tiny model may say nothing, or come to no end; its context must not be in the way.
            assert 'context' not in outcome.error
    finally:
        engine.close()
    asked = [event.detail for event in events if event.phase is Phase.PROMPTING]
    assert asked[0] is None
    assert {'left_out': 1} in asked
