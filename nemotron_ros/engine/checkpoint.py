"""A first look at a checkpoint folder, as the model hub lays them out, before it is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron_ros.engine.protocol import ModelFileError

TOKENIZERS = ('tokenizer.json', 'tokenizer.model')
WEIGHTS = ('*.safetensors', '*.bin')
INDEX = 'model.safetensors.index.json'


@dataclass(frozen=True)
class Checkpoint:
    """A folder with weights, configuration and tokenizer.

    ``architecture`` is the configuration's ``model_type``; ``quantization`` names how the
    weights are packed, empty if they are not; ``max_context_tokens`` is 0 if it is not told.
    """

    folder: Path
    name: str
    architecture: str
    quantization: str
    max_context_tokens: int


def find_checkpoint(model: str) -> Checkpoint:
    """Return the checkpoint that ``model`` names: a folder, or a model of the hub's cache.

    Nothing is fetched: a robot starts without a net.

    :raise ModelFileError: if it is not there or not whole.
    """
    folder = Path(model).expanduser()
    if not model or not folder.is_dir():
        if not model or folder.exists() or model.startswith(('.', '/', '~')):
            raise ModelFileError(
                f'model: {model!r} is no folder; expected a checkpoint folder with config.json, '
                'or a model name of the hub such as nvidia/NVIDIA-Nemotron-3-Nano-4B-BF16'
            )
        folder = _cached(model)
    config = _read_json(folder / 'config.json')
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise ModelFileError(
            f'{folder}: there is no tokenizer ({" or ".join(TOKENIZERS)}); fetch the model again'
        )
    _check_weights(folder)
    context = config.get('max_position_embeddings')
    return Checkpoint(
        folder,
        folder.name if Path(model).expanduser() == folder else model,
        str(config.get('model_type', '')),
        _quantization(folder, config),
        context if isinstance(context, int) else 0,
    )


def _cached(model: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (OSError, ValueError) as error:  # not cached, or no name that the hub has
        raise ModelFileError(
            f'model: {model!r} is no folder, and is not in the model cache; '
            f'fetch it with: hf download {model}'
        ) from error


def _quantization(folder: Path, config: dict[str, Any]) -> str:
    if (folder / 'hf_quant_config.json').is_file():
        return 'modelopt'
    told = config.get('quantization_config')
    return str(told.get('quant_method', 'unknown')) if isinstance(told, dict) else ''


def _check_weights(folder: Path) -> None:
    if not any(path.is_file() for pattern in WEIGHTS for path in folder.glob(pattern)):
        raise ModelFileError(f'{folder}: there are no weights; fetch the model again')
    if not (folder / INDEX).is_file():
        return
    shards = _read_json(folder / INDEX).get('weight_map', {})
    missing = sorted({name for name in shards.values() if not (folder / name).is_file()})
    if missing:
        raise ModelFileError(
            f'{folder}: {len(missing)} files of weights are missing, such as {missing[0]}; '
            'fetch the model again'
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ModelFileError(
            f'{path.parent}: there is no {path.name}; expected a checkpoint folder'
        ) from error
    except (OSError, ValueError) as error:
        raise ModelFileError(f'{path}: can not be read: {error}; fetch the model again') from error
    if not isinstance(data, dict):
        raise ModelFileError(f'{path}: expected a JSON object; fetch the model again')
    return data
