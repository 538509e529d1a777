"""Train a LoRA of a model on what ``nemotron dataset export --model`` has written.

Only the completions are learned, never the prompts. What comes out is ``OUT/adapter``, as peft
keeps it, and ``OUT/merged``, a checkpoint that the engine ``transformers`` loads, and that can be
converted for others::

    pip install torch transformers peft gguf
    nemotron dataset export out/data.jsonl --model smollm2-135m
    python scripts/train_lora.py out/data.jsonl --model smollm2-135m --out out/lora
    nemotron eval --engine transformers --model out/lora/merged --part heldout

``--steps 0`` writes the model as it was, to measure before. It runs on the first CUDA device, or
on the CPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nemotron_ros.bringup import config_path
from nemotron_ros.engine.model_files import find, load_catalogue
from nemotron_ros.engine.protocol import EngineError
from nemotron_ros.engine.template_file import read_template

NOT_LEARNED = -100
"""The label of a token that the loss leaves out."""
WARM_UP = 0.1
"""The share of the steps over which the learning rate rises; then it falls to nothing."""
# peft adds nothing to the projection at a Mamba layer's end: its kernels go past the adapter.
MAMBA_END = 'out_proj'

NEEDED = ('torch', 'transformers', 'peft', 'gguf')

Tokens = tuple[list[int], list[int]]


def load(name: str) -> tuple[Any, Any]:
    """Return a model, in 32 bits on a CPU, and its tokenizer with its chat template.

    :raise EngineError: if the model is not on disk, or has no template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    catalogue = load_catalogue(config_path('models.yaml'))
    template = read_template(name, catalogue)
    path = Path(name).expanduser()
    where: dict[str, Any] = {}
    if not path.is_dir():
        path = find(name, catalogue)
        where['gguf_file'] = path.name
        path = path.parent
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, **where)
    tokenizer = AutoTokenizer.from_pretrained(path, **where)
    tokenizer.chat_template = template.source
    return model.to('cuda' if torch.cuda.is_available() else 'cpu'), tokenizer


def read_samples(path: Path, tokenizer: Any, max_tokens: int) -> tuple[list[Tokens], int]:
    """Return the tokens and labels of each line, and how many lines were too long."""
    samples: list[Tokens] = []
    too_long = 0
    for line in path.read_text(encoding='utf-8').splitlines():
        data = json.loads(line)
        if 'completion' not in data:
            raise ValueError(f'{path}: has no completions; export it with --model')
        # The template writes special tokens itself.
        prompt, answer = (
            tokenizer(data[key], add_special_tokens=False)['input_ids']
            for key in ('prompt', 'completion')
        )
        if len(prompt) + len(answer) > max_tokens:
            too_long += 1
        else:
            samples.append((prompt + answer, [NOT_LEARNED] * len(prompt) + answer))
    return samples, too_long


def batches(
    samples: Sequence[Tokens], size: int, count: int, dice: random.Random
) -> Iterator[Any]:
    """Yield so many batches; every sample comes once before any comes again."""
    waiting: list[Tokens] = []
    for _ in range(count):
        if len(waiting) < size:
            waiting += dice.sample(samples, len(samples))
        yield [waiting.pop(0) for _ in range(size)]


def train(
    model: Any, samples: Sequence[Tokens], steps: int, size: int, rate: float, seed: int
) -> Iterator[float]:
    """Train; yield the mean loss of each step."""
    import torch

    torch.manual_seed(seed)
    model.train()
    learned = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps + 1, pct_start=WARM_UP
    )
    for batch in batches(samples, size, steps, random.Random(seed)):
        total = 0.0
        for ids, labels in batch:
            # One by one: padding costs a CPU as much as words do.
            given = torch.tensor([[ids], [labels]], device=model.device)
            loss = model(input_ids=given[0], labels=given[1]).loss / size
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        yield total


def with_adapter(model: Any, rank: int, seed: int) -> Any:
    """Return the model with a LoRA that changes nothing yet."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules='all-linear',
        exclude_modules=[MAMBA_END],
        task_type='CAUSAL_LM',
    )
    return get_peft_model(model, config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and write; 1 if something is not there."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('data', type=Path, help='what nemotron dataset export has written')
    parser.add_argument(
        '--model', required=True, help='a name, a GGUF file or a checkpoint folder'
    )
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--steps', type=int, default=100)
    parser.add_argument('--batch', type=int, default=8, help='samples to a step')
    parser.add_argument('--rate', type=float, default=2e-4, help='learning rate at its highest')
    parser.add_argument('--rank', type=int, default=16)
    parser.add_argument('--max-tokens', type=int, default=2048, help='longer samples are left out')
    parser.add_argument('--seed', type=int, default=0)
    flags = parser.parse_args(arguments)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f'train_lora: needs: pip install {" ".join(missing)}', file=sys.stderr)
        return 1
    try:
        model, tokenizer = load(flags.model)
        samples, too_long = read_samples(flags.data, tokenizer, flags.max_tokens)
        if not samples:
            raise ValueError(f'{flags.data}: no sample of at most {flags.max_tokens} tokens')
    except (EngineError, OSError, ValueError) as error:
        print(f'train_lora: {error}', file=sys.stderr)
        return 1
    print(f'{len(samples)} samples; {too_long} are too long')
    adapted = with_adapter(model, flags.rank, flags.seed)
    began_s = time.monotonic()
    losses = train(adapted, samples, flags.steps, flags.batch, flags.rate, flags.seed)
    for step, loss in enumerate(losses, 1):
        print(f'step {step} of {flags.steps}: loss {loss:.3f}, {time.monotonic() - began_s:.0f} s')
    adapted.save_pretrained(flags.out / 'adapter')
    merged = adapted.merge_and_unload()
    merged.save_pretrained(flags.out / 'merged')
    tokenizer.save_pretrained(flags.out / 'merged')
    print(f'in {flags.out}: adapter, merged')
    return 0


if __name__ == '__main__':
    sys.exit(main())
