"""A running nemotron node, as the server needs it: what is awaited and can be cancelled."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
from nemotron_msgs.msg import Event, Tool, ToolResult
from nemotron_msgs.srv import CallTool, CancelCall, ListTools
from rclpy.node import Node
from std_srvs.srv import Trigger

from nemotron_ros.bridge.qos import EVENTS
from nemotron_ros.mcp.server import NoAnswerError, RobotError

Progress = Callable[[str], Awaitable[None]]

READY_S = 10.0
"""How long the node is waited for."""
ANSWER_S = 10.0
"""How long the node is given to answer what takes it no time, and to end a stop or a cancel."""
LOOK_S = 0.5
"""How often the node is looked for while its answer is waited for."""
ASK_AGAIN_S = 2.0
"""After what time a question that does no harm is asked once more."""
MISSES = 5
"""After how many looks in vain, one after the other, the node has gone away."""
PROGRESS_KEPT = 16
"""How many reports of progress may wait for a slow client; more are dropped."""


class Robot:
    """The services of one nemotron node. Its methods are awaited in one event loop.

    :param node: is spun by a thread of its own.
    :param name: of the nemotron node.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self._name = name
        self._listeners: dict[str, Callable[[str], None]] = {}
        self._events = node.create_subscription(Event, f'{name}/events', self._hear, EVENTS)
        self._call = node.create_client(CallTool, f'{name}/call_tool')
        self._cancel = node.create_client(CancelCall, f'{name}/cancel_call')
        self._stop = node.create_client(Trigger, f'{name}/stop')
        # The last one: once it is answered, the node has discovered those before it, too.
        self._list = node.create_client(ListTools, f'{name}/list_tools')

    async def tools(self) -> list[Tool]:
        """Return the tools.

        :raise RobotError: if the node does not answer.
        """
        answer = await self._ask(self._list, ListTools.Request())
        tools: list[Tool] = answer.tools
        return tools

    async def call(
        self, name: str, arguments: dict[str, Any], timeout_s: float, progress: Progress
    ) -> ToolResult:
        """Run one tool to its end; when the caller is cancelled, the call is cancelled first.

        A call that has been sent is not forgotten: it is cancelled, and waited for.

        :param timeout_s: seconds for everything, by the node's clock.
        :param progress: gets what the call reports while it waits and runs, as JSON.
        :raise RobotError: if the node is not there; nothing was sent then.
        """
        await self._ready(self._call)
        request = CallTool.Request(
            name=name, arguments=json.dumps(arguments), timeout_s=timeout_s, id=uuid.uuid4().hex
        )
        async with _relayed(progress) as report:
            self._listeners[request.id] = report
            answer = _Answer(self._call, request)
            try:
                if await answer.within(timeout_s + ANSWER_S):
                    result: ToolResult = answer.message.result
                    return result
                await self._end(request.id, answer)
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await self._end(request.id, answer)
                raise
            finally:
                del self._listeners[request.id]
        if answer.message is not None:
            result = answer.message.result
            return result
        why = f'{self._name} has not answered; how the call ended is not known'
        return ToolResult(status=ToolResult.STATUS_UNKNOWN, error=why)

    async def stop(self) -> tuple[bool, str]:
        """End everything and latch the stop; whether it was seen to end, and what is said of it.

        :raise NoAnswerError: if the node does not answer.
        :raise RobotError: if it is not there.
        """
        answer = await self._ask(self._stop, Trigger.Request())
        return bool(answer.success), str(answer.message)

    async def _end(self, call_id: str, answer: _Answer) -> None:
        """Cancel a call and wait for its answer, for a while."""
        if self._cancel.service_is_ready():
            with suppress(RobotError):
                await self._ask(self._cancel, CancelCall.Request(id=call_id))
                await answer.within(ANSWER_S)
        answer.forget()

    async def _ask(self, client: Any, request: Any) -> Any:
        """Ask what may be asked twice: a node that does not know us yet loses its answer."""
        await self._ready(client)
        deadline_s = anyio.current_time() + ANSWER_S
        while anyio.current_time() < deadline_s:
            answer = _Answer(client, request)
            try:
                if await answer.within(ASK_AGAIN_S):
                    return answer.message
            finally:
                answer.forget()
        raise NoAnswerError(f'{client.srv_name} has not answered within {ANSWER_S:g} s')

    async def _ready(self, client: Any) -> None:
        with anyio.move_on_after(READY_S):
            while not client.service_is_ready():
                await anyio.sleep(0.02)
            return
        raise RobotError(
            f'nobody serves {client.srv_name}; is the nemotron node running, '
            'with the same ROS_DOMAIN_ID?'
        )

    def _hear(self, event: Event) -> None:
        listener = self._listeners.get(event.command_id)
        if listener is not None and event.detail:
            listener(event.detail)  # what a running call reports, or what it waits for


class _Answer:
    """The answer to one request, to be awaited as often as need be."""

    def __init__(self, client: Any, request: Any) -> None:
        self._client = client
        self._come = anyio.Event()
        self.message: Any = None
        loop = asyncio.get_running_loop()
        self._future = client.call_async(request)
        self._future.add_done_callback(lambda _: _in_loop(loop, self._take))

    async def within(self, timeout_s: float) -> bool:
        """Whether the answer comes in time; sooner False if the node has gone away."""
        missed = 0
        deadline_s = anyio.current_time() + timeout_s
        while missed < MISSES and anyio.current_time() < deadline_s:
            with anyio.move_on_after(min(LOOK_S, deadline_s - anyio.current_time())):
                await self._come.wait()
                return True
            missed = 0 if self._client.service_is_ready() else missed + 1
        return False

    def forget(self) -> None:
        """Let go of a request whose answer nobody waits for."""
        self._client.remove_pending_request(self._future)

    def _take(self) -> None:
        self.message = self._future.result()
        self._come.set()


class _relayed:
    """Hands what another thread reports to an awaited function, for as long as a block runs."""

    def __init__(self, function: Progress) -> None:
        self._function = function
        self._send, self._receive = anyio.create_memory_object_stream[str](PROGRESS_KEPT)
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> Callable[[str], None]:
        """Return what another thread may call."""
        loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._relay)
        return lambda text: _in_loop(loop, lambda: self._offer(text))

    async def __aexit__(self, *error: Any) -> bool | None:
        self._send.close()
        return await self._tasks.__aexit__(*error)

    def _offer(self, text: str) -> None:
        with suppress(anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._send.send_nowait(text)

    async def _relay(self) -> None:
        async with self._receive:
            async for text in self._receive:
                await self._function(text)


def _in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(function)
