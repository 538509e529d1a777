"""Everyone who hears what happens in a node beside its clients.

Those are the counts, the diagnostics, the markers and the trace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rclpy.node import Node

from nemotron_ros.diagnostics import Diagnostics
from nemotron_ros.engine.factory import EngineSettings
from nemotron_ros.engine.model_files import Catalogue, find
from nemotron_ros.engine.protocol import (
    ChatRequest,
    Engine,
    EngineError,
    EngineState,
    ModelInfo,
)
from nemotron_ros.events import Event, Phase
from nemotron_ros.markers.publisher import Markers
from nemotron_ros.metrics import (
    Health,
    MetricsError,
    MetricsServer,
    Tally,
    TraceState,
    rss_bytes,
)
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.trace.folder import Keep
from nemotron_ros.trace.json_lines import JsonLines
from nemotron_ros.trace.mcap_file import McapFile, is_there
from nemotron_ros.trace.record import Origin
from nemotron_ros.trace.recorder import MakeSink, Recorder
from nemotron_ros.trace.tapped_engine import TappedEngine, TurnCost

CLOSED = (EngineState.CLOSED, 'no model is loaded', ModelInfo('', '', 0))


@dataclass(frozen=True)
class Watching:
    """What is kept and served. An empty folder keeps no trace, port 0 serves no metrics."""

    trace_folder: str = ''
    trace_max_mb: int = 512
    trace_max_days: int = 30
    metrics_port: int = 0


class Monitor:
    """Hears the events of a node. Nothing in it delays or ends a command.

    :param active: whether the node takes commands.
    :param latched: why nothing may move; empty if it may.
    """

    def __init__(self, node: Node, active: Callable[[], bool], latched: Callable[[], str]) -> None:
        self._node = node
        self._active = active
        self._latched = latched
        self._tally = Tally()
        self._engine = CLOSED
        self._tapped: TappedEngine | None = None
        self._recorder: Recorder | None = None
        self._begin_trace: Callable[[ToolFile], Recorder] | None = None
        self._server: MetricsServer | None = None
        self._folder = ''
        self._metrics_trouble = ''
        self._asking = threading.local()
        self._markers = Markers(node, latched)
        Diagnostics(node, self.health)

    def health(self) -> Health:
        """Return how the node is now; never waits."""
        state, text, model = self._engine
        recorder = self._recorder
        trace = TraceState()
        if recorder is not None:
            trace = TraceState(self._folder, recorder.trouble, recorder.written, recorder.lost)
        return Health(
            self._active(),
            state,
            text,
            model.engine,
            model.model,
            model.context_tokens,
            self._latched(),
            rss_bytes(),
            self._tally.counts(),
            trace,
            self._metrics_trouble,
        )

    def engine(self, state: EngineState, text: str, model: ModelInfo) -> None:
        """Take note of the engine's state."""
        self._engine = (state, text, model)

    def note(self, event: Event) -> None:
        """Take note of an event; never waits, never raises."""
        self._tally.note(event)
        self._markers.note(event)
        if event.phase is Phase.PROMPTING:
            self._asking.command_id = event.command_id
        recorder = self._recorder
        if recorder is not None:
            recorder.note(event, self._node.get_clock().now().nanoseconds)

    def tapped(self, engine: Engine) -> Engine:
        """Return the engine, so that what it is asked and what that costs is noted."""
        self._tapped = TappedEngine(engine, self._add, self._note_cost)
        return self._tapped

    def open(
        self,
        watching: Watching,
        settings: EngineSettings,
        catalogue: Catalogue,
        tool_file: ToolFile,
        model: ModelInfo,
    ) -> None:
        """Begin the trace, serve the metrics, as far as they are wanted, and show the world.

        What does not work is told, in the log and in the diagnostics, and left out: a robot
        does not stand still for want of a record.
        """
        self.close()
        self._markers.show(tool_file)
        if watching.trace_folder:
            self._folder = str(Path(watching.trace_folder).expanduser())
            model_file, sinks = _model_file(settings, catalogue), self._sinks()
            keep = Keep(watching.trace_max_mb << 20, watching.trace_max_days * 86400.0)

            def begin(tool_file: ToolFile) -> Recorder:
                origin = Origin(
                    node=self._node.get_fully_qualified_name(),
                    robot=tool_file.robot,
                    engine=model.engine,
                    model=model.model,
                    context_tokens=model.context_tokens,
                    tool_file=str(Path(tool_file.path).absolute()),
                    model_file=model_file,
                )
                return Recorder(Path(self._folder), origin, sinks, keep, self._tell_trouble)

            self._begin_trace = begin
            self._recorder = begin(tool_file)
        if watching.metrics_port:
            try:
                self._server = MetricsServer(watching.metrics_port, self.health)
            except MetricsError as error:
                self._metrics_trouble = str(error)
                self._node.get_logger().error(str(error))

    def take_tools(self, tool_file: ToolFile, warm: ChatRequest) -> None:
        """Begin the trace of another tool file, and show its world; what runs goes on in it.

        :param warm: what every command asks from now on.
        """
        self._markers.show(tool_file)
        if self._tapped is not None:
            self._tapped.opening = warm.messages
        before, begin = self._recorder, self._begin_trace
        if before is not None and begin is not None:
            self._recorder = begin(tool_file)
            before.close()

    def close(self) -> None:
        """End the trace, serve no more metrics, and show no robot's world."""
        self._markers.show(None)
        recorder, self._recorder = self._recorder, None
        if recorder is not None and not recorder.close():
            self._node.get_logger().error('the trace could not be ended in time')
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._folder = self._metrics_trouble = ''
        self._engine, self._begin_trace = CLOSED, None

    def _sinks(self) -> tuple[MakeSink, ...]:
        if is_there():
            return _json_lines, _mcap
        self._node.get_logger().warning(
            'trace_folder: JSON lines only; MCAP needs the package mcap: pip install mcap'
        )
        return (_json_lines,)

    def _note_cost(self, cost: TurnCost) -> None:
        self._tally.note_cost(cost)
        self._add({'cost': asdict(cost)})

    def _add(self, detail: Mapping[str, Any]) -> None:
        # The thread that has told of a turn is the one that asks the engine for it.
        command_id = getattr(self._asking, 'command_id', '')
        recorder = self._recorder
        if recorder is not None and command_id:
            recorder.add(command_id, detail)

    def _tell_trouble(self, trouble: str) -> None:
        self._node.get_logger().error(f'trace: {trouble}; commands go on without it')


def _json_lines(stem: Path, origin: Origin) -> JsonLines:
    return JsonLines(stem.with_suffix('.jsonl'), origin)


def _mcap(stem: Path, origin: Origin) -> McapFile:
    return McapFile(stem.with_suffix('.mcap'), origin)


def _model_file(settings: EngineSettings, catalogue: Catalogue) -> str:
    """Return the path of the model file; empty where it is a folder or a server's own."""
    path = Path(settings.script)
    if settings.engine != 'scripted':
        path = Path(settings.model)
        if settings.model in catalogue:
            with suppress(EngineError):
                path = find(settings.model, catalogue)
    return str(path.absolute()) if path.is_file() else ''
