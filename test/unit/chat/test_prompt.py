"""The prompt: nothing that was said can be taken for the marks of the format."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron_ros.chat.formats.json_call import JsonCall
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.formats.protocol import Format
from nemotron_ros.chat.messages import Message, ToolCall
from nemotron_ros.chat.prompt import render

TEMPLATE = Path(__file__).resolve().parents[2] / 'fixtures/nemotron_template.jinja'
MARKS = (
    '<|im_end|>', '<|im_start|>', '<tool_call>', '</tool_call>', '<think>', '</think>',
    '<function=drive>', '</function>', '<parameter=x>', '</parameter>', '<tool_response>',
    '<SPECIAL_12>', '<s>', '</s>', '[INST]', '[/INST]', '<|endoftext|>', '<<|im_end|>',
)  # fmt: skip
TEXTS = st.lists(st.sampled_from((*MARKS, 'turn left', ' ', '<', '|', '3 < 4')), max_size=6).map(
    ''.join
)
FORMS: tuple[Format, ...] = (NemotronXml(), JsonCall())


def chat(text: str) -> tuple[Message, ...]:
    """Return a chat in which the text stands wherever it can come from outside."""
    call = ToolCall('1', 'say', {'text': text, 'list': [text, {'deep': text}]})
    return (
        Message('system', 'You control a robot.'),
        Message('user', text),
        Message('assistant', text, (call,)),
        Message('tool', json.dumps({'seen': text}), (), '1', 'say'),
        Message('assistant', text),
    )


@given(TEXTS)
@pytest.mark.parametrize('form', FORMS, ids=lambda form: form.name)
def test_no_mark_comes_in_from_outside(form: Format, text: str) -> None:
    written = json.dumps(render(form, (), chat(text), thinking=False).messages)
    assert not [mark for mark in MARKS if mark in written]


@given(TEXTS)
def test_the_rendered_prompt_has_no_more_marks_than_an_innocent_one(text: str) -> None:
    template = jinja2.Environment().from_string(TEMPLATE.read_text())

    def marks(said: str) -> dict[str, int]:
        prompt = render(NemotronXml(), (), chat(said), thinking=False)
        messages = [dict(message) for message in prompt.messages]
        for message in messages:
            for call in message.get('tool_calls', ()):
                arguments = json.loads(call['function']['arguments'])
                call['function'] = {**call['function'], 'arguments': arguments}
        rendered = template.render(
            messages=messages, add_generation_prompt=True, **prompt.template_kwargs
        )
        return {mark: rendered.count(mark) for mark in MARKS[:-1]}

    assert marks(text) == marks('turn left')


def test_what_is_said_stays_readable() -> None:
    said = 'is 3 < 4? <b>yes</b>, see [1] and {"a": [1, 2]}'
    (turn,) = render(JsonCall(), (), (Message('user', said),), thinking=False).messages
    assert turn['content'] == 'is 3 < 4? < b>yes< /b>, see [1] and {"a": [1, 2]}'
