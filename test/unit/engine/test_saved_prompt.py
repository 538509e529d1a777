"""What was read of the prompt is kept, found again by what it was read with, and bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nemotron_ros.engine.saved_prompt import KEPT, SUFFIX, file_name, make_room, shared_beginning

SETTINGS = {'context_tokens': 2048, 'batch_tokens': 128}


@pytest.mark.parametrize(
    ('first', 'second', 'shared'),
    [
        ('<s>Hi<u>A', '<s>Hi<u>B', '<s>Hi<u>'),
        ('<s>Hi<u>\nA', '<s>Hi<u>\nB', '<s>Hi<u>'),
        ('<s>Hi<u>', '<s>Hi<u>', '<s>Hi<u>'),
        ('<s>Hi<u>AAA', '<s>Hi<u>A', '<s>Hi<u>'),
        ('<s>Hi<u', '<s>Hi<u>', '<s>'),
        ('Hi A', 'Hi B', ''),
        ('', '<s>', ''),
    ],
)
def test_prompts_share_what_goes_to_the_last_tag(first: str, second: str, shared: str) -> None:
    assert shared_beginning(first, second) == shared_beginning(second, first) == shared


def test_another_model_prompt_or_setting_has_another_file(tmp_path: Path) -> None:
    model = tmp_path / 'a.gguf'
    model.write_text('one')
    name = file_name(model, 'Hi', SETTINGS)
    assert name == file_name(model, 'Hi', dict(reversed(SETTINGS.items())))
    others = {file_name(model, 'Ho', SETTINGS)}
    others.add(file_name(model, 'Hi', {**SETTINGS, 'context_tokens': 4096}))
    model.write_text('other')
    others.add(file_name(model, 'Hi', SETTINGS))
    assert len(others | {name}) == 4


def test_the_oldest_files_go_and_the_one_in_use_stays(prompts: Path) -> None:
    for age in range(KEPT + 3):
        path = prompts / f'{age}{SUFFIX}'
        path.touch()
        os.utime(path, ns=(0, 10**9 * (100 - age)))
    (prompts / 'something else').touch()
    oldest = f'{KEPT + 2}{SUFFIX}'
    make_room(prompts, oldest)
    kept = {path.name for path in prompts.iterdir()}
    assert kept == {'something else', oldest, *(f'{age}{SUFFIX}' for age in range(KEPT - 1))}
