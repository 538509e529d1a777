"""Makes fit for a terminal what others have written."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_WORD = re.compile(r'\w+')
_HIDDEN = frozenset({'Cc', 'Cf', 'Cs', 'Co', 'Cn', 'Zl', 'Zp'})


def visible(text: str) -> str:
    """Return a text on one line, without what is not seen.

    Control characters would give the terminal orders, and characters that turn the direction of
    writing would show an operator another call than the one that waits for a yes.
    """
    shown = (' ' if unicodedata.category(c) in _HIDDEN else c for c in text)
    return ' '.join(''.join(shown).split())


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a call as a person reads it: ``drive(direction: forward, distance_m: 0.5)``."""
    return f'{visible(name)}({arguments_text(arguments)})'


def arguments_text(arguments: Mapping[str, Any]) -> str:
    """Return arguments as a person reads them: ``direction: forward, distance_m: 0.5``."""
    parts = (f'{key}: {value_text(value)}' for key, value in arguments.items())
    return visible(', '.join(parts))


def value_text(value: object) -> str:
    """Return a value as a person reads it: a word as it is, all else as JSON.

    A text of several words stands in quotes, so that none looks like another argument.
    """
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
