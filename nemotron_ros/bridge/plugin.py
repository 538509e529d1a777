"""Tools that are a function of an installed package."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.ending import cut_short
from nemotron_ros.bridge.sender import NobodyListens, Sender
from nemotron_ros.bridge.values import plain
from nemotron_ros.bridge.waiting import until_done
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import UsePlugin
from nemotron_ros.tools.plugins import Plugin, load_plugin
from nemotron_ros.tools.result import Status, ToolResult

END_S = 2.0
"""How long a function is given to return once its token has ended."""
MAX_RESULT_CHARS = 65536


@dataclass(frozen=True)
class _Ended:
    """How a function ended: with a value, or with what went wrong."""

    value: object
    fault: str
    was_told_to_end: bool


class Plugins:
    """Runs functions, each in a thread of its own, one call of each at a time.

    :param uses: what the tool file calls them.
    :raise PluginError: if one can't be used.
    """

    def __init__(self, clients: Clients, uses: Iterable[str]) -> None:
        self._clients = clients
        self._functions = {use: load_plugin(use) for use in uses}
        self._lock = threading.Lock()
        self._running: dict[str, Future[_Ended]] = {}

    def call(
        self,
        binding: UsePlugin,
        arguments: Mapping[str, Any],
        variables: Mapping[str, Any],
        cancel: CancelToken,
    ) -> ToolResult:
        """Run a function to its end; without one in time the result is *unknown*.

        :param arguments: what the function gets.
        :param variables: what the closing message is made from.
        """
        closer = None
        if binding.then is not None:
            closer = Sender(self._clients, binding.then, variables)
            try:
                closer.connect(cancel)
            except NobodyListens as error:
                return ToolResult(Status.FAILED, None, str(error))
        budget = cancel.child(binding.timeout_s)
        run: Future[_Ended] = Future()
        with self._lock:
            before = self._running.get(binding.use)
            if before is not None and not before.done():
                why = f'{binding.use} has not returned from an earlier call; it is not run again'
                return ToolResult(Status.FAILED, None, why)
            self._running[binding.use] = run
        function, node = self._functions[binding.use], self._clients.tool_node
        threading.Thread(
            target=_run, args=(run, function, node, dict(arguments), budget), daemon=True
        ).start()
        until_done(run, binding.timeout_s, budget)
        if run.done() and not run.result().was_told_to_end:
            if run.result().fault:
                return ToolResult(Status.FAILED, None, f'{binding.use}: {run.result().fault}')
            return ToolResult(Status.SUCCEEDED, run.result().value)
        budget.cancel()
        if closer is not None:
            closer.send()
        if not until_done(run, END_S, CancelToken(END_S)):
            why = f'was told to end and has not within {END_S:g} s; it may still be going on'
            return ToolResult(Status.UNKNOWN, None, f'{binding.use} {why}')
        ended = run.result()
        return ToolResult(
            cut_short(cancel), ended.value, ended.fault or f'{binding.use} was ended early'
        )


def _run(
    run: Future[_Ended],
    function: Plugin,
    node: Any,
    arguments: dict[str, Any],
    cancel: CancelToken,
) -> None:
    value: object = None
    try:
        value, fault = _checked(function(node, arguments, cancel))
    except BaseException as error:  # a function that calls sys.exit() has ended, too
        fault = str(error) or repr(error)
    # One that returns after its token has ended may have left its work half done: that is
    # never told as a success.
    run.set_result(_Ended(value, fault, cancel.ended))


def _checked(returned: object) -> tuple[object, str]:
    """Return what a function returned, as JSON, or what is wrong with it."""
    try:
        told = json.dumps(plain(returned), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as unfit:
        return None, f'ran, but what it returned is no JSON: {unfit}'
    if len(told) > MAX_RESULT_CHARS:
        limit = f'{len(told)} characters of JSON; at most {MAX_RESULT_CHARS} are taken'
        return None, f'ran, but what it returned is too long: {limit}'
    return json.loads(told), ''
