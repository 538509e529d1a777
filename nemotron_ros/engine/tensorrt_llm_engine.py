"""TensorRT-LLM in this process: DGX Spark, RTX and data-centre GPUs. Not yet run on hardware.

TensorRT-LLM does not run on Jetson: there it is ``edge_llm``.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from nemotron_ros.cancel import CancelToken
from nemotron_ros.chat.messages import Message
from nemotron_ros.engine.checkpoint import Checkpoint, find_checkpoint
from nemotron_ros.engine.event_loop import EventLoop
from nemotron_ros.engine.local_prompt import LocalPrompt, load_prompt
from nemotron_ros.engine.optional_packages import import_packages
from nemotron_ros.engine.protocol import (
    ChatRequest,
    Delta,
    EngineError,
    ModelInfo,
    OutputError,
    Progress,
    UsageDelta,
)
from nemotron_ros.engine.token_guide import GuideMaker
from nemotron_ros.engine.token_reader import TokenReader

NAME = 'tensorrt_llm'
PACKAGES = ('tensorrt_llm', 'tensorrt_llm.llmapi', 'transformers', 'llguidance')
INSTALL = 'tensorrt-llm --extra-index-url https://pypi.nvidia.com'
SINGLE_PROCESS = 'TLLM_WORKER_USE_SINGLE_PROCESS'
HYBRID = 'nemotron_h'
"""Its prefix cache must be off, and its state is to be kept in 32 bits."""
WARM_S = 600.0
SHUTDOWN_S = 30.0
POLL_S = 0.5
_NO_MEMORY = ('out of memory', 'insufficient gpu memory')


@dataclass(frozen=True)
class _Loaded:
    """All that is there while the engine is open."""

    llm: Any
    library: ModuleType
    options: ModuleType
    loop: EventLoop
    prompt: LocalPrompt
    guides: GuideMaker
    end_tokens: frozenset[int]
    context_tokens: int


class TensorRtLlmEngine:
    """Serves a checkpoint folder through ``tensorrt_llm.LLM``, its PyTorch backend.

    Requests are answered side by side, up to ``max_batch_size``; more wait their turn.
    The model is held to the format's own grammar by llguidance, which TensorRT-LLM brings
    along. The worker runs in this process, as the second process that TensorRT-LLM would
    start runs the caller's main module once more.

    What is read of one prompt is not kept for the next with a hybrid model: TensorRT-LLM
    1.2 can't.

    :param model: a folder, or the name of a model in the hub's cache; nothing is fetched.
    :param max_batch_size: requests at a time; each reserves a Mamba state of some 80 MB.
    :param max_kv_tokens: tokens that the KV cache holds, of all requests together; 0 takes
        what ``max_batch_size`` full contexts need. Never a fraction of the memory: on a
        board with one memory for all that would be the robot's.
    :param trust_remote_code: run the Python code that lies in the checkpoint, which releases
        with transformers before 5.6 need for a Nemotron 3 Nano. Only for one that is trusted.
    """

    def __init__(
        self,
        model: str,
        context_tokens: int = 4096,
        *,
        max_batch_size: int = 1,
        max_kv_tokens: int = 0,
        dtype: str = 'auto',
        trust_remote_code: bool = False,
    ) -> None:
        self._name = model
        self._context_tokens = context_tokens
        self._max_batch_size = max_batch_size
        self._max_kv_tokens = max_kv_tokens or context_tokens * max_batch_size
        self._dtype = dtype
        self._trust_remote_code = trust_remote_code
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        self._closed = 0

    def open(self, warm: ChatRequest, progress: Progress) -> ModelInfo:
        """Load the model and answer once, so that all is compiled; see :class:`Engine`."""
        if not warm.constrained:
            raise EngineError(
                f'constrained: the engine {NAME} always holds the model to the tools'
            )
        library, options, *_ = import_packages(NAME, PACKAGES, INSTALL)
        closed = self._closed
        checkpoint = find_checkpoint(self._name)
        progress(0.0, f'loading {checkpoint.name}')
        prompt = load_prompt(checkpoint)
        tokenizer = prompt.tokenizer
        if tokenizer.eos_token_id is None:
            raise EngineError(f'{checkpoint.folder}: does not tell which token ends a turn')
        guides = GuideMaker(tokenizer, len(tokenizer), [tokenizer.eos_token_id])
        ready = replace(warm, messages=(*warm.messages, Message('user', 'Ready?')), max_tokens=1)
        prompt.tokens(ready)
        guides.guide(prompt.form.grammar(ready.tools, ready.thinking))
        context_tokens = min(
            self._context_tokens, checkpoint.max_context_tokens or self._context_tokens
        )
        llm = self._load(library, options, checkpoint, context_tokens)
        loaded = _Loaded(
            llm,
            library,
            options,
            EventLoop(NAME),
            prompt,
            guides,
            frozenset({tokenizer.eos_token_id}),
            context_tokens,
        )
        try:
            progress(0.8, 'answering once')
            with suppress(OutputError):  # it is cut off, as it should be
                for _ in self._answer(loaded, ready, CancelToken(WARM_S)):
                    pass
            with self._lock:
                if self._closed != closed:
                    raise EngineError('the engine was closed while it opened')
                self._loaded = loaded
        except BaseException:
            _shut_down(loaded)
            raise
        progress(1.0, 'ready')
        return ModelInfo(NAME, checkpoint.name, context_tokens)

    def stream(self, request: ChatRequest, cancel: CancelToken) -> Generator[Delta, None, None]:
        """Yield the deltas of one turn; see :class:`Engine`."""
        loaded = self._loaded
        if loaded is None:
            raise EngineError('the engine is not open')
        yield from self._answer(loaded, request, cancel)

    def close(self) -> None:
        """Abort what is being answered, and free everything."""
        with self._lock:
            self._closed += 1
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            _shut_down(loaded)

    def _load(
        self, library: ModuleType, options: ModuleType, checkpoint: Checkpoint, context_tokens: int
    ) -> Any:
        is_hybrid = checkpoint.architecture == HYBRID
        try:
            with _one_process():
                return library.LLM(
                    model=str(checkpoint.folder),
                    dtype=self._dtype,
                    trust_remote_code=self._trust_remote_code,
                    max_batch_size=self._max_batch_size,
                    max_seq_len=context_tokens,
                    # A prompt is read in one piece: pieces have lost a hybrid model's state.
                    max_num_tokens=context_tokens,
                    enable_chunked_prefill=False,
                    guided_decoding_backend='llguidance',
                    kv_cache_config=options.KvCacheConfig(
                        enable_block_reuse=not is_hybrid,
                        max_tokens=self._max_kv_tokens,
                        mamba_ssm_cache_dtype='float32' if is_hybrid else 'auto',
                    ),
                )
        except EngineError:
            raise
        except Exception as error:  # pydantic's, CUDA's, and RuntimeErrors for all the rest
            reason = str(error).partition('\n')[0] or type(error).__name__
            if isinstance(error, MemoryError) or any(t in reason.lower() for t in _NO_MEMORY):
                raise EngineError(
                    f'model: {self._name} does not fit into memory ({reason}); end other '
                    'programs, or take a smaller max_batch_size, context_tokens or model'
                ) from error
            raise EngineError(
                f'model: {self._name} can not be loaded by TensorRT-LLM: {reason}'
            ) from error

    def _answer(
        self, loaded: _Loaded, request: ChatRequest, cancel: CancelToken
    ) -> Generator[Delta, None, None]:
        closed = self._closed
        if request.thinking and request.max_thinking_tokens:
            raise EngineError(
                'max_thinking_tokens: TensorRT-LLM has no such bound in this process; leave it '
                '0, then max_tokens bounds the reasoning and the answer together'
            )
        tokens = loaded.prompt.fitting(request, loaded.context_tokens)
        room = loaded.context_tokens - len(tokens)
        grammar = loaded.prompt.form.grammar(request.tools, request.thinking)
        # A grammar that TensorRT-LLM can't use has ended its executor for good.
        loaded.guides.guide(grammar)
        if cancel.ended:
            return
        sampling = _sampling(loaded, request, grammar, min(request.max_tokens, room))
        reader, written, ended_by = TokenReader(loaded.prompt, request), 0, ''
        try:
            exchange = _Exchange(loaded, tokens, sampling, cancel)
        except RuntimeError as error:
            raise EngineError('the engine was closed before it answered') from error
        try:
            for part in exchange.parts():
                if self._closed != closed:
                    break
                ended_by = part.finish_reason or ended_by
                for token in part.tokens:
                    written += 1
                    if token not in loaded.end_tokens:
                        yield from reader.feed(token)
        finally:
            exchange.abandon()
        if cancel.ended:
            return
        if self._closed != closed:
            raise EngineError('the engine was closed while it answered')
        if ended_by not in ('stop', 'length'):
            raise EngineError(f'TensorRT-LLM ended the answer: {ended_by or "without a reason"}')
        yield from reader.finish(UsageDelta(len(tokens), 0, written), ended_by == 'length')


def _sampling(loaded: _Loaded, request: ChatRequest, grammar: str, max_tokens: int) -> Any:
    if request.temperature > 0:
        chance = {'temperature': request.temperature, 'seed': request.seed}
    else:
        chance = {'top_k': 1}
    return loaded.library.SamplingParams(
        max_tokens=max_tokens,
        detokenize=False,
        guided_decoding=loaded.options.GuidedDecodingParams(grammar=grammar),
        **chance,
    )


@dataclass(frozen=True)
class _Part:
    """Tokens that came together, and why they are the last ones, if they are."""

    tokens: tuple[int, ...]
    finish_reason: str


class _Exchange:
    """One request, made and followed in the event loop, read from another thread."""

    def __init__(
        self, loaded: _Loaded, tokens: list[int], sampling: Any, cancel: CancelToken
    ) -> None:
        self._llm = loaded.llm
        self._cancel = cancel
        self._items: queue.SimpleQueue[_Part | Exception | None] = queue.SimpleQueue()
        self._forget = cancel.on_cancel(self._wake)
        self._future: Future[None] = loaded.loop.run(self._follow(tokens, sampling))

    def parts(self) -> Iterator[_Part]:
        """Yield what comes, until the answer or the token ends; now and then a part of nothing.

        :raise EngineError: if the request fails.
        """
        while not self._cancel.ended:
            try:
                item = self._items.get(timeout=min(self._cancel.remaining_s(), POLL_S))
            except queue.Empty:
                item = _Part((), '')
            if item is None:
                return
            if isinstance(item, Exception):
                reason = str(item).partition('\n')[0] or type(item).__name__
                raise EngineError(f'TensorRT-LLM can not answer: {reason}') from item
            yield item

    def abandon(self) -> None:
        """Abort the request, if it has not ended."""
        self._forget()
        self._future.cancel()

    def _wake(self) -> None:
        self._items.put(None)

    async def _follow(self, tokens: list[int], sampling: Any) -> None:
        request: Any = None
        try:
            request = self._llm.generate_async(
                inputs=tokens, sampling_params=sampling, streaming=True
            )
            async for answer in request:
                output = answer.outputs[0]
                self._items.put(_Part(tuple(output.token_ids_diff), output.finish_reason or ''))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever it is, the one who waits must learn of it
            self._items.put(error)
        finally:
            if request is not None and not request.finished:
                with suppress(Exception):  # it may have died, which is an end as well
                    request.abort()
            self._items.put(None)


@contextmanager
def _one_process() -> Iterator[None]:
    """Have TensorRT-LLM run its worker in this process.

    :raise EngineError: if the environment asks for the other way.
    """
    before = os.environ.get(SINGLE_PROCESS)
    if before not in (None, '', '1'):
        raise EngineError(
            f'{SINGLE_PROCESS}={before}: TensorRT-LLM would start this program a second time as '
            'its worker, and a ROS node does not survive that; unset it'
        )
    os.environ[SINGLE_PROCESS] = '1'
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SINGLE_PROCESS, None)


def _shut_down(loaded: _Loaded) -> None:
    """End the loop, which aborts what it follows, and then TensorRT-LLM.

    The latter can hang; nobody waits for it longer than ``SHUTDOWN_S``.
    """
    loaded.loop.close(SHUTDOWN_S)

    def shut_down() -> None:
        with suppress(Exception):  # one that has died can't be shut down, and need not
            loaded.llm.shutdown()

    thread = threading.Thread(target=shut_down, name=f'{NAME} shutdown', daemon=True)
    thread.start()
    thread.join(SHUTDOWN_S)
