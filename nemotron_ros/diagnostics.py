"""A node's health on ``/diagnostics``, once a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from nemotron_ros.engine.protocol import EngineState
from nemotron_ros.metrics import Health

PERIOD_S = 1.0
_OK, _WARN, _ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_LEVELS = {
    EngineState.READY: _OK,
    EngineState.FAILED: _ERROR,
    EngineState.CLOSED: _WARN,
    EngineState.LOADING: _WARN,
    EngineState.RESTARTING: _WARN,
}


class Diagnostics:
    """Publishes a node's health while the node is spun.

    :param health: is called once a second, by the thread that spins; it must not wait.
    """

    def __init__(self, node: Node, health: Callable[[], Health]) -> None:
        self._node = node
        self._health = health
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # By no robot's clock: one that stands still is what somebody may want to be told of.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(PERIOD_S, self._publish, clock=steady)

    def _publish(self) -> None:
        message = DiagnosticArray(status=statuses(self._health(), self._node))
        message.header.stamp = self._node.get_clock().now().to_msg()
        try:
            self._publisher.publish(message)
        except RuntimeError as error:  # the next one comes soon
            self._node.get_logger().error(f'diagnostics not told: {error}')


def statuses(health: Health, node: Node) -> list[DiagnosticStatus]:
    """Return what is told of each part."""
    name = node.get_fully_qualified_name().lstrip('/')

    def status(
        part: str, level: bytes, message: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return DiagnosticStatus(
            level=level, name=f'{name}: {part}', message=message, hardware_id=name, values=pairs
        )

    counts, trace = health.counts, health.trace
    state = health.engine_state
    engine = status(
        'engine',
        _LEVELS[state],
        health.engine_text or state.name.lower(),
        {
            'state': state.name.lower(),
            'engine': health.engine,
            'model': health.model,
            'context_tokens': health.context_tokens,
            'tokens_per_s': f'{counts.tokens_per_s:.1f}',
            'first_token_s': f'{counts.first_token_s:.3f}',
            'prompt_tokens': counts.prompt_tokens,
            'cached_tokens': counts.cached_tokens,
            'completion_tokens': counts.completion_tokens,
            'memory_mb': round(health.rss_bytes / 1e6),
        },
    )
    failed = counts.last_status == 'ENGINE_FAILED'
    commands = status(
        'commands',
        _WARN if failed else _OK,
        counts.last_error if failed else f'{counts.running} running, {counts.queued} queued',
        {
            'active': str(health.active).lower(),
            'running': counts.running,
            'queued': counts.queued,
            **{f'commands {key.lower()}': n for key, n in sorted(counts.commands.items())},
            **{f'calls {key.lower()}': n for key, n in sorted(counts.calls.items())},
            **{f'refused: {key}': n for key, n in sorted(counts.refused.items())},
            'rejected_calls': sum(counts.refused.values()),
            'last_error': counts.last_error,
        },
    )
    stop = status(
        'stop',
        _WARN if health.latched else _OK,
        f'nothing may move: {health.latched}' if health.latched else 'not latched',
        {'latched': str(bool(health.latched)).lower(), 'why': health.latched},
    )
    record = status(
        'trace',
        _WARN if trace.trouble or health.metrics_trouble else _OK,
        trace.trouble or health.metrics_trouble or ('written' if trace.folder else 'off'),
        {
            'folder': trace.folder,
            'events_written': trace.written,
            'events_lost': trace.lost,
            'trouble': trace.trouble,
            'metrics_trouble': health.metrics_trouble,
        },
    )
    return [engine, commands, stop, record]
