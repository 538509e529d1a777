"""Training data: what the model should have written, turn by turn, made of scenarios and traces.

Nothing of the held-out part gets into it, whoever has said it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec
from nemotron_ros.chat.prompt import (
    SYSTEM,
    as_function,
    format_for,
    opening,
    render,
    result_content,
)
from nemotron_ros.chat.template import ChatTemplate, ChatTemplateError
from nemotron_ros.evaluation.match import Match
from nemotron_ros.evaluation.scenario import Fails, Scenario, WantedCall, wording
from nemotron_ros.evaluation.split import TUNING, part_of
from nemotron_ros.evaluation.whole_file import write_whole
from nemotron_ros.tools.model import Reading, ToolFile
from nemotron_ros.tools.result import Status
from nemotron_ros.tools.validate import Validator
from nemotron_ros.trace.record import Trace
from nemotron_ros.trace.redact import is_whole
from nemotron_ros.trace.stories import Story, stories

DONE = 'Done.'
"""What is said when all was done, and nothing came back that is worth telling."""
GOOD_ENDS = ('SUCCEEDED', 'ANSWERED')


@dataclass(frozen=True)
class Sample:
    """A chat that ends with the turn to learn, the model's own.

    :param source: the item or command it was made of.
    """

    source: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Samples:
    """Samples, and how many items and commands were left out, by reason."""

    samples: tuple[Sample, ...]
    left_out: Mapping[str, int]


class DatasetError(ValueError):
    """No training data can be made in this way. The message says what to do."""


class _LeftOut(Exception):
    """No sample can be made of this. The message is the reason."""


def held_out(scenarios: Iterable[Scenario]) -> frozenset[str]:
    """Return what is said in scenarios that are not for tuning, in the form that is compared."""
    return frozenset(
        wording(turn)
        for scenario in scenarios
        if part_of(scenario.id) != TUNING
        for say in scenario.say
        for turn in say
    )


def from_scenarios(
    scenarios: Sequence[Scenario], robot: str, tool_file: ToolFile, held: frozenset[str]
) -> Samples:
    """Return what one robot's scenarios teach: the calls in order, results, and last words.

    :param robot: as the scenarios name it; those of others are passed over.
    :param held: what nothing that is said may be, by :func:`held_out`.
    """
    left_out: Counter[str] = Counter()
    samples: list[Sample] = []
    for scenario in scenarios:
        if scenario.robot != robot:
            continue
        for number, say in enumerate(scenario.say, 1):
            try:
                turns = _scenario_turns(scenario, say, tool_file, held)
            except _LeftOut as reason:
                left_out[str(reason)] += 1
                continue
            samples += _per_answer(f'{scenario.id}/{number}', turns)
    return Samples(tuple(samples), left_out)


def from_traces(traces: Iterable[Trace], tool_file: ToolFile, held: frozenset[str]) -> Samples:
    """Return what commands teach that a node has carried out, where all went well.

    Whether the model did what was meant is not known here: look through it before you train.

    :param tool_file: every call must be valid by it.
    """
    validators = {name: Validator(tool.spec) for name, tool in tool_file.tools.items()}
    left_out: Counter[str] = Counter()
    samples: list[Sample] = []
    for trace in traces:
        for story in stories(trace.entries):
            if story.direct:
                continue
            try:
                turns = _story_turns(story, validators, held)
            except _LeftOut as reason:
                left_out[str(reason)] += 1
                continue
            samples += _per_answer(f'command {story.id}', turns)
    return Samples(tuple(samples), left_out)


def lines(
    samples: Iterable[Sample],
    tool_file: ToolFile,
    template: ChatTemplate | None,
    with_examples: bool,
) -> Iterator[dict[str, Any]]:
    """Yield each sample as JSON.

    ``messages`` and ``tools`` are as OpenAI's API and the trainers of the model hub know them.
    With a ``template``, ``prompt`` is the text that the node would send to a model with this
    template, and ``completion`` what that model should write after it.

    :param with_examples: begin as the node's prompts do, with the tool file's examples.
    :raise DatasetError: if the template refuses a chat, or does not set answers apart.
    """
    specs = tuple(tool.spec for tool in tool_file.tools.values())
    begin = opening(specs, tool_file.examples) if with_examples else (Message('system', SYSTEM),)
    tools = [as_function(spec) for spec in specs]
    for sample in samples:
        messages = (*begin, *sample.messages)
        line: dict[str, Any] = {
            'source': sample.source,
            'robot': tool_file.robot,
            'messages': [_message(message) for message in messages],
            'tools': tools,
        }
        if template is not None:
            line['prompt'], line['completion'] = _texts(template, specs, messages)
        yield line


def write(
    path: Path,
    found: Iterable[tuple[ToolFile, Samples]],
    template: ChatTemplate | None,
    with_examples: bool,
) -> int:
    """Write the lines of all samples; return how many there are.

    The file is there as a whole, or as it was before; with nothing to write it stays.

    :raise DatasetError: as :func:`lines` does.
    :raise OSError: if it can't be written.
    """
    written = [
        json.dumps(line, ensure_ascii=False) + '\n'
        for file, samples in found
        for line in lines(samples.samples, file, template, with_examples)
    ]
    if written:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, ''.join(written))
    return len(written)


def _scenario_turns(
    scenario: Scenario, say: tuple[str, ...], tool_file: ToolFile, held: frozenset[str]
) -> list[Message]:
    if part_of(scenario.id) != TUNING:
        raise _LeftOut('held out')
    if any(wording(turn) in held for turn in say):
        raise _LeftOut('said in a held-out scenario too')
    if len(say) > 1:
        raise _LeftOut('a conversation, whose earlier answers are not known')
    calls = [_call(wanted, tool_file) for wanted in scenario.expected.calls[0]]
    turns = [Message('user', say[0])]
    plainly_done = bool(calls)
    for step in _steps(calls, tool_file):
        numbered = [replace(call, id=f'call_{len(turns)}_{at}') for at, call in enumerate(step)]
        turns.append(Message('assistant', tool_calls=tuple(numbered)))
        for call in numbered:
            value = scenario.world.get(call.name)
            plainly_done &= value is None
            if isinstance(value, Fails):
                content = result_content(call.name, 'failed', error=value.reason)
            else:
                content = result_content(call.name, 'succeeded', value)
            turns.append(Message('tool', content, (), call.id, call.name))
    answer = scenario.expected.answer.example or (DONE if plainly_done else '')
    if answer:
        turns.append(Message('assistant', answer))
    if len(turns) == 1:
        raise _LeftOut('nothing is called, and answer.example does not say what to answer')
    return turns


def _steps(calls: Sequence[ToolCall], tool_file: ToolFile) -> Iterator[list[ToolCall]]:
    """Yield what is called in one turn: what a reading tells decides what comes after it."""
    step: list[ToolCall] = []
    for call in calls:
        step.append(call)
        if isinstance(tool_file.tools[call.name].binding, Reading):
            yield step
            step = []
    if step:
        yield step


def _call(wanted: WantedCall, tool_file: ToolFile) -> ToolCall:
    """Return a call that would be right."""
    schema = tool_file.tools[wanted.tool].spec
    arguments = {name: _value(wanted.arguments[name]) for name in _in_order(wanted, schema)}
    if Validator(schema).check(arguments):
        raise _LeftOut('an argument may be anything, and none is given')
    return ToolCall('', wanted.tool, arguments)


def _in_order(wanted: WantedCall, spec: ToolSpec) -> list[str]:
    return [name for name in spec.parameters['properties'] if name in wanted.arguments]


def _value(match: Match) -> object:
    for value in match.examples():
        return value
    raise _LeftOut('an argument is told by a pattern only')


def _story_turns(
    story: Story, validators: Mapping[str, Validator], held: frozenset[str]
) -> list[Message]:
    if story.status not in GOOD_ENDS:
        raise _LeftOut('it did not end well')
    if not story.whole or not story.turns:
        raise _LeftOut('events of it are missing')
    before = story.turns[0].asked.get('messages')
    if not isinstance(before, list):
        raise _LeftOut('what the model was asked is not in the trace')
    turns = [_read(message) for message in before]
    for turn in story.turns:
        calls = tuple(told.call for told in turn.calls)
        turns.append(Message('assistant', turn.text, calls))
        for told in turn.calls:
            call, result = told.call, told.result
            if result is None or result.status is not Status.SUCCEEDED:
                raise _LeftOut('a call did not succeed')
            validator = validators.get(call.name)
            if validator is None or validator.check(call.arguments):
                raise _LeftOut('a call is not valid by this tool file')
            content = result_content(call.name, 'succeeded', result.value)
            turns.append(Message('tool', content, (), call.id, call.name))
    if not is_whole(
        [[turn.content, [dict(c.arguments) for c in turn.tool_calls]] for turn in turns]
    ):
        raise _LeftOut('something was taken out of it, or cut short')
    if any(turn.role == 'user' and wording(turn.content) in held for turn in turns):
        raise _LeftOut('said in a held-out scenario too')
    return turns


def _read(message: Mapping[str, Any]) -> Message:
    """Return a message of an earlier turn; only its place tells which call a result is of."""
    calls = tuple(
        ToolCall(f'earlier_{at}', str(call['name']), dict(call['arguments']))
        for at, call in enumerate(message.get('calls', ()))
    )
    return Message(message['role'], str(message['content']), calls)


def _per_answer(source: str, turns: Sequence[Message]) -> Iterator[Sample]:
    """Yield a sample for each turn that is the model's, since the person's last one."""
    said = max(at for at, turn in enumerate(turns) if turn.role == 'user')
    for at, turn in enumerate(turns):
        if at > said and turn.role == 'assistant' and (turn.content or turn.tool_calls):
            yield Sample(source, tuple(turns[: at + 1]))


def _message(message: Message) -> dict[str, Any]:
    """Return a message with the arguments of its calls as objects, as templates take them."""
    told: dict[str, Any] = {'role': message.role, 'content': message.content}
    if message.tool_calls:
        told['tool_calls'] = [
            {
                'id': call.id,
                'type': 'function',
                'function': {'name': call.name, 'arguments': dict(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.role == 'tool':
        told['tool_call_id'] = message.tool_call_id
        told['name'] = message.tool_name
    return told


def _texts(
    template: ChatTemplate, specs: tuple[ToolSpec, ...], messages: Sequence[Message]
) -> tuple[str, str]:
    """Return the prompt of the last turn, and that turn, as the model should write it."""
    form = format_for(template.source)
    asked = render(form, specs, messages[:-1], thinking=False)
    whole = render(form, specs, messages, thinking=False)
    try:
        prompt = template.render(asked.messages, asked.template_kwargs, begin_answer=True)
        text = template.render(whole.messages, whole.template_kwargs, begin_answer=False)
    except ChatTemplateError as error:
        raise DatasetError(f'{error}; export without a model') from error
    if not text.startswith(prompt):
        raise DatasetError(
            'the chat template writes an answer otherwise than it asks for it, so that no '
            'completion can be told from its prompt; export without a model'
        )
    return prompt, text[len(prompt) :]
