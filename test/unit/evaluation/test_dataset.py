"""Training data: what should have been written, of scenarios and traces, nothing held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from nemotron_ros.agent import Agent, Command
from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.template import ChatTemplate
from nemotron_ros.cli import main
from nemotron_ros.engine.scripted import ScriptedEngine
from nemotron_ros.evaluation.dataset import (
    DatasetError,
    Samples,
    from_scenarios,
    from_traces,
    held_out,
    lines,
)
from nemotron_ros.evaluation.scenario import Scenario, load
from nemotron_ros.evaluation.split import part_of
from nemotron_ros.evaluation.world import dispatcher
from nemotron_ros.events import Event, Phase
from nemotron_ros.tools import tool_file
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.trace.goal import Goal, with_goal
from nemotron_ros.trace.json_lines import JsonLines, read
from nemotron_ros.trace.record import Origin, Trace
from nemotron_ros.trace.recorder import Keep, Recorder
from nemotron_ros.trace.tapped_engine import TappedEngine

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / 'config'
NEMOTRON = ChatTemplate((ROOT / 'test' / 'fixtures' / 'nemotron_template.jinja').read_text())
CHATML = ChatTemplate(
    '{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}'
    '<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)
Read = Callable[[str], tuple[Scenario, ...]]

# Names that a hash has put into the tuning part, and one that it has not.
FILE = """
robot: headless_robot
scenarios:
  drive_in_words:
    say: [one and a half metres ahead, [go forward, "one and a half metres, I meant"]]
    expect:
      calls: [drive: {distance_m: {about: 1.5, within: 0.1}, direction: {one_of: [forward]}}]
  full_battery_so_kitchen:
    say: ["below a quarter go charging, else go to the kitchen"]
    world: {get_battery: 83}
    expect:
      calls: [get_battery, go_to: {place: kitchen}, put_down]
      answer: {example: It was full.}
  ram_the_door:
    say: [ram the door, put it down now]
    expect: {calls: [], answer: {refuses: true, example: I will not.}}
  way_is_blocked:
    say: [off to the kitchen]
    world: {go_to: {fails: a closed door}}
    expect: {calls: [go_to: {place: kitchen}]}
  say_what:
    say: [announce it]
    expect: {calls: [say: {text: {matches: it}}]}
  million_degrees:
    say: [turn a bit]
    expect: {calls: [turn: {direction: left}]}
  fifty_turns:
    say: [do not turn]
    expect: {calls: []}
  thirsty:
    say: ["Put it down, now!"]
    expect: {calls: [put_down]}
"""


@pytest.fixture
def samples(scenarios: Read, headless: ToolFile) -> Samples:
    """Give what the file above teaches."""
    read = scenarios(FILE)
    assert [each.id for each in read if part_of(each.id) != 'tuning'] == ['thirsty']
    return from_scenarios(read, 'headless_robot', headless, held_out(read))


def told(samples: Samples, source: str) -> list[str]:
    """Return each sample of an item, as roles and what was written."""
    return [
        ' '.join(
            f'{turn.role[0]}:{turn.content}' + ','.join(call.name for call in turn.tool_calls)
            for turn in sample.messages
        )
        for sample in samples.samples
        if sample.source == source
    ]


def test_each_turn_of_the_model_is_a_sample(samples: Samples) -> None:
    assert told(samples, 'full_battery_so_kitchen/1') == [
        'u:below a quarter go charging, else go to the kitchen a:get_battery',
        'u:below a quarter go charging, else go to the kitchen a:get_battery '
        't:{"tool": "get_battery", "status": "succeeded", "value": 83} a:go_to,put_down',
        'u:below a quarter go charging, else go to the kitchen a:get_battery '
        't:{"tool": "get_battery", "status": "succeeded", "value": 83} a:go_to,put_down '
        't:{"tool": "go_to", "status": "succeeded"} t:{"tool": "put_down", "status": "succeeded"} '
        'a:It was full.',
    ]


def test_the_calls_are_right_and_in_the_order_of_the_schema(samples: Samples) -> None:
    (call,) = samples.samples[0].messages[-1].tool_calls
    assert list(call.arguments.items()) == [('direction', 'forward'), ('distance_m', 1.5)]


def test_what_all_went_well_is_said_to_be_done_and_nothing_else(samples: Samples) -> None:
    assert told(samples, 'drive_in_words/1')[-1].endswith('a:Done.')
    assert told(samples, 'way_is_blocked/1') == ['u:off to the kitchen a:go_to']


def test_refusals_are_learned_too(samples: Samples) -> None:
    assert told(samples, 'ram_the_door/1') == ['u:ram the door a:I will not.']


def test_what_nothing_can_be_made_of_is_counted_by_its_reason(samples: Samples) -> None:
    assert samples.left_out == {
        'a conversation, whose earlier answers are not known': 1,
        'said in a held-out scenario too': 1,
        'an argument is told by a pattern only': 1,
        'an argument may be anything, and none is given': 1,
        'nothing is called, and answer.example does not say what to answer': 1,
        'held out': 1,
    }


@pytest.mark.parametrize('template', [NEMOTRON, CHATML], ids=['nemotron', 'chatml'])
@pytest.mark.parametrize('with_examples', [False, True])
def test_the_text_is_what_the_node_sends_and_the_model_writes(
    samples: Samples, headless: ToolFile, template: ChatTemplate, with_examples: bool
) -> None:
    written = list(lines(samples.samples, headless, template, with_examples))
    assert len(written) == len(samples.samples)
    for line in written:
        assert line['prompt'].startswith('<|im_start|>system\nYou control a robot.')
        assert ('back off a bit' in line['prompt']) == with_examples
        assert line['completion'].endswith('<|im_end|>\n')
        assert '<|im_start|>' not in line['completion']
        last = line['messages'][-1]
        assert last['role'] == 'assistant'
        for call in last.get('tool_calls', ()):
            assert call['function']['name'] in line['completion']
        assert [tool['function']['name'] for tool in line['tools']] == list(headless.tools)
    calls = '{"name": "drive", "arguments": {"direction": "forward", "distance_m": 1.5}}'
    if template is CHATML:
        assert written[0]['completion'] == f'{calls}<|im_end|>\n'
    else:
        assert '<parameter=distance_m>\n1.5\n</parameter>' in written[0]['completion']


def test_a_template_that_writes_answers_otherwise_than_it_asks_is_refused(
    samples: Samples, headless: ToolFile
) -> None:
    other = ChatTemplate('{{ messages[-1].content }}{% if add_generation_prompt %}GO{% endif %}')
    with pytest.raises(DatasetError, match='export without a model'):
        list(lines(samples.samples, headless, other, False))


def test_nothing_held_out_is_in_the_shipped_data() -> None:
    files = {path.stem: tool_file.load(path) for path in sorted((CONFIG / 'tools').glob('*.yaml'))}
    shipped = load(sorted((CONFIG / 'scenarios').glob('*.yaml')), files.__getitem__)
    held = held_out(shipped)
    kept_back = {
        ' '.join(say).casefold() for s in shipped if part_of(s.id) == 'heldout' for say in s.say
    }
    count = 0
    for robot, file in files.items():
        for sample in from_scenarios(shipped, robot, file, held).samples:
            count += 1
            assert part_of(sample.source.partition('/')[0]) == 'tuning'
            assert sample.messages[0].content.casefold() not in kept_back
    assert count > 400


def _note(recorder: Recorder, goal: Goal, event: Event) -> None:
    recorder.note(with_goal(event, goal), 0)


def _json_lines(stem: Path, origin: Origin) -> JsonLines:
    return JsonLines(stem.with_suffix('.jsonl'), origin)


def recorded(folder: Path, file: ToolFile, script: str, *commands: str) -> Trace:
    """Return the trace of commands that an agent has truly carried out, one session."""
    path = folder / 'script.yaml'
    path.write_text(script)
    recorder = Recorder(
        folder / 'traces',
        Origin(tool_file=file.path),
        [_json_lines],
        Keep(),
        lambda _trouble: None,
    )
    names = [f'command_{number}' for number in range(len(commands))]
    running = ['']
    engine = TappedEngine(
        ScriptedEngine(path),
        lambda detail: recorder.add(running[0], detail),
        lambda _cost: None,
    )
    agent = Agent(engine, file, dispatcher(file, {'get_battery': 64, 'dock': None}))
    engine.open(agent.warm_request(), lambda _share, _what: None)
    for name, text in zip(names, commands, strict=True):
        running[0] = name
        note = partial(_note, recorder, Goal(text))
        agent.execute(Command(name, text, 'session'), CancelToken(10.0), note)
    assert recorder.close()
    (written,) = (folder / 'traces').rglob('*.jsonl')
    return read(written)


SCRIPT = """
- {when: '"status"', text: All is well.}
- {when: battery, calls: [{name: get_battery, arguments: {}}]}
- {when: too far, calls: [{name: drive, arguments: {direction: forward, distance_m: 400}}]}
- {when: reverse, calls: [{name: drive, arguments: {direction: backward, distance_m: 1}}]}
- {when: hello, text: Hello.}
"""


def test_what_a_node_has_done_well_is_learned(tmp_path: Path, headless: ToolFile) -> None:
    trace = recorded(tmp_path, headless, SCRIPT, 'read the battery', 'too far', 'please reverse')
    found = from_traces([trace], headless, frozenset())
    assert found.left_out == {'it did not end well': 1}
    first = [told(found, f'command command_{number}') for number in (0, 2)]
    assert first[0][1] == (
        'u:read the battery a:get_battery t:{"tool": "get_battery", "status": "succeeded", '
        '"value": 64} a:All is well.'
    )
    # The second one was said in the same session: its chat begins with the first.
    assert first[1][0].startswith('u:read the battery a:get_battery t:')
    assert first[1][0].endswith('u:please reverse a:drive')
    assert len(first[1]) == 2
    for line in lines(found.samples, headless, NEMOTRON, with_examples=False):
        assert line['completion']


def test_what_is_held_out_is_not_learned_from_traces_either(
    tmp_path: Path, headless: ToolFile
) -> None:
    trace = recorded(tmp_path, headless, SCRIPT, 'Please, reverse!', 'hello there')
    found = from_traces([trace], headless, frozenset({'please reverse'}))
    # The second command's chat has the first one in it.
    assert found == Samples((), {'said in a held-out scenario too': 2})


def test_calls_of_another_tool_file_are_not_learned(tmp_path: Path, headless: ToolFile) -> None:
    trace = recorded(tmp_path, headless, SCRIPT, 'reverse')
    other = tool_file.load(CONFIG / 'tools' / 'moveit_arm.yaml')
    assert from_traces([trace], other, frozenset()).left_out == {
        'a call is not valid by this tool file': 1
    }


def test_a_trace_without_prompts_teaches_nothing(tmp_path: Path, headless: ToolFile) -> None:
    trace = recorded(tmp_path, headless, SCRIPT, 'hello')
    for entry in trace.entries:
        if entry.event.phase is Phase.PROMPTING:
            entry.event.detail.clear()
    assert from_traces([trace], headless, frozenset()).left_out == {
        'what the model was asked is not in the trace': 1
    }


def test_a_trace_that_something_was_taken_out_of_teaches_nothing(
    tmp_path: Path, headless: ToolFile
) -> None:
    trace = recorded(tmp_path, headless, SCRIPT, 'hello, my password is hunter2')
    assert from_traces([trace], headless, frozenset()).left_out == {
        'something was taken out of it, or cut short': 1
    }


def test_the_command_writes_the_file(tmp_path: Path, capsys) -> None:
    scenarios, out = tmp_path / 'mine.yaml', tmp_path / 'new' / 'data.jsonl'
    scenarios.write_text(FILE)
    template = ROOT / 'test' / 'fixtures' / 'nemotron_template.jinja'
    arguments = ['dataset', 'export', str(out), '--scenarios', str(scenarios)]
    assert main([*arguments, '--model', str(template)]) == 0
    told = capsys.readouterr()
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert f'{len(written)} samples in {out}' in told.out
    assert 'left out: held out (1)' in told.err
    assert written[0].keys() == {'source', 'robot', 'messages', 'tools', 'prompt', 'completion'}
    assert main(arguments) == 0
    assert 'prompt' not in json.loads(out.read_text().splitlines()[0])


def test_the_command_takes_traces(tmp_path: Path, headless: ToolFile, capsys) -> None:
    recorded(tmp_path, headless, SCRIPT, 'please reverse')
    (trace,) = (tmp_path / 'traces').rglob('*.jsonl')
    out = tmp_path / 'data.jsonl'
    assert main(['dataset', 'export', str(out), '--scenarios', '--traces', str(trace)]) == 0
    assert [json.loads(line)['source'] for line in out.read_text().splitlines()] == [
        'command command_0',
        'command command_0',
    ]


@pytest.mark.parametrize(
    ('more', 'told'),
    [
        (['--scenarios'], 'nothing is left to learn from'),
        (['--scenarios', 'none.yaml'], 'none.yaml: can not be read'),
        (['--traces', 'none.jsonl'], 'none.jsonl'),
        (['--tools', 'none.yaml'], 'none.yaml'),
        (['--model', 'none.jinja'], 'none.jinja: can not be read'),
    ],
)
def test_what_is_wrong_is_told_and_the_file_stays(tmp_path: Path, capsys, more, told) -> None:
    out = tmp_path / 'data.jsonl'
    out.write_text('before')
    assert main(['dataset', 'export', str(out), *more]) == 1
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['data.jsonl']
    assert out.read_text() == 'before'
