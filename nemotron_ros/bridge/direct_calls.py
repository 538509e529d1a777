"""Calls of tools that other nodes ask for: without the model, through the same gate."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats.protocol import FormatError
from nemotron_ros.chat.formats.strict_json import loads
from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.result import Status, ToolResult

MAX_ID_CHARS = 128
EARLY_CANCEL_S = 60.0
"""How long a cancel that came before its call is remembered."""
MAX_EARLY_CANCELS = 1000


class DirectCalls:
    """Runs calls, each under its id. Safe from any thread.

    :param emit: gets the events of every call, in order.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._running: dict[str, CancelToken] = {}
        self._early: OrderedDict[str, float] = OrderedDict()

    def run(self, request: Any, dispatcher: Dispatcher, tools: frozenset[str]) -> ToolResult:
        """Run what a ``CallTool`` request asks for; always returns a result.

        :param tools: the names of the tools that may be called.
        """
        try:
            call, token = _read(request)
        except ValueError as error:
            return ToolResult(Status.INVALID, error=str(error), rule='request')
        with self._lock:
            if call.id in self._running:
                why = f'id: a call {call.id!r:.80} is running; give each call an id of its own'
                return ToolResult(Status.INVALID, error=why, rule='request')
            self._running[call.id] = token
            cancelled = self._early.pop(call.id, None) is not None
        story = _Story(call, self._emit)
        try:
            story.tell(Phase.CALLING, ToolResult(Status.PENDING))
            if cancelled:
                token.cancel()
            result = dispatcher.run(call, tools, token, story.progress, waiting=story.waiting)
            story.tell(Phase.RESULT, result)
            return result
        finally:
            with self._lock:
                del self._running[call.id]

    def cancel(self, call_id: str) -> bool:
        """End a call; False if none of that id is running.

        A cancel may overtake its call. One of that id that comes later is not run.
        """
        with self._lock:
            token = self._running.get(call_id)
            if token is None and call_id:
                self._remember(call_id)
        if token is not None:
            token.cancel()
        return token is not None

    def _remember(self, call_id: str) -> None:
        now_s = time.monotonic()
        self._early[call_id] = now_s
        self._early.move_to_end(call_id)
        for key, came_s in list(self._early.items()):
            if len(self._early) <= MAX_EARLY_CANCELS and now_s - came_s <= EARLY_CANCEL_S:
                return
            del self._early[key]


class _Story:
    """Tells the events of one call, as those of a command are told."""

    def __init__(self, call: ToolCall, emit: Callable[[Event], None]) -> None:
        self._call = call
        self._emit = emit
        self._sequence = 0

    def tell(self, phase: Phase, result: ToolResult, detail: object = None) -> None:
        record = CallRecord(self._call, result)
        event = Event(self._call.id, '', self._sequence, phase, record=record, detail=detail)
        self._sequence += 1
        self._emit(event)

    def waiting(self, detail: object) -> None:
        self.tell(Phase.CALLING, ToolResult(Status.PENDING), detail)

    def progress(self, detail: object) -> None:
        self.tell(Phase.EXECUTING, ToolResult(Status.PENDING), detail)


def _read(request: Any) -> tuple[ToolCall, CancelToken]:
    """Return the call and its budget.

    :raise ValueError: naming the field that is wrong.
    """
    if len(request.id) > MAX_ID_CHARS:
        raise ValueError(f'id: {len(request.id)} characters; at most {MAX_ID_CHARS} are taken')
    token = CancelToken(request.timeout_s)
    try:
        arguments = loads(request.arguments)
    except FormatError as error:
        raise ValueError(f'arguments: {error}') from None
    if not isinstance(arguments, dict):
        raise ValueError('arguments: expected a JSON object')
    return ToolCall(request.id or uuid.uuid4().hex, request.name, arguments), token
