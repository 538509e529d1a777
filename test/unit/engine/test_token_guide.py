"""Which tokens a grammar allows, by the real llguidance and the tiny model's tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nemotron_ros.engine.protocol import EngineError, OutputError
from nemotron_ros.engine.token_guide import GuideMaker, TokenGuide

pytest.importorskip('llguidance')
tiny_nemotron_h = pytest.importorskip('tiny_nemotron_h')
transformers = pytest.importorskip('transformers')

PADDING = 29
CALL, END_OF_CALL, END = 5, 6, 2


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tiny_nemotron_h.write(tmp_path_factory.mktemp('h') / 'tiny')
    return transformers.AutoTokenizer.from_pretrained(str(folder))


@pytest.fixture(scope='module')
def guide(tokenizer: Any) -> Callable[[str], TokenGuide]:
    """Return a maker of guides for a model with more logits than the tokenizer has tokens."""
    return GuideMaker(tokenizer, len(tokenizer) + PADDING, [END]).guide


def followed(guide: TokenGuide, tokens: list[int]) -> list[bool]:
    goes_on = []
    for token in tokens:
        assert guide.allowed()[token]
        goes_on.append(guide.accept(token))
    return goes_on


def test_only_what_the_grammar_allows(guide: Callable[[str], TokenGuide], tokenizer: Any) -> None:
    letter, other = tokenizer('a')['input_ids'][0], tokenizer('b')['input_ids'][0]
    follower = guide('start: <tool_call> "a"')
    assert follower.allowed().nonzero()[0].tolist() == [CALL]
    follower.accept(CALL)
    assert follower.allowed()[letter]
    assert not follower.allowed()[other]


def test_tokens_that_there_are_not_are_never_allowed(
    guide: Callable[[str], TokenGuide], tokenizer: Any
) -> None:
    allowed = guide('start: /(.|\\n)*/').allowed()
    assert len(allowed) == len(tokenizer) + PADDING
    assert allowed[: len(tokenizer)].any()
    assert not allowed[len(tokenizer) :].any()


def test_the_turn_may_end_where_the_grammar_may(guide: Callable[[str], TokenGuide]) -> None:
    follower = guide('start: <tool_call> (<tool_call>)?')
    assert not follower.allowed()[END]
    follower.accept(CALL)
    assert follower.allowed()[END]
    assert follower.allowed()[CALL]


def test_the_end_of_the_grammar_is_told(guide: Callable[[str], TokenGuide]) -> None:
    assert followed(guide('start: <tool_call> </tool_call>'), [CALL, END_OF_CALL]) == [True, False]


def test_half_a_character_can_not_be_left(
    guide: Callable[[str], TokenGuide], tokenizer: Any
) -> None:
    first, *rest = tokenizer('é')['input_ids']
    assert rest, 'it is more than one token'
    follower = guide('start: /.*/')
    follower.accept(first)
    assert not follower.allowed()[END]


def test_a_token_that_is_not_allowed_ends_it_all(guide: Callable[[str], TokenGuide]) -> None:
    follower = guide('start: <tool_call>')
    with pytest.raises(OutputError, match='the grammar of the tools was left'):
        follower.accept(END_OF_CALL)
    with pytest.raises(OutputError, match='the grammar of the tools was left'):
        follower.allowed()


@pytest.mark.parametrize('grammar', ['start: <no_such_token>', 'start: (', ''])
def test_a_grammar_that_can_not_be_used(guide: Callable[[str], TokenGuide], grammar: str) -> None:
    with pytest.raises(EngineError, match='can not be used with this model'):
        guide(grammar)


def test_a_tokenizer_that_can_not_be_used() -> None:
    with pytest.raises(EngineError, match="can not use the model's tokenizer"):
        GuideMaker(object(), 10, [0])
