"""The prompt of an engine that runs in this process: the model's own template and tokenizer."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

from nemotron_ros.chat.formats.protocol import Format
from nemotron_ros.chat.messages import Message
from nemotron_ros.chat.prompt import format_for, render
from nemotron_ros.chat.template import with_objects
from nemotron_ros.engine.checkpoint import Checkpoint
from nemotron_ros.engine.protocol import (
    ChatRequest,
    EngineError,
    ModelFileError,
    PromptTooLong,
)


@dataclass(frozen=True)
class LocalPrompt:
    """Writes chats as tokens, and tokens as text."""

    tokenizer: Any
    form: Format

    def tokens(self, request: ChatRequest) -> list[int]:
        """Return the prompt of a request.

        :raise EngineError: if the model's template refuses the messages.
        """
        prompt = render(self.form, request.tools, request.messages, request.thinking)
        messages = [with_objects(message) for message in prompt.messages]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **prompt.template_kwargs
            )
        except Exception as error:  # templates are programs: they raise what they like
            raise EngineError(f"the model's chat template refuses the chat: {error}") from error
        # The template writes what a prompt begins with, such as <s>, itself.
        return list(self.tokenizer(text, add_special_tokens=False)['input_ids'])

    def fitting(self, request: ChatRequest, context_tokens: int) -> list[int]:
        """Return the prompt of a request; it leaves room for an answer.

        :raise PromptTooLong: if it does not.
        """
        tokens = self.tokens(request)
        if len(tokens) >= context_tokens:
            raise PromptTooLong(
                f'the prompt has {len(tokens)} tokens and the context holds '
                f'{context_tokens}; use fewer tools or examples, or a larger context_tokens'
            )
        return tokens

    def opening(self, warm: ChatRequest) -> list[int]:
        """Return the tokens that prompts with these messages and tools begin with.

        They end with a special token: behind one a tokenizer always cuts, whatever follows.
        """
        first, second = (
            self.tokens(replace(warm, messages=(*warm.messages, Message('user', text))))
            for text in ('A', 'B')
        )
        pairs = enumerate(zip(first, second, strict=False))
        length = next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))
        special = set(self.tokenizer.all_special_ids)
        while length and first[length - 1] not in special:
            length -= 1
        return first[:length]

    def token(self, text: str) -> int | None:
        """Return the token that is this whole text; None if there is none."""
        tokens = self.tokenizer(text, add_special_tokens=False)['input_ids']
        return int(tokens[0]) if len(tokens) == 1 else None

    def text(self, tokens: list[int]) -> str:
        """Return the text of tokens: tags of calls and reasoning are special ones, and stay."""
        text = self.tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)


def load_prompt(checkpoint: Checkpoint) -> LocalPrompt:
    """Load a checkpoint's tokenizer and template. ``transformers`` must be installed.

    :raise ModelFileError: if there is no tokenizer that can be used, or no template.
    """
    transformers = importlib.import_module('transformers')
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(checkpoint.folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the libraries' own errors, and whatever a damaged file causes
        raise ModelFileError(
            f'{checkpoint.folder}: the tokenizer can not be loaded: {error}; fetch the model again'
        ) from error
    template = tokenizer.chat_template
    if not isinstance(template, str) or not template:
        raise ModelFileError(
            f'{checkpoint.folder}: there is no chat template (chat_template.jinja, or in '
            'tokenizer_config.json); a base model can not be asked, take an instruct model'
        )
    return LocalPrompt(tokenizer, format_for(template))
