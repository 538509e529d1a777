"""The MCP server's side of a robot that is silent, slow to know it, or goes away."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('mcp_types', reason='mcp, the MCP package, is not installed')

from mcp import Client
from mcp.shared.exceptions import MCPError
from nemotron_msgs.msg import Tool, ToolResult
from nemotron_msgs.srv import CallTool, CancelCall, ListTools
from rclpy.callback_groups import ReentrantCallbackGroup
from scripted_node import active_node
from std_srvs.srv import Trigger

from nemotron_ros import spinning
from nemotron_ros.mcp import robot as module
from nemotron_ros.mcp.robot import Robot
from nemotron_ros.mcp.server import STOP, NoAnswerError, make_server


class SilentNode:
    """Has the services of a nemotron node, and answers none before it is told to."""

    def __init__(self, node) -> None:
        self.node = node
        self.asked: list[str] = []
        self.answer = threading.Event()
        group = ReentrantCallbackGroup()
        self.services = [
            node.create_service(kind, f'nemotron/{name}', self._serve(name), callback_group=group)
            for kind, name in (
                (CallTool, 'call_tool'),
                (CancelCall, 'cancel_call'),
                (Trigger, 'stop'),
                (ListTools, 'list_tools'),
            )
        ]

    def _serve(self, name: str):
        async def answer(request, response):
            self.asked.append(name)
            if name != 'cancel_call':
                await spinning.in_thread(self.node, lambda: self.answer.wait(20.0))
            if name == 'list_tools':
                response.tools = [Tool(name='drive')]
            return response

        return answer

    def leave(self) -> None:
        """Go away without a word."""
        for service in self.services:
            self.node.destroy_service(service)


@pytest.fixture
def silent(ros, monkeypatch):
    """Give such a node."""
    monkeypatch.setattr(module, 'ANSWER_S', 1.0)
    it = SilentNode(ros.node('silent'))
    yield it
    it.answer.set()


async def progress(text: str) -> None:
    """Hear nothing."""


def test_call_that_is_never_answered_is_cancelled_and_unknown(ros, silent):
    robot = Robot(ros.node('client'), 'nemotron')
    result = asyncio.run(robot.call('drive', {}, 0.5, progress))
    assert result.status == ToolResult.STATUS_UNKNOWN
    assert silent.asked == ['call_tool', 'cancel_call']


def test_node_that_goes_away_in_mid_call_is_noticed(ros, silent):
    robot = Robot(ros.node('client'), 'nemotron')

    async def scenario():
        call = asyncio.create_task(robot.call('drive', {}, 60.0, progress))
        while not silent.asked:
            await asyncio.sleep(0.02)
        silent.leave()
        return await call

    began_s = time.monotonic()
    result = asyncio.run(scenario())
    assert result.status == ToolResult.STATUS_UNKNOWN
    assert 'how the call ended is not known' in result.error
    assert time.monotonic() - began_s < 8.0


def test_stop_without_an_answer_is_not_told_as_done(ros, silent):
    robot = Robot(ros.node('client'), 'nemotron')
    with pytest.raises(NoAnswerError, match='stop has not answered'):
        asyncio.run(robot.stop())

    async def scenario():
        async with Client(make_server(robot, 1.0)) as client:
            return (await client.call_tool(STOP, {})).structured_content

    told = asyncio.run(scenario())
    assert told['status'] == 'unknown'
    assert 'has not answered' in told['error']


def test_question_whose_answer_was_lost_is_asked_again(ros, silent, monkeypatch):
    monkeypatch.setattr(module, 'ANSWER_S', 10.0)
    monkeypatch.setattr(module, 'ASK_AGAIN_S', 0.3)
    robot = Robot(ros.node('client'), 'nemotron')
    timer = threading.Timer(0.5, silent.answer.set)
    timer.start()
    tools = asyncio.run(robot.tools())
    assert [tool.name for tool in tools] == ['drive']
    assert len(silent.asked) >= 2


def test_without_a_node_each_call_says_so(ros, monkeypatch):
    monkeypatch.setattr(module, 'READY_S', 0.3)
    robot = Robot(ros.node('client'), 'nobody')

    async def scenario():
        async with Client(make_server(robot, 1.0)) as client:
            for name in ('drive', STOP):
                told = (await client.call_tool(name, {})).structured_content
                assert told['status'] == 'not_run'
                assert 'is the nemotron node running' in told['error']
            with pytest.raises(MCPError, match='is the nemotron node running'):
                await client.list_tools()

    asyncio.run(scenario())


CONFIRMED = """
robot: bench
tools:
  shout:
    description: Shout.
    topic: {name: speech, type: std_msgs/msg/String, message: {data: hey}}
    guard: {confirm: true, confirm_within_s: 1}
"""


def test_assistant_is_told_that_an_operator_is_asked(ros, tmp_path):
    path = tmp_path / 'tools.yaml'
    path.write_text(CONFIRMED)
    active_node(ros, tool_file=str(path))
    robot = Robot(ros.node('client'), 'nemotron')
    told: list[str] = []

    async def hear(text: str) -> None:
        told.append(text)

    async def scenario():
        await robot.tools()  # it knows us from here on
        return await robot.call('shout', {}, 10.0, hear)

    result = asyncio.run(scenario())
    assert result.status == ToolResult.STATUS_DENIED
    assert any('confirm' in text for text in told)
