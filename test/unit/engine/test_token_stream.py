"""Text of tokens: whole characters, nothing lost, nothing held for ever."""

from __future__ import annotations

import pytest

from nemotron_ros.engine.token_stream import MAX_HELD_TOKENS, REPLACEMENT, TokenStream


def decode(tokens: list[int]) -> str:
    """Decode tokens that are bytes."""
    return bytes(tokens).decode('utf-8', errors='replace')


def pieces(data: bytes) -> list[str]:
    stream = TokenStream(decode)
    return [stream.push(byte) for byte in data] + [stream.rest()]


@pytest.mark.parametrize('text', ['plain', 'Küche', '日本語', 'go 🤖 go', '👩‍🚀', 'é'])
def test_characters_come_whole(text: str) -> None:
    said = pieces(text.encode())
    assert ''.join(said) == text
    assert not any(REPLACEMENT in piece for piece in said)


def test_a_character_comes_with_its_last_byte() -> None:
    assert pieces('a🤖b'.encode()) == ['a', '', '', '', '🤖', 'b', '']


def test_half_a_character_at_the_end_is_shown() -> None:
    assert ''.join(pieces('ok 🤖'.encode()[:-1])) == f'ok {REPLACEMENT}'


def test_bytes_that_are_no_text_are_not_held_for_ever() -> None:
    said = pieces(b'\x80' * (3 * MAX_HELD_TOKENS))
    assert all(said[at] for at in range(MAX_HELD_TOKENS - 1, 3 * MAX_HELD_TOKENS, MAX_HELD_TOKENS))
    assert ''.join(said) == REPLACEMENT * (3 * MAX_HELD_TOKENS)


def test_a_token_that_is_written_differently_at_the_beginning_of_a_text() -> None:
    words = ['▁go', '▁to', '▁it']

    def sentence(tokens: list[int]) -> str:
        return ''.join(words[token] for token in tokens).replace('▁', ' ').lstrip()

    stream = TokenStream(sentence)
    assert ''.join(stream.push(token) for token in (0, 1, 2)) == 'go to it'
