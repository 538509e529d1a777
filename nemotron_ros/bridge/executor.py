"""Runs a checked call on ROS, whichever way its tool goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node

from nemotron_ros.bridge.action import send_goal
from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.fence import kept_inside, moves
from nemotron_ros.bridge.halt import Halt
from nemotron_ros.bridge.plugin import Plugins
from nemotron_ros.bridge.publish import publish
from nemotron_ros.bridge.read import prepare, read
from nemotron_ros.bridge.service import call_service
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import (
    Binding,
    CallService,
    Publish,
    Reading,
    SendGoal,
    Tool,
    ToolFile,
    UsePlugin,
)
from nemotron_ros.tools.result import ToolResult


class RosExecutor:
    """The tools' way to ROS. Runs in the goal's own thread and never spins."""

    def __init__(self, node: Node, tool_file: ToolFile) -> None:
        self._clients = Clients(node, tool_file.limits)
        self._fence = tool_file.limits.fence
        self._tables = dict(tool_file.tables)
        self._bindings = [tool.binding for tool in tool_file.tools.values()]
        plugins = [b.use for b in self._bindings if isinstance(b, UsePlugin)]
        self._plugins = Plugins(self._clients, plugins)
        self._halt = Halt(self._clients, tool_file)
        self._clients.keep()  # a stop ends motion also while the tools are at rest
        self.prepare()

    def prepare(self) -> None:
        """Make what calls will need."""
        # Early, so that the servers know them by the first call: an answer to a client that
        # its server has not discovered yet is lost.
        for binding in self._bindings:
            if isinstance(binding, CallService):
                self._clients.service(binding.name, binding.type)
            elif isinstance(binding, SendGoal):
                self._clients.action(binding.name, binding.type)
            elif isinstance(binding, Reading):
                prepare(self._clients, binding)

    def execute(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        cancel: CancelToken,
        progress: Callable[[object], None],
    ) -> ToolResult:
        """Run one call whose arguments are complete and valid.

        :raise Denied: if what it would send is over a limit; then nothing was sent.
        """
        variables = {**self._tables, **arguments}

        def run(token: CancelToken) -> ToolResult:
            return self._run(tool.binding, arguments, variables, token, progress)

        if self._fence is None or not moves(tool):
            return run(cancel)
        return kept_inside(self._clients, self._fence, run, cancel)

    def _run(
        self,
        binding: Binding,
        arguments: Mapping[str, Any],
        variables: Mapping[str, Any],
        cancel: CancelToken,
        progress: Callable[[object], None],
    ) -> ToolResult:
        if isinstance(binding, Publish):
            return publish(self._clients, binding, variables, cancel, progress)
        if isinstance(binding, Reading):
            return read(self._clients, binding, variables, cancel)
        if isinstance(binding, CallService):
            return call_service(self._clients, binding, variables, cancel)
        if isinstance(binding, UsePlugin):
            return self._plugins.call(binding, arguments, variables, cancel)
        return send_goal(self._clients, binding, variables, cancel, progress)

    @property
    def clients(self) -> Clients:
        """What it speaks to ROS by."""
        return self._clients

    def halt(self) -> None:
        """Send what ends motion, whoever began it."""
        self._halt()

    def release(self) -> None:
        """Free every client but those of a stop, until :meth:`prepare` or the next call."""
        self._clients.release()

    def close(self) -> None:
        """Free every client."""
        self._clients.close()
