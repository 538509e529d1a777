"""The training script on a tiny model of Nemotron's kind: it learns, and what it writes loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import program

pytest.importorskip('torch', reason='torch is not here')
pytest.importorskip('peft', reason='peft is not here: pip install peft')

import tiny_nemotron_h

from nemotron_ros.engine.checkpoint import find_checkpoint
from nemotron_ros.engine.local_prompt import load_prompt
from nemotron_ros.engine.torch_model import TorchModel

SCRIPT = program('scripts/train_lora.py')


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nemotron_h.write(tmp_path_factory.mktemp('tiny'))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / 'data.jsonl'
    lines = [
        {'prompt': f'<|im_start|>user\n{word}<|im_end|>\n', 'completion': 'go<|im_end|>\n'}
        for word in ('kitchen', 'hall', 'a very long way round ' * 40)
    ]
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


def test_it_learns_and_what_it_writes_loads(model: Path, data: Path, tmp_path: Path, capsys):
    out = tmp_path / 'out'
    flags = ['--out', str(out), '--steps', '12', '--batch', '2', '--rate', '0.02']
    arguments = [str(data), '--model', str(model), *flags, '--max-tokens', '60']
    assert SCRIPT.main(arguments) == 0
    told = capsys.readouterr().out
    assert '2 samples; 1 are too long' in told
    losses = [
        float(line.split('loss ')[1].split(',')[0]) for line in told.splitlines() if 'loss' in line
    ]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.5
    assert (out / 'adapter' / 'adapter_model.safetensors').is_file()
    checkpoint = find_checkpoint(str(out / 'merged'))
    assert checkpoint.architecture == 'nemotron_h'
    prompt = load_prompt(checkpoint)
    assert prompt.tokenizer.chat_template == tiny_nemotron_h.TEMPLATE.read_text()
    learned = TorchModel(checkpoint, 'cpu', 'float32')
    tokens = prompt.tokenizer('<|im_start|>user\nhall<|im_end|>\n', add_special_tokens=False)
    (first, *_) = prompt.tokenizer('go', add_special_tokens=False)['input_ids']
    assert int(learned.read(tokens['input_ids'], learned.begin()).argmax()) == first


def test_no_step_leaves_the_model_as_it_was(model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    assert SCRIPT.main([str(data), '--model', str(model), '--out', str(out), '--steps', '0']) == 0
    before, after = (
        TorchModel(find_checkpoint(str(folder)), 'cpu', 'float32')
        for folder in (model, out / 'merged')
    )
    tokens = [5, 6, 7]
    assert bool(
        (before.read(tokens, before.begin()) - after.read(tokens, after.begin())).abs().max()
        < 1e-4
    )


def test_only_completions_are_learned(model: Path, data: Path) -> None:
    _, tokenizer = SCRIPT.load(str(model))
    samples, _ = SCRIPT.read_samples(data, tokenizer, 2000)
    ids, labels = samples[0]
    learned = [label for label in labels if label != SCRIPT.NOT_LEARNED]
    assert tokenizer.decode(learned) == 'go<|im_end|>\n'
    assert len(ids) == len(labels) > len(learned)


@pytest.mark.parametrize(
    ('line', 'told'),
    [('{"messages": []}', 'export it with --model'), ('', 'no sample of at most 2048 tokens')],
)
def test_what_is_wrong_is_told(model: Path, tmp_path: Path, capsys, line: str, told: str) -> None:
    data = tmp_path / 'bad.jsonl'
    data.write_text(line)
    assert SCRIPT.main([str(data), '--model', str(model), '--out', str(tmp_path / 'out')]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
