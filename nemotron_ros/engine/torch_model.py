"""A causal language model in torch: loaded, read step by step, and sampled.

What a hybrid model has read can not be taken back, as its Mamba layers keep one state
and no history; but it can be copied. So a state is copied before it is read on from.
"""

from __future__ import annotations

import copy
import gc
import importlib
import inspect
import math
from collections.abc import Sequence
from typing import Any

from nemotron_ros.engine.checkpoint import Checkpoint
from nemotron_ros.engine.protocol import EngineError, ModelFileError

NEMOTRON_H = 'nemotron_h'
OLDEST_FOR_NEMOTRON_H = (5, 6)
"""Releases before it read `nemotron_h` checkpoints with plain MLP layers as something else."""
DTYPES = ('auto', 'float32', 'bfloat16', 'float16')
SAME = 0.1
"""Reading in two pieces may change the numbers by this much, of their own size, and no more:
rounding of 16-bit weights stays below it by far, a forgotten state does not."""


class OutOfMemory(Exception):
    """There is not enough memory, of the GPU or of the machine."""


class TorchModel:
    """A model on its device.

    :param device: ``auto`` takes the first CUDA device, or the CPU if there is none.
    :param dtype: ``auto`` takes what the checkpoint is stored in.
    :raise EngineError: if it can't be loaded; nothing of it stays behind.
    :raise OutOfMemory: if it does not fit.
    """

    def __init__(self, checkpoint: Checkpoint, device: str, dtype: str) -> None:
        self._torch: Any = importlib.import_module('torch')
        self._transformers: Any = importlib.import_module('transformers')
        _check_release(checkpoint, str(self._transformers.__version__))
        self.device = self._checked_device(device)
        if dtype not in DTYPES:
            raise EngineError(f'dtype: expected {", ".join(DTYPES)}, got {dtype!r}')
        self._model = self._load(checkpoint, dtype)
        config = self._model.config
        self.logits = int(config.get_text_config().vocab_size)
        self._cache_config = config
        takes = inspect.signature(self._model.forward).parameters
        # Called `past_key_values` before release 5.24.
        self._cache_keyword = 'cache' if 'cache' in takes else 'past_key_values'
        self._options: dict[str, Any] = {'use_cache': True}
        if 'logits_to_keep' in takes:
            self._options['logits_to_keep'] = 1

    @property
    def end_tokens(self) -> list[int]:
        """Tokens that end a turn, by the checkpoint's own account."""
        told = getattr(self._model.generation_config, 'eos_token_id', None)
        return [told] if isinstance(told, int) else list(told or ())

    def begin(self) -> Any:
        """Return the state of having read nothing."""
        return self._transformers.DynamicCache(config=self._cache_config)

    def copied(self, state: Any) -> Any:
        """Return a copy of a state, to read on from."""
        with self._torch.inference_mode(), self._memory():
            return copy.deepcopy(state)

    def read(self, tokens: Sequence[int], state: Any) -> Any:
        """Read tokens into ``state``; return the logits of the one that comes next."""
        torch = self._torch
        with torch.inference_mode(), self._memory():
            ids = torch.tensor([tokens], dtype=torch.long, device=self.device)
            given = {self._cache_keyword: state, **self._options}
            return self._model(input_ids=ids, **given).logits[0, -1].float()

    def reads_on(self, tokens: Sequence[int]) -> bool:
        """Whether reading ``tokens`` in two pieces is the same as in one.

        Not so with every release of transformers and its kernels: some begin anew, and say
        nothing.
        """
        if len(tokens) < 4:
            return False
        # Two are enough to be a piece, and too few to cover up what was forgotten.
        cut = len(tokens) - 2
        whole, state = self.read(tokens, self.begin()), self.begin()
        try:
            self.read(tokens[:cut], state)
            parts = self.read(tokens[cut:], self.copied(state))
        except OutOfMemory:
            raise
        except Exception:  # a release that can't says so with errors of shape
            return False
        return bool((whole - parts).norm() <= SAME * whole.norm())

    def dice(self, seed: int) -> Any:
        """Return a source of chance for :meth:`choose`."""
        return self._torch.Generator(device=self.device).manual_seed(seed)

    def choose(self, logits: Any, allowed: Any, temperature: float, dice: Any) -> int:
        """Return the next token out of those allowed: the likeliest at temperature 0.

        :param allowed: a numpy array of booleans, one for each token.
        :raise EngineError: if the model's numbers are no numbers any more.
        """
        torch = self._torch
        with torch.inference_mode():
            kept = torch.from_numpy(allowed).to(self.device)
            logits = logits[: kept.shape[0]].masked_fill(~kept, -math.inf)
            best = logits.max()
            if not torch.isfinite(best):
                raise EngineError(
                    "the model's numbers overflowed; load it with dtype bfloat16 or float32"
                )
            if temperature <= 0:
                return int(logits.argmax())
            weights = torch.softmax((logits - best) / temperature, dim=-1)
            return int(torch.multinomial(weights, 1, generator=dice))

    def _checked_device(self, device: str) -> Any:
        cuda = self._torch.cuda.is_available()
        if device == 'auto':
            return self._torch.device('cuda:0' if cuda else 'cpu')
        try:
            found = self._torch.device(device)
        except RuntimeError as error:
            raise EngineError(f'device: expected auto, cpu or cuda, got {device!r}') from error
        if found.type == 'cuda' and not cuda:
            raise EngineError(
                f'device: {device} asked for, and torch {self._torch.__version__} finds no CUDA '
                'GPU; check the driver and that torch was built for CUDA, or take device cpu'
            )
        return found

    def _load(self, checkpoint: Checkpoint, dtype: str) -> Any:
        self._quiet()
        try:
            with self._memory():
                model = self._transformers.AutoModelForCausalLM.from_pretrained(
                    str(checkpoint.folder),
                    dtype=dtype,
                    local_files_only=True,
                    trust_remote_code=False,
                )
                return model.to(self.device).eval()
        except OutOfMemory:
            raise
        except Exception as error:  # theirs, safetensors', and whatever a damaged file causes
            reason = str(error).partition('\n')[0] or type(error).__name__
            raise ModelFileError(
                f'{checkpoint.folder}: can not be loaded: {reason}; '
                'fetch the model again, or take another one'
            ) from error

    def _quiet(self) -> None:
        """Keep progress bars out of a node's log; warnings stay."""
        self._transformers.utils.logging.disable_progress_bar()

    def _memory(self) -> _MemoryErrors:
        return _MemoryErrors(self._torch.OutOfMemoryError)


class _MemoryErrors:
    """Turns the ways in which torch says that memory is short into :class:`OutOfMemory`."""

    def __init__(self, of_gpu: type[BaseException]) -> None:
        self._kinds = (MemoryError, of_gpu)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._kinds) or _is_allocator(error):
            raise OutOfMemory(str(error).partition('\n')[0]) from error


def _is_allocator(error: BaseException | None) -> bool:
    """Whether it is the plain RuntimeError of torch's allocator for the CPU."""
    return isinstance(error, RuntimeError) and 'DefaultCPUAllocator' in str(error)


def free_memory() -> None:
    """Give memory that nothing refers to any more back to the machine and the GPU."""
    gc.collect()
    torch: Any = importlib.import_module('torch')
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _check_release(checkpoint: Checkpoint, release: str) -> None:
    """Check that transformers knows the model, before it says so in its own way."""
    if checkpoint.quantization == 'modelopt':
        raise ModelFileError(
            f'{checkpoint.folder}: is packed by ModelOpt (FP8 or NVFP4), which transformers does '
            'not read; take the BF16 checkpoint, or engine edge_llm, tensorrt_llm or vllm'
        )
    numbers = tuple(int(part) for part in release.split('.')[:2] if part.isdecimal())
    if checkpoint.architecture == NEMOTRON_H and numbers < OLDEST_FOR_NEMOTRON_H:
        oldest = '.'.join(map(str, OLDEST_FOR_NEMOTRON_H))
        raise EngineError(
            f'engine transformers: transformers {release} can not run Nemotron 3 Nano; '
            f"{oldest} or newer is needed: pip install 'transformers>={oldest}'"
        )
