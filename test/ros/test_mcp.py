"""The MCP server as assistants use it: the official client, a process of its own, a robot."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('mcp_types', reason='mcp, the MCP package, is not installed')

import httpx
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from nemotron_msgs.msg import Event
from scripted_node import active_node
from servers import SwitchServer, VelocityLog

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 40.0


@pytest.fixture
def robot(ros):
    """Give an active node, a base and a switch."""
    node = active_node(ros)
    outside = ros.node('outside')
    events: list[Event] = []
    outside.create_subscription(Event, 'nemotron/events', events.append, 100)
    base = VelocityLog(outside)
    yield SimpleNamespace(
        node=node, base=base, switch=SwitchServer(ros.node('switch_node')), events=events
    )
    node.trigger_shutdown()


def run(scenario) -> None:
    """Run an awaited scenario, for a while."""
    asyncio.run(asyncio.wait_for(scenario(), WITHIN_S))


@asynccontextmanager
async def assistant(*arguments: str, mode: str = 'auto'):
    """Give a client with a server of its own, over stdin and stdout."""
    server = StdioServerParameters(
        command=sys.executable,
        args=['-m', 'nemotron_ros.cli', 'mcp', *arguments],
        env=dict(os.environ),
        cwd=ROOT,
    )
    async with Client(stdio_client(server), mode=mode) as client:
        yield client


async def soon(condition) -> None:
    """Wait until a condition holds."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError('not in time')


@pytest.mark.parametrize('mode', ['auto', 'legacy'])
def test_tools_are_listed_called_cancelled_and_stopped(robot, mode):
    async def scenario() -> None:
        async with assistant(mode=mode) as client:
            await lists(client)
            await calls(client, robot)
            await reports_progress(client)
            await is_cancelled(client, robot)
            await is_stopped(client, robot)

    run(scenario)


async def lists(client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {'drive', 'switch', 'stop-robot'}
    assert tools['drive'].description == 'Drive for a time.'
    assert tools['drive'].input_schema['properties']['seconds']['maximum'] == 10
    assert tools['drive'].annotations.destructive_hint


async def calls(client, robot) -> None:
    done = await client.call_tool('switch', {'on': True})
    assert not done.is_error
    told = done.structured_content
    assert (told['status'], told['value'], told['error']) == ('succeeded', 'on', '')
    assert told['confirmed_by'] == ''
    assert json.loads(done.content[0].text) == told
    for name, arguments, status, word in (
        ('switch', {'on': False}, 'failed', 'the switch is stuck'),
        ('drive', {'seconds': 1000}, 'invalid', 'seconds'),
        ('drive', {}, 'invalid', 'seconds'),
        ('fly', {}, 'invalid', 'fly'),
    ):
        result = await client.call_tool(name, arguments)
        assert result.is_error
        assert result.structured_content['status'] == status
        assert word in result.structured_content['error']
    assert robot.base.speeds == []


async def reports_progress(client) -> None:
    reports: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        reports.append(message or '')

    await client.call_tool('drive', {'seconds': 1.5}, progress_callback=hear)
    assert any('elapsed_s' in report for report in reports)


async def is_cancelled(client, robot) -> None:
    robot.base.speeds.clear()
    call = asyncio.create_task(client.call_tool('drive', {'seconds': 10}))
    await soon(lambda: 0.2 in robot.base.speeds)
    call.cancel()
    await soon(lambda: robot.base.speeds[-1] == 0.0)
    await soon(lambda: robot.events[-1].phase == Event.PHASE_RESULT)
    assert robot.events[-1].call[0].result.error.startswith('ended after')
    assert (await client.call_tool('switch', {'on': True})).structured_content['value'] == 'on'


async def is_stopped(client, robot) -> None:
    robot.base.speeds.clear()
    call = asyncio.create_task(client.call_tool('drive', {'seconds': 10}))
    await soon(lambda: 0.2 in robot.base.speeds)
    stopped = await client.call_tool('stop-robot', {})
    assert stopped.structured_content['status'] == 'succeeded'
    assert (await call).structured_content['status'] == 'canceled'
    await soon(lambda: robot.base.speeds[-1] == 0.0)
    held = await client.call_tool('drive', {'seconds': 1})
    assert held.structured_content['status'] == 'denied'


def test_client_that_leaves_takes_its_call_along(robot):
    async def scenario() -> None:
        async with assistant() as client:
            call = asyncio.create_task(client.call_tool('drive', {'seconds': 10}))
            await soon(lambda: 0.2 in robot.base.speeds)
        await soon(lambda: robot.base.speeds[-1] == 0.0)
        await asyncio.gather(call, return_exceptions=True)

    run(scenario)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_server_that_is_told_to_end_ends_its_calls_first(robot, number):
    with served_over_pipes() as child:
        ask_to_drive(child)
        assert until_true(lambda: 0.2 in robot.base.speeds, 20.0, CancelToken())
        child.send_signal(number)
        assert child.wait(20.0) == 128 + number
    # The zero was sent before that, and may still be on its way to the base.
    assert until_true(lambda: robot.base.speeds[-1] == 0.0, 1.0, CancelToken())


@contextmanager
def served_over_pipes():
    """Give a server whose stdin stays open."""
    child = subprocess.Popen(
        [sys.executable, '-m', 'nemotron_ros.cli', 'mcp'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def ask_to_drive(child) -> None:
    """Write what a client of the first protocol does."""
    version = {'protocolVersion': '2025-06-18', 'capabilities': {}}
    for message in (
        {'id': 1, 'method': 'initialize',
         'params': {**version, 'clientInfo': {'name': 'test', 'version': '1'}}},
        {'method': 'notifications/initialized'},
        {'id': 2, 'method': 'tools/call',
         'params': {'name': 'drive', 'arguments': {'seconds': 10}}},
    ):  # fmt: skip
        child.stdin.write(json.dumps({'jsonrpc': '2.0', **message}) + '\n')
        child.stdin.flush()


@contextmanager
def served_over_http():
    """Give the address of a server, and its process."""
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    child = subprocess.Popen(
        [sys.executable, '-m', 'nemotron_ros.cli', 'mcp', '--http', str(port)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert f'http://127.0.0.1:{port}/mcp' in child.stderr.readline()
        yield SimpleNamespace(port=port, url=f'http://127.0.0.1:{port}/mcp', child=child)
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize('mode', ['auto', 'legacy'])
def test_http_gives_the_same_tools(robot, mode):
    async def scenario() -> None:
        async with Client(server.url, mode=mode) as client:
            await lists(client)
            await calls(client, robot)
            await is_cancelled(client, robot)
            await is_stopped(client, robot)

    with served_over_http() as server:
        run(scenario)


def test_http_server_that_is_told_to_end_ends_its_calls_first(robot):
    async def scenario() -> None:
        async with Client(server.url) as client:
            call = asyncio.create_task(client.call_tool('drive', {'seconds': 10}))
            await soon(lambda: 0.2 in robot.base.speeds)
            server.child.terminate()
            await soon(lambda: robot.base.speeds[-1] == 0.0)
            await asyncio.gather(call, return_exceptions=True)

    with served_over_http() as server:
        with suppress(Exception):  # the client has lost its server
            run(scenario)
        assert server.child.wait(20.0) == -signal.SIGTERM
    assert robot.base.speeds[-1] == 0.0
    assert robot.events[-1].call[0].result.error.startswith('ended after')


def test_http_refuses_other_hosts_and_origins():
    with served_over_http() as server:
        body = {'jsonrpc': '2.0', 'id': 1, 'method': 'tools/list', 'params': {}}
        accept = {'Accept': 'application/json, text/event-stream'}
        for header, code in (({'Host': 'evil.example'}, 421), ({'Origin': 'http://evil'}, 403)):
            answer = httpx.post(server.url, json=body, headers={**accept, **header})
            assert answer.status_code == code
        listening = Path('/proc/net/tcp').read_text() + Path('/proc/net/tcp6').read_text()
        port = f'{server.port:04X}'
        addresses = re.findall(rf'^ *\d+: ([0-9A-F]+):{port} \S+ 0A', listening, re.MULTILINE)
        assert addresses == ['0100007F']


def test_http_port_that_is_taken_is_told():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, '-m', 'nemotron_ros.cli', 'mcp', '--http', port]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith(f'nemotron mcp: can not listen at 127.0.0.1:{port}: ')
