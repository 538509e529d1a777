"""Where a model keeps its chat template."""

from __future__ import annotations

import json
from pathlib import Path

from nemotron_ros.chat.template import ChatTemplate, ChatTemplateError
from nemotron_ros.engine import gguf_file
from nemotron_ros.engine.model_files import Catalogue, find
from nemotron_ros.engine.protocol import ModelFileError

KEY = 'tokenizer.chat_template'
FILE, CONFIG = 'chat_template.jinja', 'tokenizer_config.json'


def read_template(model: str, catalogue: Catalogue) -> ChatTemplate:
    """Return the chat template of a model. Nothing is fetched, and nothing is loaded.

    :param model: a name of the catalogue, a GGUF file, a checkpoint folder, or a file that ends
        in ``.jinja``.
    :raise EngineError: if it is not there, or has no template.
    """
    path = Path(model).expanduser()
    if path.suffix == '.jinja':
        source = _read(path)
    elif path.is_dir():
        source = _of_folder(path)
    else:
        path = find(model, catalogue)
        source = gguf_file.text_of(path, KEY)
    if not source:
        raise ModelFileError(
            f'{path}: there is no chat template; a base model can not be asked, take an '
            'instruct model'
        )
    try:
        return ChatTemplate(source)
    except ChatTemplateError as error:
        raise ModelFileError(f'{path}: {error}') from error


def _of_folder(folder: Path) -> str:
    if (folder / FILE).is_file():
        return _read(folder / FILE)
    if not (folder / CONFIG).is_file():
        raise ModelFileError(f'{folder}: there is no {FILE}, and no {CONFIG}; fetch it again')
    try:
        told = json.loads(_read(folder / CONFIG)).get('chat_template')
    except (ValueError, AttributeError) as error:
        raise ModelFileError(f'{folder / CONFIG}: is no JSON object; fetch it again') from error
    return told if isinstance(told, str) else ''


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f'{path}: can not be read: {error}') from error
