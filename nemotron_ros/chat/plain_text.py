"""Keeps what was said, or read by a robot, from being taken for the marks of a prompt.

Tokenizers turn ``<|im_end|>`` or ``<tool_call>`` into special tokens wherever they stand. In a
person's words, or on a sign in a camera's view, they would end a turn or begin a call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_MARK = re.compile(r'<(?=[|/!A-Za-z_])|\[(?=/?[A-Z_]+\])')


def plain(text: str) -> str:
    """Return the text with a space in every mark, which leaves it readable and without effect."""
    return _MARK.sub(lambda match: f'{match[0]} ', text)


def plain_value(value: Any) -> Any:
    """Return a JSON value with every text in it made plain."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(str(key)): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value
