"""Which tokens a grammar allows next, by llguidance; on numpy arrays.

llguidance's own helper for torch compiles a kernel at its first call, which takes seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from nemotron_ros.engine.protocol import EngineError, OutputError


class GuideMaker:
    """Makes guides for a tokenizer.

    :param logits: how many numbers the model gives for each token; can be more than the
        tokenizer has tokens.
    :param end_tokens: tokens that end a turn.
    """

    def __init__(self, tokenizer: Any, logits: int, end_tokens: Sequence[int]) -> None:
        self._llguidance: Any = importlib.import_module('llguidance')
        hub = importlib.import_module('llguidance.hf')
        try:
            self._tokenizer = hub.from_tokenizer(
                tokenizer, n_vocab=logits, eos_token=list(end_tokens)
            )
        except ValueError as error:
            raise EngineError(f"llguidance can not use the model's tokenizer: {error}") from error

    def guide(self, grammar: str) -> TokenGuide:
        """Return a guide at the beginning of a turn.

        :raise EngineError: if llguidance can't use the grammar.
        """
        matcher = self._llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise EngineError(
                f'the grammar of the tools can not be used with this model: {matcher.get_error()}'
            )
        return TokenGuide(matcher, self._tokenizer.vocab_size)


class TokenGuide:
    """Follows one turn through a grammar."""

    def __init__(self, matcher: Any, tokens: int) -> None:
        self._matcher = matcher
        self._tokens = tokens
        self._numpy: Any = importlib.import_module('numpy')
        helper: Any = importlib.import_module('llguidance.numpy')
        self._fill = helper.fill_next_token_bitmask
        self._bits = helper.allocate_token_bitmask(1, tokens)

    def allowed(self) -> Any:
        """Return which tokens may come next: an array of booleans, one for each token.

        :raise OutputError: if the grammar has come to a dead end.
        """
        self._fill(self._matcher, self._bits)
        self._check()
        bits = self._numpy.unpackbits(
            self._bits[0].view(self._numpy.uint8), count=self._tokens, bitorder='little'
        )
        return bits.astype(bool)

    def accept(self, token: int) -> bool:
        """Take the token that was chosen; False if the grammar is at its end with it.

        :raise OutputError: if the grammar does not allow it.
        """
        self._matcher.consume_token(token)
        self._check()
        return not self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise OutputError(f'the grammar of the tools was left: {self._matcher.get_error()}')
