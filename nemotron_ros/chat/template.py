"""A model's chat template: the program that writes a chat as the text which the model reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class ChatTemplateError(ValueError):
    """A template can't be used, or refuses a chat. The message says why."""


class ChatTemplate:
    """Renders chats as the model hub's libraries do: the same functions, the same white space.

    It runs in a sandbox: it comes with a model's file. What a text begins with by a special
    token that the template takes from the tokenizer, such as ``bos_token``, is left to the
    tokenizer.

    :raise ChatTemplateError: if the source is no template.
    """

    def __init__(self, source: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters['tojson'] = _to_json
        environment.globals['raise_exception'] = _refuse
        environment.globals['strftime_now'] = _now
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ChatTemplateError(f'is no chat template: {error}') from error
        self.source = source

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        more: Mapping[str, object],
        begin_answer: bool,
    ) -> str:
        """Return the text of a chat.

        :param more: what else the template may look at, such as ``tools``.
        :param begin_answer: end with what comes before the model's own words.
        :raise ChatTemplateError: if the template refuses the chat.
        """
        given = {**more, 'messages': [with_objects(message) for message in messages]}
        try:
            return self._template.render(given, add_generation_prompt=begin_answer)
        except Exception as error:  # templates are programs: they raise what they like
            raise ChatTemplateError(f'the chat template refuses the chat: {error}') from error


def with_objects(message: Mapping[str, object]) -> dict[str, object]:
    """Return a message whose calls have their arguments as objects.

    Servers take them as text, templates don't.
    """
    calls = message.get('tool_calls')
    if not isinstance(calls, list):
        return dict(message)
    read = []
    for call in calls:
        function = {**call['function'], 'arguments': json.loads(call['function']['arguments'])}
        read.append({**call, 'function': function})
    return {**message, 'tool_calls': read}


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes what HTML would read otherwise; a model reads it as it stands.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
