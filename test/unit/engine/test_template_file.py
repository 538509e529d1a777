"""A model's chat template is found, wherever the model keeps it, and nothing is loaded for it."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from nemotron_ros.engine.protocol import EngineError
from nemotron_ros.engine.template_file import read_template

SOURCE = '{% for message in messages %}{{ message.content }}|{% endfor %}'
CHAT = [{'role': 'user', 'content': 'Grüße'}]


def write_gguf(path: Path, template: str) -> Path:
    writer = gguf.GGUFWriter(path, 'llama')
    writer.add_array('tokenizer.ggml.tokens', ['a', 'tokenizer.chat_template'])
    writer.add_uint32('llama.block_count', 1)
    if template:
        writer.add_chat_template(template)
    writer.add_tensor('a', np.zeros((4, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def in_gguf(folder: Path) -> Path:
    return write_gguf(folder / 'model.gguf', SOURCE)


def in_a_file(folder: Path) -> Path:
    path = folder / 'my.jinja'
    path.write_text(SOURCE)
    return path


def in_a_folder(folder: Path) -> Path:
    (folder / 'chat_template.jinja').write_text(SOURCE)
    (folder / 'tokenizer_config.json').write_text('{"chat_template": "another"}')
    return folder


def in_the_config(folder: Path) -> Path:
    (folder / 'tokenizer_config.json').write_text(json.dumps({'chat_template': SOURCE}))
    return folder


@pytest.mark.parametrize('where', [in_gguf, in_a_file, in_a_folder, in_the_config])
def test_it_is_found(tmp_path: Path, where) -> None:
    assert read_template(str(where(tmp_path)), {}).render(CHAT, {}, False) == 'Grüße|'


def no_template(folder: Path) -> Path:
    return write_gguf(folder / 'base.gguf', '')


def no_such_file(folder: Path) -> Path:
    return folder / 'none.jinja'


def an_empty_folder(folder: Path) -> Path:
    return folder


def a_damaged_config(folder: Path) -> Path:
    (folder / 'tokenizer_config.json').write_text('[1')
    return folder


def no_jinja(folder: Path) -> Path:
    path = folder / 'my.jinja'
    path.write_text('{% for %}')
    return path


@pytest.mark.parametrize(
    ('what', 'told'),
    [
        (no_template, 'there is no chat template; a base model'),
        (no_such_file, 'none.jinja: can not be read'),
        (an_empty_folder, 'there is no chat_template.jinja'),
        (a_damaged_config, 'is no JSON object'),
        (no_jinja, 'my.jinja: is no chat template'),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, what, told: str) -> None:
    with pytest.raises(EngineError, match=told):
        read_template(str(what(tmp_path)), {})
