"""The events of a real agent, and a view that has heard them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from recorder import ROBOT, Recorder, dispatcher

from nemotron_ros.agent import Agent, Command
from nemotron_ros.cancel import CancelToken
from nemotron_ros.engine.scripted import ScriptedEngine
from nemotron_ros.events import Event
from nemotron_ros.trace.goal import Goal, with_goal
from nemotron_ros.watch.news import News
from nemotron_ros.watch.view import View, after

SCRIPT = """\
- when: please drive
  calls: [{name: drive, arguments: {distance_m: 1.5}}]
- when: too far
  calls: [{name: drive, arguments: {distance_m: 50}}]
- when: '"status"'
  text: Done.
- when: hello
  reasoning: I am greeted.
  text: Hello there.
"""


@pytest.fixture
def tell(tmp_path: Path) -> Callable[..., list[Event]]:
    """Give a function that has an agent obey words, and returns the events."""
    script = tmp_path / 'script.yaml'
    script.write_text(SCRIPT)
    engine = ScriptedEngine(str(script))
    agent = Agent(engine, ROBOT, dispatcher(Recorder()))
    engine.open(agent.warm_request(), lambda fraction, text: None)

    def tell(words: str, name: str = 'one', allowed: tuple[str, ...] = ('*',)) -> list[Event]:
        events: list[Event] = []
        agent.execute(Command(name, words, '', allowed), CancelToken(10.0), events.append)
        return [with_goal(event, Goal(words, allowed)) for event in events]

    return tell


@pytest.fixture
def heard() -> Callable[..., View]:
    """Give a function that returns what is known once things are heard, at one time."""

    def heard(*news: News, now_s: float = 100.0, view: View | None = None) -> View:
        view = view or View('nemotron')
        for item in news:
            view = after(view, item, now_s)
        return view

    return heard
