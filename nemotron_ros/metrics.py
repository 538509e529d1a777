"""How a node is: counted from the events of its commands, told to diagnostics and Prometheus."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from nemotron_ros.engine.protocol import EngineState
from nemotron_ros.events import Event, Phase
from nemotron_ros.trace.tapped_engine import TurnCost
from nemotron_ros.trace.verdict import Decision, verdict_of

LOOPBACK = '127.0.0.1'
ASK_S = 5.0
"""How long a client is given to say what it wants."""
_BAD = frozenset({'NOT_DONE', 'TIMED_OUT', 'ENGINE_FAILED', 'REJECTED'})
_BYTES_PER_PAGE = os.sysconf('SC_PAGE_SIZE')


class MetricsError(Exception):
    """The metrics can't be served. The message says what to do."""


@dataclass(frozen=True)
class Counts:
    """What the events add up to since the node began.

    ``refused`` counts calls by what refused them, such as ``denied by rate``. ``last_error`` is
    why the last command that did not succeed did not. The tokens are those of the engine;
    ``tokens_per_s`` is how fast it wrote in the last turn, 0 if that is not known.
    """

    running: int = 0
    queued: int = 0
    commands: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    last_status: str = ''
    last_error: str = ''
    turns: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    tokens_per_s: float = 0.0
    first_token_s: float = 0.0


@dataclass(frozen=True)
class TraceState:
    """How the trace is: off where ``folder`` is empty; ``trouble`` says why it isn't written."""

    folder: str = ''
    trouble: str = ''
    written: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Health:
    """How the node is now. ``latched`` says why nothing may move; empty if it may.

    ``rss_bytes`` is the memory of the node and of the processes that it has started.
    """

    active: bool
    engine_state: EngineState
    engine_text: str
    engine: str
    model: str
    context_tokens: int
    latched: str
    rss_bytes: int
    counts: Counts
    trace: TraceState
    metrics_trouble: str = ''


class Tally:
    """Counts events. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phases: dict[str, Phase] = {}
        self._commands: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._last_status = ''
        self._last_error = ''
        self._turns = 0
        self._tokens: Counter[str] = Counter()
        self._cost: TurnCost | None = None

    def note(self, event: Event) -> None:
        """Count an event."""
        with self._lock:
            if event.phase is Phase.RESULT and event.record is not None:
                result = event.record.result
                self._calls[result.status.name] += 1
                verdict = verdict_of(result)
                if verdict.decision in (Decision.DENIED, Decision.INVALID):
                    self._refused[str(verdict)] += 1
            if event.phase is Phase.DONE:
                self._end(event)
            elif event.phase is Phase.ACCEPTED or event.command_id in self._phases:
                self._phases[event.command_id] = event.phase

    def note_cost(self, cost: TurnCost) -> None:
        """Count a turn of the engine."""
        with self._lock:
            self._turns += 1
            self._tokens['prompt'] += cost.prompt_tokens
            self._tokens['cached'] += cost.cached_tokens
            self._tokens['completion'] += cost.completion_tokens
            self._cost = cost

    def counts(self) -> Counts:
        """Return what was counted up to now."""
        with self._lock:
            queued = sum(phase is Phase.QUEUED for phase in self._phases.values())
            cost = self._cost
            return Counts(
                len(self._phases) - queued,
                queued,
                dict(self._commands),
                dict(self._calls),
                dict(self._refused),
                self._last_status,
                self._last_error,
                self._turns,
                self._tokens['prompt'],
                self._tokens['cached'],
                self._tokens['completion'],
                0.0 if cost is None else cost.tokens_per_s,
                0.0 if cost is None else cost.first_s,
            )

    def _end(self, event: Event) -> None:
        self._phases.pop(event.command_id, None)
        detail = event.detail if isinstance(event.detail, Mapping) else {}
        self._last_status = str(detail.get('status', 'UNKNOWN'))
        self._commands[self._last_status] += 1
        if self._last_status in _BAD:
            self._last_error = str(detail.get('error', ''))[:500]


def rss_bytes(proc: Path = Path('/proc')) -> int:
    """Return the memory that this process and its children have in use; 0 if it isn't told."""
    return sum(_resident(proc / pid) for pid in ('self', *_children(proc)))


def _children(proc: Path) -> list[str]:
    found: list[str] = []
    for file in (proc / 'self' / 'task').glob('*/children'):
        with suppress(OSError):  # a thread that has just ended
            found += file.read_text().split()
    return found


def _resident(process: Path) -> int:
    try:
        return int((process / 'statm').read_text().split()[1]) * _BYTES_PER_PAGE
    except (OSError, IndexError, ValueError):
        return 0


class MetricsServer:
    """Serves a node's health to Prometheus at ``http://127.0.0.1:PORT/metrics``.

    :raise MetricsError: if the package is not installed, or the port can't be had.
    """

    def __init__(self, port: int, health: Callable[[], Health]) -> None:
        try:
            from prometheus_client import CollectorRegistry, make_wsgi_app
        except ImportError:
            raise MetricsError(
                'metrics_port: needs the package prometheus-client: '
                'pip install prometheus-client; or set metrics_port to 0'
            ) from None
        registry = CollectorRegistry()
        collector: Any = _Collector(health)  # older releases have no type for it
        registry.register(collector)
        try:
            self._server = make_server(
                LOOPBACK, port, make_wsgi_app(registry), _Server, _SilentHandler
            )
        except OSError as error:
            raise MetricsError(
                f'metrics_port: can not listen at {LOOPBACK}:{port}: {error.strerror or error}; '
                'choose another port, or 0 for none'
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _SilentHandler(WSGIRequestHandler):
    timeout = ASK_S

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Collector:
    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    def collect(self) -> Iterator[Any]:
        return families(self._health())


def families(health: Health) -> Iterator[Any]:
    """Yield the metrics, as prometheus-client has them."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    counts = health.counts
    told = {'engine': health.engine, 'model': health.model}
    yield InfoMetricFamily('nemotron_model', 'What the engine has loaded.', told)
    state = GaugeMetricFamily(
        'nemotron_engine_state', 'The state it is in is 1.', labels=['state']
    )
    for value in EngineState:
        state.add_metric([value.name.lower()], float(value is health.engine_state))
    yield state
    for name, help_text, gauge in (
        ('nemotron_active', 'Whether the node takes commands.', float(health.active)),
        ('nemotron_stop_latched', 'Whether a stop is latched.', float(bool(health.latched))),
        ('nemotron_commands_running', 'Commands that run.', counts.running),
        ('nemotron_commands_queued', 'Commands that wait.', counts.queued),
        ('nemotron_tokens_per_second', 'How fast the last turn was written.', counts.tokens_per_s),
        ('nemotron_first_token_seconds', 'Wait for the last turn to begin.', counts.first_token_s),
        ('nemotron_resident_memory_bytes', 'Node and children.', health.rss_bytes),
        ('nemotron_trace_trouble', 'Whether the trace fails.', float(bool(health.trace.trouble))),
    ):
        yield GaugeMetricFamily(name, help_text, float(gauge))
    for name, help_text, counter in (
        ('nemotron_turns', 'Turns of the model.', counts.turns),
        ('nemotron_prompt_tokens', 'Tokens of prompts.', counts.prompt_tokens),
        ('nemotron_cached_tokens', 'Those that the engine had kept.', counts.cached_tokens),
        ('nemotron_completion_tokens', 'Tokens generated.', counts.completion_tokens),
        ('nemotron_trace_events', 'Events in the trace.', health.trace.written),
        ('nemotron_trace_lost_events', 'Events that are not in it.', health.trace.lost),
    ):
        yield CounterMetricFamily(name, help_text, counter)
    for name, help_text, label, values in (
        ('nemotron_commands', 'Commands by how they ended.', 'status', counts.commands),
        ('nemotron_calls', 'Tool calls by how they ended.', 'status', counts.calls),
        ('nemotron_refused_calls', 'Calls by what refused them.', 'rule', counts.refused),
    ):
        family = CounterMetricFamily(name, help_text, labels=[label])
        for key, number in sorted(values.items()):
            family.add_metric([key.lower()], number)
        yield family
