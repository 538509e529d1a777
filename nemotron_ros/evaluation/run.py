"""Runs scenarios: a real agent, engine, tool file, validator and guard, in a scenario's world."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from nemotron_ros.agent import Agent, Command, Limits, Sampling
from nemotron_ros.cancel import CancelToken
from nemotron_ros.engine.protocol import (
    ChatRequest,
    ContextFull,
    Delta,
    Engine,
    ModelInfo,
    OutputError,
    Progress,
)
from nemotron_ros.evaluation.scenario import Scenario
from nemotron_ros.evaluation.score import Judge, Score
from nemotron_ros.evaluation.split import part_of
from nemotron_ros.evaluation.world import dispatcher
from nemotron_ros.events import Outcome
from nemotron_ros.tools.model import ToolFile

SESSION = 'evaluation'


@dataclass(frozen=True)
class Item:
    """One way to say one thing."""

    scenario: Scenario
    number: int

    @property
    def key(self) -> str:
        """Return its name, the same in every run: that of its scenario, and which way."""
        return f'{self.scenario.id}/{self.number}'

    @property
    def say(self) -> tuple[str, ...]:
        """Return what is said; the last turn is judged."""
        return self.scenario.say[self.number - 1]


@dataclass(frozen=True)
class Conduct:
    """How the agent is set up, as a node would by its parameters.

    Each of ``runs`` has the next seed. ``timeout_s`` is for one command.
    """

    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)
    ask_user: bool = False
    runs: int = 1
    timeout_s: float = 120.0


@dataclass(frozen=True)
class Result:
    """What came of an item in one run. ``unreadable`` turns were neither an answer nor a call."""

    item: Item
    run: int
    outcome: Outcome
    score: Score
    turns: int
    unreadable: int


def items_of(scenarios: Iterable[Scenario]) -> list[Item]:
    """Return every way in which everything is said."""
    return [
        Item(scenario, number)
        for scenario in scenarios
        for number in range(1, len(scenario.say) + 1)
    ]


def is_asked(item: Item, part: str, tags: Sequence[str]) -> bool:
    """Whether an item is of a part, or of ``all``, and has one of the tags, if there are any."""
    in_part = part in ('all', part_of(item.scenario.id))
    return in_part and (not tags or not set(tags).isdisjoint(item.scenario.tags))


def run_items(
    items: Sequence[Item],
    tool_files: Mapping[str, ToolFile],
    make_engine: Callable[[], Engine],
    conduct: Conduct,
    loading: Progress,
    told: Callable[[Result], None],
) -> ModelInfo:
    """Run items robot by robot, as often as ``conduct`` says.

    The engine is opened once for each robot, so that it has that robot's prompt read.

    :param items: at least one.
    :param told: gets each result as soon as it is there.
    :raise EngineError: if an engine can't be opened. One that fails later fails its items.
    """
    ordered = sorted(items, key=lambda item: item.scenario.robot)
    for robot, group in groupby(ordered, key=lambda item: item.scenario.robot):
        engine = _Counted(make_engine())
        try:
            bench = _Bench(engine, tool_files[robot], conduct)
            model = engine.open(bench.agent({}, 0).warm_request(), loading)
            for item in group:
                for run in range(conduct.runs):
                    told(bench.run(item, run))
        finally:
            engine.close()
    return model


class _Bench:
    """Where the items of one robot are run, each by an agent that remembers nothing."""

    def __init__(self, engine: _Counted, tool_file: ToolFile, conduct: Conduct) -> None:
        self._engine = engine
        self._file = tool_file
        self._conduct = conduct
        self._judge = Judge(tool_file)

    def agent(self, world: Mapping[str, object], run: int) -> Agent:
        sampling = self._conduct.sampling
        return Agent(
            self._engine,
            self._file,
            dispatcher(self._file, world),
            self._conduct.limits,
            replace(sampling, seed=sampling.seed + run),
            asking=self._conduct.ask_user,
        )

    def run(self, item: Item, run: int) -> Result:
        agent = self.agent(item.scenario.world, run)
        for number, words in enumerate(item.say, 1):
            self._engine.begin()
            command = Command(f'{item.key}/{number}', words, SESSION)
            outcome = agent.execute(
                command, CancelToken(self._conduct.timeout_s), lambda _event: None
            )
        score = self._judge.score(item.scenario.expected, outcome)
        return Result(item, run, outcome, score, self._engine.turns, self._engine.unreadable)


class _Counted:
    """An engine whose turns are counted, and those of them that can't be read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.turns = self.unreadable = 0

    def begin(self) -> None:
        self.turns = self.unreadable = 0

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        return self._engine.open(warm, progress)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        self.turns += 1
        try:
            yield from self._engine.stream(request, cancel)
        except ContextFull:
            raise
        except OutputError:
            self.unreadable += 1
            raise

    def close(self) -> None:
        self._engine.close()
