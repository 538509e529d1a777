"""What does not go into a trace: secrets, and payloads that are too long.

A secret is known by the name of its field, or by how it looks. What was taken out leaves a
mark, so that a replay knows what it can't judge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event

MAX_TEXT_CHARS = 4000
MAX_ITEMS = 200
MAX_DEPTH = 32

REDACTED = '[redacted]'
_CUT = re.compile(r'\[cut: \d+ (?:characters|items|levels)\]')

_NAMES = re.compile(
    r'(?:^|[_\W])(?:password|passwd|passphrase|passcode|pwd|secrets?|token|api_?key|private_?key|'
    r'access_?key|authorization|credentials?|cookie)(?:$|[_\W])',
    re.IGNORECASE,
)
_CAMEL = re.compile(r'(?<=[a-z0-9])(?=[A-Z])')
_LOOKS = re.compile(
    r'-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)'
    r'|\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}'
    r'|\b(?:hf|ghp|gho|ghs|github_pat|glpat|xox[abpr]|nvapi)[_-][A-Za-z0-9_-]{10,}'
    r'|\bAKIA[0-9A-Z]{16}\b'
    r'|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}'
    r'|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)'
    r'|(?i:(?<=bearer )[\w.~+/-]{8,}=*)'
    r'|(?i:\b(?:password|passwd|passphrase|passcode|api[ _-]?key|secret|token)'
    r'(?:\s*[:=]\s*|\s+is\s+)[^\s,;]+)',
    re.DOTALL,
)


def redact(event: Event) -> Event:
    """Return an event without secrets in what others have named or said, of a bounded size.

    Deltas are left to :func:`blank`: a secret may come in several of them.
    """
    record = event.record
    if record is not None:
        arguments = _clean(dict(record.call.arguments), MAX_DEPTH)
        call = ToolCall(_text(record.call.id), _text(record.call.name), arguments)
        result = replace(
            record.result,
            value=_clean(record.result.value, MAX_DEPTH),
            error=_text(record.result.error),
            confirmed_by=_text(record.result.confirmed_by),
        )
        record = CallRecord(call, result)
    return replace(
        event,
        command_id=_text(event.command_id),
        session_id=_text(event.session_id),
        record=record,
        detail=_clean(event.detail, MAX_DEPTH),
    )


def blank(pieces: Sequence[str]) -> list[str]:
    """Return the pieces of a text without its secrets, also those that lie in several pieces.

    The mark stands in the piece in which the secret began.
    """
    spans = [found.span() for found in _LOOKS.finditer(''.join(pieces))]
    out, at = [], 0
    for piece in pieces:
        end, kept, place = at + len(piece), '', at
        for low, high in spans:
            if high <= at or low >= end:
                continue
            kept += piece[place - at : max(low, at) - at]
            kept += REDACTED if low >= at else ''
            place = min(high, end)
        kept += piece[place - at :]
        out.append(_cut(kept))
        at = end
    return out


def is_whole(value: Any) -> bool:
    """Whether nothing was taken out of a JSON value."""
    if isinstance(value, str):
        return REDACTED not in value and not _CUT.search(value)
    if isinstance(value, Mapping):
        return all(is_whole(key) and is_whole(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_whole, value))
    return True


def _clean(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers
    if value is None or isinstance(value, bool | int | float):
        return value
    if not levels:
        return f'[cut: {MAX_DEPTH} levels]'
    if isinstance(value, Mapping):
        kept = {
            _text(str(key)): REDACTED if _is_secret(str(key)) else _clean(item, levels - 1)
            for key, item in list(value.items())[:MAX_ITEMS]
        }
        if len(value) > MAX_ITEMS:
            kept[f'[cut: {len(value) - MAX_ITEMS} items]'] = None
        return kept
    if isinstance(value, list | tuple):
        items = [_clean(item, levels - 1) for item in value[:MAX_ITEMS]]
        if len(value) > MAX_ITEMS:
            items.append(f'[cut: {len(value) - MAX_ITEMS} items]')
        return items
    return _text(str(value))


def _is_secret(name: str) -> bool:
    return bool(_NAMES.search(_CAMEL.sub('_', name)))


def _text(text: str) -> str:
    # Cut first: a pattern is not held against megabytes.
    head, rest = text[: 2 * MAX_TEXT_CHARS], max(0, len(text) - 2 * MAX_TEXT_CHARS)
    return _cut(_LOOKS.sub(REDACTED, head), rest)


def _cut(text: str, rest: int = 0) -> str:
    """Return the text at its longest; ``rest`` characters of it are gone already."""
    text = text.encode('utf-8', 'replace').decode()  # a lone surrogate fits into no file
    rest += max(0, len(text) - MAX_TEXT_CHARS)
    return f'{text[:MAX_TEXT_CHARS]}[cut: {rest} characters]' if rest else text
