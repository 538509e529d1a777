"""What users of other bridges between language models and ROS complain about: engines and files.

Each test has the number and the words of its complaint. Those that are seen at the node's door
are in ``test/ros/test_complaints.py``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorder import ROBOT, Recorder, dispatcher

from nemotron_ros.agent import Agent, Command, Limits, Sampling
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.formats.protocol import Format, Reasoning, Text
from nemotron_ros.chat.messages import Message, ToolCall
from nemotron_ros.chat.prompt import Prompt, render
from nemotron_ros.engine import llama_cpp, saved_prompt
from nemotron_ros.engine.llama_cpp import LlamaCppEngine
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    ModelInfo,
    OutputError,
    Progress,
    ReasoningDelta,
    TextDelta,
)
from nemotron_ros.events import CommandStatus
from nemotron_ros.tools.tool_file import ToolFileError, load

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 30.0


@pytest.mark.parametrize(
    'name',
    ['cmd_vel', '/cmd_vel', '/cmd_vel/', ' cmd_vel', 'cmd_vel ', '~/cmd_vel', '/robot/cmd_vel'],
)
@pytest.mark.parametrize('kind', ['Twist', 'TwistStamped'])
def test_02_the_gate_misses_cmd_vel_namespaced_or_padded(
    tmp_path: Path, name: str, kind: str
) -> None:
    """However its name is spelled, a velocity topic has bounds, an end and a group."""
    file = tmp_path / 'tools.yaml'
    file.write_text(f"""
robot: r
tools:
  drive:
    description: Drive.
    topic: {{name: '{name}', type: geometry_msgs/msg/{kind}, rate_hz: 10, for_s: 1}}
""")
    with pytest.raises(ToolFileError, match=r'tools\.drive\.topic') as refused:
        load(file)
    assert 'then' in str(refused.value) or 'topic.name' in str(refused.value)


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'config/tools').glob('*.yaml')), ids=lambda path: path.stem
)
def test_06_no_shipped_tool_takes_a_name_or_a_type_of_ros(path: Path) -> None:
    for tool in load(path).tools.values():
        asked = set(tool.spec.parameters['properties'])
        assert not {'topic', 'service', 'action', 'type', 'msg_type', 'message'} & asked


# 12: a format's own printer, prompt and parser, with the agent between them.


class Speaking:
    """An engine that says texts in a model's own format, and keeps the prompts it was given."""

    def __init__(self, form: Format, *texts: str) -> None:
        self._form = form
        self._texts = list(texts)
        self.prompts: list[Prompt] = []

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        return ModelInfo('speaking', '', 0)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        self.prompts.append(render(self._form, request.tools, request.messages, request.thinking))
        parser = self._form.parser(request.tools, request.thinking)
        pieces = [piece for letter in self._texts.pop(0) for piece in parser.feed(letter)]
        for piece in pieces + parser.finish(truncated=False):
            if isinstance(piece, Text):
                yield TextDelta(piece.text)
            elif isinstance(piece, Reasoning):
                yield ReasoningDelta(piece.text)
            else:
                yield CallDelta(piece)

    def close(self) -> None:
        pass


ASKED = (
    ToolCall('', 'get_battery', {}),
    ToolCall('', 'say', {'text': '1 < 2'}),
    ToolCall('', 'drive', {'distance_m': 1.5, 'direction': 'backward'}),
)
SECRET = 'they said drive, so'


@pytest.mark.parametrize('form', [NemotronXml(), JsonCall()], ids=lambda form: form.name)
def test_12_lost_tool_call_id_and_thinking_text_leaks_into_the_answer(form: Format) -> None:
    calls = form.print_calls(ASKED)
    engine = Speaking(form, f'{SECRET}\n</think>\n{calls}', f'{SECRET}</think>All is well.')
    recorder = Recorder()
    agent = Agent(engine, ROBOT, dispatcher(recorder), sampling=Sampling(thinking=True))
    thoughts: list[str] = []
    outcome = agent.execute(
        Command('id', 'go back'), CancelToken(LONG_S), lambda e: thoughts.append(e.reasoning_delta)
    )
    assert (outcome.status, outcome.text) == (CommandStatus.SUCCEEDED, 'All is well.')
    assert ''.join(thoughts).count(SECRET) == 2
    assert recorder.calls == [(call.name, dict(call.arguments)) for call in ASKED]
    ids = [record.call.id for record in outcome.calls]
    assert len(set(ids)) == 3
    turns = engine.prompts[1].messages
    assert SECRET not in json.dumps(turns)
    results = [turn for turn in turns if '"tool": ' in str(turn['content'])][-3:]
    assert [
        json.loads(str(turn['content']).removeprefix('Result: '))['tool'] for turn in results
    ] == [call.name for call in ASKED]
    if isinstance(form, NemotronXml):
        (said,) = [turn for turn in turns if turn.get('tool_calls')][-1:]
        made: Any = said['tool_calls']
        assert [call['id'] for call in made] == ids
        assert [turn['tool_call_id'] for turn in results] == ids


# 13 and 21: the embedded engine, with a tiny model whose words are noise.


@pytest.fixture(scope='module')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file of the tiny model."""
    pytest.importorskip('xllamacpp', reason='xllamacpp, the embedded engine, is not installed')
    pytest.importorskip('gguf', reason='gguf is not installed')
    from leaning_model import write_tiny

    return write_tiny(tmp_path_factory.mktemp('model') / 'tiny.gguf')


@pytest.fixture(autouse=True)
def _no_prompt_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what engines have read kept in a folder of the test's own."""
    monkeypatch.setattr(saved_prompt, 'prompts_folder', lambda otherwise: tmp_path)


def test_13_the_long_prompt_is_processed_again_every_turn(tiny: Path, tmp_path: Path) -> None:
    from leaning_model import write_leaning

    never = ('<tool_call>', '</tool_call>', '<think>', '</think>')
    engine = LlamaCppEngine(write_leaning(tiny, tmp_path / 'talker.gguf', never=never))
    limits = Limits(max_turns=1, max_tokens=8)
    agent = Agent(engine, ROBOT, dispatcher(Recorder()), limits)
    commands = (
        Command('1', 'come here', 'a session'),
        Command('2', 'go to the kitchen', 'a session'),
        Command('3', 'and turn', 'another one', allowed_tools=('turn',)),
    )
    with closing(engine):
        engine.open(agent.warm_request(), lambda _fraction, _text: None)
        for command in commands:
            usage = agent.execute(command, CancelToken(LONG_S), lambda _: None).usage
            assert usage.prompt_tokens > 1000
            assert usage.cached_tokens >= 0.9 * usage.prompt_tokens, command


def call_rate(engine: LlamaCppEngine, request: ChatRequest, answers: int) -> float:
    """Return how many of some answers begin with a call; none is longer than a token."""
    calls = 0
    for seed in range(answers):
        with pytest.raises(OutputError) as cut:
            list(engine.stream(replace(request, seed=seed), CancelToken(LONG_S)))
        calls += 'cut short after <tool_call>' in str(cut.value)
    return calls / answers


def test_21_grammar_and_tools_together_can_make_a_model_stop_calling_tools(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that calls now and then does so as often with the grammar, and is free not to."""
    import gguf
    import numpy as np
    import tiny_nemotron

    model = tmp_path / 'undecided.gguf'
    model.write_bytes(tiny.read_bytes())
    reader = gguf.GGUFReader(model, 'r+')
    (output,) = (tensor for tensor in reader.tensors if tensor.name == 'output.weight')
    output.data[tiny_nemotron.CONTROL.index('<tool_call>')] *= np.float32(1.8)
    reader.data.flush()
    tools = tuple(tool.spec for tool in ROBOT.tools.values())
    turns = (Message('system', 'You control a robot.'), Message('user', 'go'))
    request = ChatRequest(turns, tools, max_tokens=1, temperature=1.0)
    engine = LlamaCppEngine(model)
    with closing(engine):
        engine.open(replace(request, messages=turns[:1]), lambda _fraction, _text: None)
        held = call_rate(engine, request, 24)
        unconstrained = replace(llama_cpp.DIALECT, grammar=lambda *_: '')
        monkeypatch.setattr(llama_cpp, 'DIALECT', unconstrained)
        free = call_rate(engine, request, 24)
    print(f'begin with a call: {held:.0%} with the grammar, {free:.0%} without')
    assert 0.1 < free < 0.9
    assert free - 0.1 <= held < 0.95


# What the sources themselves say.


def sources() -> list[Path]:
    return sorted((ROOT / 'nemotron_ros').rglob('*.py'))


SPINS = {'spin_until_future_complete', 'spin_once', 'spin_some'}


def test_16_spin_until_future_complete_in_a_callback_detaches_the_node() -> None:
    found = {
        f'{path.relative_to(ROOT)}:{node.lineno}'
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in SPINS)
        or (isinstance(node, ast.Name) and node.id in SPINS)
    }
    assert found == set()


def test_20_langchain_coupling_unwanted() -> None:
    said = [ROOT / 'package.xml', ROOT / 'setup.py', *(ROOT / 'requirements').glob('*.txt')]
    frameworks = re.compile('lang(chain|graph)|llama.?index|haystack|autogen', re.IGNORECASE)
    found = {
        path.relative_to(ROOT).as_posix(): match[0]
        for path in (*said, *sources())
        if (match := frameworks.search(path.read_text()))
    }
    assert found == {}
