"""The robot's tools as an MCP server: names, schemas, calls and their truthful results."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from nemotron_ros.tools.result import Status

STOP = 'stop-robot'
"""Name of the tool that stops the robot: one that no tool of a tool file can have."""

INSTRUCTIONS = (
    "These tools move and read a real robot. Each call passes the robot's own guard, which may "
    'refuse it, and the result tells what truly happened: only the status "succeeded" means '
    'that it was done, and "unknown" that it may still be going on. Do not repeat a call that '
    f'was denied. {STOP} ends all motion at once; a person has to allow motion again.'
)

RESULT_SCHEMA: dict[str, Any] = {
    'type': 'object',
    'properties': {
        'status': {
            'type': 'string',
            'enum': [s.name.lower() for s in Status if s is not Status.PENDING],
        },
        'value': {'description': 'what the tool returned; null if nothing'},
        'error': {'type': 'string', 'description': 'why it did not succeed'},
        'duration_s': {'type': 'number', 'description': 'seconds from the guard to the end'},
        'confirmed_by': {'type': 'string', 'description': 'the operator who let it run'},
    },
    'required': ['status', 'value', 'error', 'duration_s', 'confirmed_by'],
    'additionalProperties': False,
}


class RobotError(Exception):
    """The robot can not be asked: nothing was sent to it."""


class NoAnswerError(RobotError):
    """The robot was asked and has not answered: whether it has done it is not known."""


class Tools(Protocol):
    """What the server asks of the robot; see :class:`nemotron_ros.mcp.robot.Robot`."""

    async def tools(self) -> list[Any]:
        """Return the tools, as ``nemotron_msgs/msg/Tool``; raises :class:`RobotError`."""

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        timeout_s: float,
        progress: Callable[[str], Awaitable[None]],
    ) -> Any:
        """Run one tool; return a ``nemotron_msgs/msg/ToolResult``; raises :class:`RobotError`."""

    async def stop(self) -> tuple[bool, str]:
        """End everything; whether it was seen to end, and what is said; raises as above."""


def make_server(robot: Tools, timeout_s: float) -> Server[Any]:
    """Return a server of the robot's tools and of one that stops it.

    :param timeout_s: seconds that a call may take.
    """

    async def list_tools(
        context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        try:
            tools = await robot.tools()
        except RobotError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error
        return types.ListToolsResult(tools=[*map(_tool, tools), _stop_tool()])

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        told = 0

        async def progress(detail: str) -> None:
            nonlocal told
            told += 1
            await context.session.report_progress(told, message=detail)

        try:
            if params.name == STOP:
                return _stopped(*await robot.stop())
            return _result(
                await robot.call(params.name, params.arguments or {}, timeout_s, progress)
            )
        except NoAnswerError as error:
            return _told(Status.UNKNOWN, error=str(error))
        except RobotError as error:
            return _told(Status.NOT_RUN, error=str(error))

    return Server(
        'nemotron',
        title='Robot',
        version=_version(),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _tool(tool: Any) -> types.Tool:
    reads = tool.kind == 'read'
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=json.loads(tool.parameters),
        output_schema=RESULT_SCHEMA,
        annotations=types.ToolAnnotations(
            read_only_hint=reads, destructive_hint=not reads, idempotent_hint=reads
        ),
    )


def _stop_tool() -> types.Tool:
    return types.Tool(
        name=STOP,
        description='Stop the robot at once. It stands until a person lets it move again.',
        input_schema={'type': 'object', 'properties': {}, 'additionalProperties': False},
        output_schema=RESULT_SCHEMA,
        annotations=types.ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=True
        ),
    )


def _result(result: Any) -> types.CallToolResult:
    value = json.loads(result.value) if result.value else None
    return _told(
        Status(result.status), value, result.error, result.duration_s, result.confirmed_by
    )


def _stopped(stopped: bool, said: str) -> types.CallToolResult:
    if stopped:
        return _told(Status.SUCCEEDED, said)
    return _told(Status.UNKNOWN, error=said)


def _told(
    status: Status,
    value: object = None,
    error: str = '',
    duration_s: float = 0.0,
    confirmed_by: str = '',
) -> types.CallToolResult:
    told = {
        'status': status.name.lower(),
        'value': value,
        'error': error,
        'duration_s': round(duration_s, 3),
        'confirmed_by': confirmed_by,
    }
    return types.CallToolResult(
        content=[types.TextContent(text=json.dumps(told, ensure_ascii=False))],
        structured_content=told,
        is_error=status is not Status.SUCCEEDED,
    )


def _version() -> str:
    try:
        return version('nemotron_ros')
    except PackageNotFoundError:  # run from a checkout that is not installed
        return ''
