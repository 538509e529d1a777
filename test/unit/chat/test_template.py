"""A chat template writes what the model hub's own library writes, and can do no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec
from nemotron_ros.chat.prompt import render
from nemotron_ros.chat.template import ChatTemplate, ChatTemplateError

NEMOTRON = (
    Path(__file__).resolve().parents[2] / 'fixtures' / 'nemotron_template.jinja'
).read_text()
CHATML = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>\\n' }}
    {%- for call in message.tool_calls or [] %}
        {%- if loop.index > 2 %}{% break %}{% endif %}
        {{- call.function | tojson(indent=1) }}
    {%- endfor %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""
LOOSE = """\
{% for message in messages %}
  {% if message.tool_calls %}
{{ message.tool_calls | tojson }}
  {% endif %}
{{ message.content }}
{% endfor %}
"""
DRIVE = ToolSpec(
    'drive',
    'Drive <straight> & "on".',
    {'type': 'object', 'properties': {'distance_m': {'type': 'number', 'maximum': 3.0}}},
)
CHAT = (
    Message('system', 'You control a robot.'),
    Message('user', 'Fahr zur Küche'),
    Message(
        'assistant', '', (ToolCall('call_1', 'drive', {'to': 'Küche <b>', 'distance_m': 1.5}),)
    ),
    Message('tool', '{"status": "succeeded"}', (), 'call_1', 'drive'),
    Message('assistant', 'Done.'),
)


@pytest.mark.parametrize('source', [NEMOTRON, CHATML, LOOSE], ids=['nemotron', 'chatml', 'loose'])
@pytest.mark.parametrize('begin_answer', [False, True])
@pytest.mark.parametrize('count', range(2, len(CHAT) + 1))
def test_it_writes_what_transformers_writes(source: str, begin_answer: bool, count: int) -> None:
    utils = pytest.importorskip('transformers.utils.chat_template_utils')
    prompt = render(NemotronXml(), (DRIVE,), CHAT[:count], thinking=False)
    template = ChatTemplate(source)
    ours = template.render(prompt.messages, prompt.template_kwargs, begin_answer)
    read = json.loads(json.dumps(prompt.messages))
    for message in read:
        for call in message.get('tool_calls', ()):
            call['function']['arguments'] = json.loads(call['function']['arguments'])
    theirs, _ = utils.render_jinja_template(
        conversations=[read],
        chat_template=source,
        add_generation_prompt=begin_answer,
        **prompt.template_kwargs,
    )
    assert ours == theirs[0]
    assert 'Küche' in ours


@pytest.mark.parametrize(
    ('source', 'told'),
    [
        ("{{ raise_exception('roles must alternate') }}", 'roles must alternate'),
        ('{{ messages.__class__.__mro__ }}', 'unsafe'),
        ('{{ messages.append(1) }}', 'unsafe|not safely'),
        ('{{ messages[7].content }}', 'refuses the chat'),
    ],
)
def test_what_a_template_must_not_do_is_told(source: str, told: str) -> None:
    with pytest.raises(ChatTemplateError, match=told):
        ChatTemplate(source).render([{'role': 'user', 'content': 'x'}], {}, True)


def test_what_is_no_template_is_told() -> None:
    with pytest.raises(ChatTemplateError, match='is no chat template'):
        ChatTemplate('{% for %}')
