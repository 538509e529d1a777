"""The reference engine: Hugging Face transformers, in this process, on a CPU or a CUDA GPU."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.formats.reasoning import CLOSE
from nemotron_ros.chat.messages import Message
from nemotron_ros.engine.checkpoint import find_checkpoint
from nemotron_ros.engine.local_prompt import LocalPrompt, load_prompt
from nemotron_ros.engine.optional_packages import import_packages
from nemotron_ros.engine.protocol import (
    ChatRequest,
    Delta,
    EngineError,
    ModelInfo,
    Progress,
    UsageDelta,
)
from nemotron_ros.engine.token_guide import GuideMaker
from nemotron_ros.engine.token_reader import TokenReader
from nemotron_ros.engine.torch_model import OutOfMemory, TorchModel, free_memory
from nemotron_ros.engine.turn_lock import TurnLock

NAME = 'transformers'
PACKAGES = ('numpy', 'torch', 'transformers', 'llguidance')
PROBE_TOKENS = 64
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 64, 256
INSTALL = "torch 'transformers>=5.6' llguidance"


@dataclass(frozen=True)
class _Loaded:
    """All that is there while the engine is open.

    ``opening`` are the tokens that most prompts begin with, and ``state`` is that of having
    read them. ``reads_on`` tells whether the model can read a prompt in pieces of more than
    one token.
    """

    model: TorchModel
    prompt: LocalPrompt
    guides: GuideMaker
    end_tokens: frozenset[int]
    context_tokens: int
    batch_tokens: int
    reads_on: bool
    opening: tuple[int, ...]
    state: Any


class TransformersEngine:
    """Serves a checkpoint folder.

    One request is answered at a time, in the thread of the one who asks; others wait for
    their turn. A cancel is noticed within one token, or within ``batch_tokens`` tokens of
    the prompt.

    What the model has read of the opening is kept, and copied for each request: a copy of
    a hybrid model's state is exact. Nothing is kept of the turns after it, as a hybrid
    model can't go back to where two prompts part. Where the installed release does not
    read a prompt in pieces (transformers 5.6 begins anew with each piece), what comes
    after the opening is read token by token: slower, and just as easily cancelled.

    :param model: a folder, or the name of a model in the hub's cache; nothing is fetched.
    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    :param dtype: ``auto`` (as stored), ``float32``, ``bfloat16`` or ``float16``.
    :param threads: threads on the CPU, of all that torch does in this process; 0 leaves
        one core to the rest of the robot.
    :param batch_tokens: tokens of a prompt that are read at a time; 0 takes 64 on a CPU,
        where a 4B model reads some ten a second, and 256 on a GPU.
    """

    def __init__(
        self,
        model: str,
        context_tokens: int = 4096,
        *,
        device: str = 'auto',
        dtype: str = 'auto',
        threads: int = 0,
        batch_tokens: int = 0,
    ) -> None:
        self._name = model
        self._context_tokens = context_tokens
        self._device = device
        self._dtype = dtype
        self._threads = threads or max(1, (os.cpu_count() or 2) - 1)
        self._batch_tokens = batch_tokens
        self._lock = threading.Lock()
        self._turns = TurnLock()
        self._loaded: _Loaded | None = None
        self._closed = 0

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        """Load the model and read the opening; see :class:`Engine`."""
        if not warm.constrained:
            raise EngineError(
                f'constrained: the engine {NAME} always holds the model to the tools'
            )
        _, torch, *_ = import_packages(NAME, PACKAGES, INSTALL)
        torch.set_num_threads(self._threads)
        try:
            return self._open(warm, progress)
        except OutOfMemory as error:
            self._undo(error)
            raise EngineError(
                f'model: {self._name} does not fit into memory ({error}); end other programs, '
                'or take a smaller model, dtype bfloat16 or a smaller context_tokens'
            ) from None
        except BaseException as error:
            self._undo(error)
            raise

    def _undo(self, error: BaseException) -> None:
        """Free what was loaded: an error keeps the frames it passed, and all that they hold."""
        found: BaseException | None = error
        while found is not None:
            traceback.clear_frames(found.__traceback__)
            found = found.__cause__ or found.__context__
        self.close()
        free_memory()

    def _open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        closed = self._closed
        checkpoint = find_checkpoint(self._name)
        progress(0.0, f'loading {checkpoint.name}')
        prompt = load_prompt(checkpoint)
        opening = prompt.opening(warm)
        model = TorchModel(checkpoint, self._device, self._dtype)
        end_tokens = {*model.end_tokens, prompt.tokenizer.eos_token_id} - {None}
        if not end_tokens:
            raise EngineError(f'{checkpoint.folder}: does not tell which token ends a turn')
        guides = GuideMaker(prompt.tokenizer, model.logits, sorted(end_tokens))
        progress(0.5, 'reading the prompt')
        asked = replace(warm, messages=(*warm.messages, Message('user', 'Ready?')))
        reads_on = model.reads_on(prompt.tokens(asked)[:PROBE_TOKENS])
        state = model.begin()
        batch_tokens = self._batch_tokens or (
            CPU_BATCH_TOKENS if model.device.type == 'cpu' else GPU_BATCH_TOKENS
        )
        step = batch_tokens if reads_on else len(opening)
        for piece in pieces(opening, 0, step, reads_on):
            if self._closed != closed:
                raise EngineError('the engine was closed while it opened')
            model.read(piece, state)
        context_tokens = min(
            self._context_tokens, checkpoint.max_context_tokens or self._context_tokens
        )
        loaded = _Loaded(
            model,
            prompt,
            guides,
            frozenset(end_tokens),
            context_tokens,
            batch_tokens,
            reads_on,
            tuple(opening),
            state,
        )
        with self._lock:
            if self._closed != closed:
                raise EngineError('the engine was closed while it opened')
            self._loaded = loaded
        progress(1.0, 'ready')
        return ModelInfo(NAME, checkpoint.name, context_tokens)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        """Yield the deltas of one turn; see :class:`Engine`."""
        loaded = self._loaded
        if loaded is None:
            raise EngineError('the engine is not open')
        with self._turns.turn(cancel) as mine:
            if not mine:
                return
            try:
                yield from self._answer(loaded, request, cancel)
            except OutOfMemory as error:
                raise EngineError(
                    f'memory ran out while the model answered ({error}); '
                    'end other programs, or take a smaller context_tokens'
                ) from None

    def close(self) -> None:
        """Free everything; what is being answered ends with an error at its next token."""
        with self._lock:
            self._closed += 1
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            del loaded
            free_memory()

    def _answer(
        self, loaded: _Loaded, request: ChatRequest, cancel: CancelToken
    ) -> Generator[Delta, None, None]:
        tokens = loaded.prompt.fitting(request, loaded.context_tokens)
        room = loaded.context_tokens - len(tokens)
        turn = _Turn(loaded, request)
        reader = TokenReader(loaded.prompt, request)
        for piece in turn.unread(tokens):
            if self._ends(loaded, cancel):
                return
            turn.read(piece)
        while not turn.ended and turn.written < min(request.max_tokens, room):
            if self._ends(loaded, cancel):
                return
            token = turn.next()
            if token is not None:
                yield from reader.feed(token)
        if self._ends(loaded, cancel):
            return
        usage = UsageDelta(len(tokens), turn.cached, turn.written)
        yield from reader.finish(usage, not turn.ended)

    def _ends(self, loaded: _Loaded, cancel: CancelToken) -> bool:
        if self._loaded is not loaded:
            raise EngineError('the engine was closed while it answered')
        return cancel.ended


class _Turn:
    """One turn of the model, token by token."""

    def __init__(self, loaded: _Loaded, request: ChatRequest) -> None:
        self.cached = 0
        self.written = 0
        self.ended = False
        self._loaded = loaded
        self._model = loaded.model
        grammar = loaded.prompt.form.grammar(request.tools, request.thinking)
        self._guide = loaded.guides.guide(grammar)
        self._thoughts_end = loaded.prompt.token(CLOSE)
        self._max_thinking = request.max_thinking_tokens if request.thinking else 0
        if self._max_thinking and (self._thoughts_end is None or CLOSE not in grammar):
            raise EngineError(
                f'max_thinking_tokens: the model has no token {CLOSE} that could bound its '
                'reasoning; leave it 0, then max_tokens bounds reasoning and answer together'
            )
        self._temperature = request.temperature
        self._dice = self._model.dice(request.seed)
        self._state: Any = None
        self._logits: Any = None
        self._last: int | None = None

    def unread(self, tokens: list[int]) -> list[list[int]]:
        """Return the pieces of a prompt that are to be read, and begin where they begin."""
        opening = self._loaded.opening
        if opening and len(tokens) > len(opening) and tuple(tokens[: len(opening)]) == opening:
            self.cached = len(opening)
            self._state = self._model.copied(self._loaded.state)
        else:
            self._state = self._model.begin()
        return pieces(tokens, self.cached, self._loaded.batch_tokens, self._loaded.reads_on)

    def read(self, tokens: list[int]) -> None:
        """Read a piece of the prompt."""
        self._logits = self._model.read(tokens, self._state)

    def next(self) -> int | None:
        """Write a token; None for the one that ends the turn."""
        if self._last is not None:
            self._logits = self._model.read([self._last], self._state)
        allowed = self._guide.allowed()
        token = self._end_of_thinking(allowed)
        if token is None:
            token = self._model.choose(self._logits, allowed, self._temperature, self._dice)
        self.written += 1
        self._last = token
        goes_on = self._guide.accept(token)
        ends = token in self._loaded.end_tokens
        self.ended = ends or not goes_on
        return None if ends else token

    def _end_of_thinking(self, allowed: Any) -> int | None:
        """Return the token that ends the reasoning, if it is due.

        The grammar allows it once, and behind a whole character.
        """
        end = self._thoughts_end
        if end is None or not 0 < self._max_thinking <= self.written or not allowed[end]:
            return None
        return end


def pieces(tokens: list[int], start: int, step: int, reads_on: bool) -> list[list[int]]:
    """Cut what follows the first ``start`` tokens into pieces, to be read one after the other.

    :param reads_on: more than one token can be read into a state that is not empty.
    """
    if reads_on:
        return [tokens[at : at + step] for at in range(start, len(tokens), step)]
    first = [] if start or not tokens else [tokens[:step]]
    return first + [[token] for token in tokens[start or step :]]
