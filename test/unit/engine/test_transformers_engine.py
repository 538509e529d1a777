"""The engine in this process, all real: torch, transformers, and a tiny model of noise."""

from __future__ import annotations

import gc
import inspect
import json
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec
from nemotron_ros.engine import optional_packages
from nemotron_ros.engine.protocol import (
    CallDelta,
    ChatRequest,
    Delta,
    EngineError,
    ModelFileError,
    OutputError,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)
from nemotron_ros.engine.token_guide import GuideMaker
from nemotron_ros.engine.token_reader import TokenReader
from nemotron_ros.engine.torch_model import TorchModel
from nemotron_ros.engine.transformers_engine import TransformersEngine, pieces

torch = pytest.importorskip('torch')
pytest.importorskip('llguidance')
tiny_nemotron_h = pytest.importorskip('tiny_nemotron_h')
# Last: its first use may put another module of that name in its place.
transformers = pytest.importorskip('transformers')

CONTEXT = 1 << 16


def tool(name: str, required: list[str], **properties: object) -> ToolSpec:
    parameters = {
        'type': 'object',
        'properties': properties,
        'required': required,
        'additionalProperties': False,
    }
    return ToolSpec(name, f'To {name}.', parameters)


TOOLS = (
    tool(
        'drive',
        ['direction', 'distance_m'],
        direction={'enum': ['forward', 'backward']},
        distance_m={'type': 'number'},
        times={'type': 'integer'},
    ),
    tool('say', ['text'], text={'type': 'string', 'minLength': 1, 'maxLength': 12}),
    tool('stop', []),
)
SCHEMAS = {tool.name: Draft202012Validator(tool.parameters) for tool in TOOLS}
SYSTEM = Message('system', 'You control a robot.')
WARM = ChatRequest((SYSTEM,), TOOLS)


def ignored(*_args: object) -> None:
    pass


def asked(text: str, **changes: Any) -> ChatRequest:
    return ChatRequest((SYSTEM, Message('user', text)), TOOLS, **changes)


ENDLESS = asked('talk', max_tokens=30_000, temperature=1.0)
LONG = asked('kitchen ' * 4000, max_tokens=1)
"""Some 20,000 tokens, which take the tiny model seconds to read."""


@pytest.fixture(scope='session')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that ends soon."""
    return tiny_nemotron_h.write(tmp_path_factory.mktemp('h') / 'tiny', often=('<|im_end|>',))


@pytest.fixture(scope='session')
def caller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that calls tools."""
    folder = tmp_path_factory.mktemp('h') / 'caller'
    return tiny_nemotron_h.write(folder, seed=1, often=('<tool_call>',))


@pytest.fixture(scope='session')
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never comes to an end."""
    folder = tmp_path_factory.mktemp('h') / 'talker'
    return tiny_nemotron_h.write(folder, never=('<tool_call>', '<|im_end|>'))


@pytest.fixture(autouse=True, scope='module')
def as_it_was() -> Iterator[None]:
    """Leave torch its threads, which an engine sets, and the collector nothing old to look at."""
    threads = torch.get_num_threads()
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(threads)


@pytest.fixture
def engine_of() -> Iterator[Callable[..., TransformersEngine]]:
    """Return a maker of open engines."""
    engines = []

    def make(path: Path, warm: ChatRequest = WARM, **more: Any) -> TransformersEngine:
        engine = TransformersEngine(str(path), more.pop('context_tokens', CONTEXT), **more)
        engines.append(engine)
        engine.open(warm, ignored)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def talking(engine_of: Callable[..., TransformersEngine], talker: Path) -> TransformersEngine:
    return engine_of(talker)


def deltas(
    engine: TransformersEngine, request: ChatRequest, cancel: CancelToken | None = None
) -> list[Delta]:
    return list(engine.stream(request, cancel or CancelToken(30.0)))


def text_of(said: list[Delta]) -> str:
    return ''.join(delta.text for delta in said if isinstance(delta, TextDelta))


def usage(said: list[Delta]) -> UsageDelta:
    cost = said[-1]
    assert isinstance(cost, UsageDelta)
    return cost


def cut_short(engine: TransformersEngine, request: ChatRequest) -> list[Delta]:
    """Return the deltas of a turn that reaches ``max_tokens``."""
    said: list[Delta] = []
    with pytest.raises(OutputError, match=f'cut off after {request.max_tokens} tokens'):
        said.extend(engine.stream(request, CancelToken(30.0)))
    return said


# What it says


def test_every_call_keeps_its_schema(
    engine_of: Callable[..., TransformersEngine], caller: Path
) -> None:
    engine, calls = engine_of(caller), list[ToolCall]()
    for seed in range(3):
        said = deltas(engine, asked('go', seed=seed, temperature=1.0, max_tokens=1000))
        assert not text_of(said).strip()
        calls += [delta.call for delta in said if isinstance(delta, CallDelta)]
    assert len(calls) > 10
    assert {call.name for call in calls} == set(SCHEMAS)
    for call in calls:
        assert list(SCHEMAS[call.name].iter_errors(dict(call.arguments))) == []


def test_without_tools_there_are_only_words(
    engine_of: Callable[..., TransformersEngine], caller: Path
) -> None:
    said = cut_short(engine_of(caller), replace(asked('go', max_tokens=50), tools=()))
    assert {type(delta) for delta in said} == {TextDelta, UsageDelta}


def test_words_are_the_models_own_likeliest(
    engine_of: Callable[..., TransformersEngine], talker: Path
) -> None:
    """The same words come of reading everything anew for each token, with nothing kept."""
    request = asked('tell me', max_tokens=12)
    said = cut_short(engine_of(talker, batch_tokens=50), request)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(talker)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(talker))
    chat = [{'role': m.role, 'content': m.content} for m in request.messages]
    functions = [
        {'type': 'function', 'function': {**vars(t), 'examples': None}} for t in request.tools
    ]
    prompt = tokenizer.apply_chat_template(
        chat,
        tools=functions,
        add_generation_prompt=True,
        enable_thinking=False,
        return_dict=True,
        return_tensors='pt',
    )['input_ids']
    assert usage(said).prompt_tokens == prompt.shape[1]
    grammar = NemotronXml().grammar(request.tools)
    guide = GuideMaker(tokenizer, model.config.vocab_size, [tokenizer.eos_token_id]).guide(grammar)
    tokens: list[int] = []
    with torch.inference_mode():
        for _ in range(12):
            logits = model(torch.cat([prompt, torch.tensor([tokens])], -1).long()).logits[0, -1]
            logits[~torch.from_numpy(guide.allowed())] = -torch.inf
            tokens.append(int(logits.argmax()))
            guide.accept(tokens[-1])
    assert text_of(said) == tokenizer.decode(tokens).strip()


def test_the_same_seed_says_the_same(talking: TransformersEngine) -> None:
    first, again, other = (
        text_of(cut_short(talking, asked('go', seed=seed, temperature=1.0, max_tokens=20)))
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_temperature_0_does_not_roll_dice(talking: TransformersEngine) -> None:
    first, other = (
        text_of(cut_short(talking, asked('go', seed=seed, max_tokens=20))) for seed in (1, 2)
    )
    assert first == other


def test_text_is_whole_characters(talking: TransformersEngine) -> None:
    said = cut_short(talking, asked('go', temperature=5.0, max_tokens=200))
    assert not text_of(said).isascii()
    assert '\ufffd' not in text_of(said)


@pytest.mark.parametrize('thinking', [False, True])
def test_thinking_is_set_apart(
    engine_of: Callable[..., TransformersEngine], talker: Path, thinking: bool
) -> None:
    request = asked('go', thinking=thinking, temperature=1.0, max_tokens=30)
    kinds = {type(delta) for delta in cut_short(engine_of(talker), request)}
    assert kinds == {ReasoningDelta if thinking else TextDelta, UsageDelta}


def test_the_reasoning_can_be_bound(talking: TransformersEngine) -> None:
    free = asked('go', thinking=True, max_tokens=60)
    assert text_of(cut_short(talking, free)) == ''
    kinds = [type(d) for d in cut_short(talking, replace(free, max_thinking_tokens=20))]
    assert kinds.count(ReasoningDelta) in range(15, 21)
    assert kinds.count(TextDelta) in range(30, 40)
    assert kinds == sorted(kinds, key=[ReasoningDelta, TextDelta, UsageDelta].index)


def test_a_bound_of_the_reasoning_does_not_bind_the_answer(
    engine_of: Callable[..., TransformersEngine], talker: Path
) -> None:
    engine = engine_of(talker)
    free, bound = (
        cut_short(engine, asked('go', max_tokens=30, max_thinking_tokens=bound))
        for bound in (0, 5)
    )
    assert free == bound


def test_a_model_whose_reasoning_can_not_be_bound(damaged: Path) -> None:
    template = damaged / 'chat_template.jinja'
    template.write_text(template.read_text().replace('<function=', '<call='))
    engine = TransformersEngine(str(damaged), CONTEXT)
    engine.open(WARM, ignored)
    with pytest.raises(EngineError, match='max_thinking_tokens: the model has no token </think>'):
        deltas(engine, asked('go', thinking=True, max_thinking_tokens=5))
    engine.close()


def test_what_was_called_and_what_came_of_it_is_in_the_prompt(
    engine_of: Callable[..., TransformersEngine], folder: Path
) -> None:
    engine = engine_of(folder)
    call = ToolCall('call_1', 'drive', {'direction': 'forward', 'distance_m': 0.5})
    turns = (
        *asked('go').messages,
        Message('assistant', tool_calls=(call,)),
        Message('tool', '{"status": "succeeded"}', (), 'call_1', 'drive'),
    )
    assert engine._loaded is not None
    prompt = engine._loaded.prompt
    text = prompt.text(prompt.tokens(ChatRequest(turns, TOOLS)))
    assert '<parameter=distance_m>\n0.5\n</parameter>' in text
    assert '<tool_response>\n{"status": "succeeded"}\n</tool_response>' in text
    assert text.endswith('<|im_start|>assistant\n<think></think>')


# What it costs


def test_the_opening_is_read_once_and_changes_nothing(
    engine_of: Callable[..., TransformersEngine], talker: Path
) -> None:
    request = asked('where are you?', max_tokens=20)
    warm, cold = engine_of(talker), engine_of(talker, ChatRequest((Message('system', 'Other.'),)))
    kept, anew, again = (cut_short(engine, request) for engine in (warm, cold, warm))
    assert usage(kept).prompt_tokens == usage(anew).prompt_tokens
    assert 0 < usage(kept).prompt_tokens - usage(kept).cached_tokens < 30
    assert usage(anew).cached_tokens == 0
    assert text_of(kept) == text_of(anew) == text_of(again)
    assert usage(kept).completion_tokens == 20


def test_the_opening_ends_where_a_tokenizer_always_cuts(talking: TransformersEngine) -> None:
    """White space grows together with what stands before it, but for a special token."""
    loaded = talking._loaded
    assert loaded is not None
    assert loaded.prompt.text([loaded.opening[-1]]) == '<|im_start|>'


@pytest.mark.parametrize('forgets', [False, True])
def test_prompts_that_begin_with_nothing_alike(
    damaged: Path, forgets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (damaged / 'chat_template.jinja').write_text(
        '{{ messages[-1].content }}<|im_end|><tool_call><function=<parameter='
    )
    if forgets:
        monkeypatch.setattr(TorchModel, 'reads_on', lambda *_args: False)
    engine = TransformersEngine(str(damaged), CONTEXT)
    engine.open(ChatRequest(()), ignored)
    assert engine._loaded is not None
    assert engine._loaded.opening == ()
    assert engine._loaded.reads_on is not forgets
    assert usage(cut_short(engine, asked('go', max_tokens=1))).cached_tokens == 0
    engine.close()


def test_what_is_kept_of_the_opening_stays_as_it_is(talking: TransformersEngine) -> None:
    loaded = talking._loaded
    assert loaded is not None

    def read_on() -> Any:
        return loaded.model.read([7, 8, 9], loaded.model.copied(loaded.state))

    before = read_on()
    cut_short(talking, asked('where are you?', max_tokens=20))
    assert torch.equal(read_on(), before)


def test_a_release_that_begins_anew_is_given_single_tokens(
    engine_of: Callable[..., TransformersEngine], talker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 5.6 a Mamba layer that reads a second piece fails, or forgets the first."""
    request, other = asked('where are you?', max_tokens=20), ChatRequest((SYSTEM,), TOOLS[:1])
    right = text_of(cut_short(engine_of(talker), request))
    forgetful = transformers.models.nemotron_h.modeling_nemotron_h.NemotronHMamba2Mixer
    mixer = forgetful.forward
    if 'cache' not in inspect.signature(mixer).parameters:
        pytest.skip('this release is such a one: all other tests show it')
    read: list[int] = []

    def forgetting(self: Any, hidden: Any, cache: Any = None, **more: Any) -> Any:
        if hidden.shape[1] > 1 and cache.has_previous_state(self.layer_idx):
            cache.layers[self.layer_idx].reset()
        if self.layer_idx == 0:
            read.append(hidden.shape[1])
        return mixer(self, hidden, cache=cache, **more)

    monkeypatch.setattr(forgetful, 'forward', forgetting)
    for engine in (engine_of(talker, batch_tokens=50), engine_of(talker, other, batch_tokens=50)):
        read.clear()
        said = cut_short(engine, request)
        assert text_of(said) == right
        assert usage(said).prompt_tokens - usage(said).cached_tokens == sum(read) - 19
        assert read[1:] == [1] * (len(read) - 1), 'nothing but the first piece is longer'


@pytest.mark.parametrize(
    ('start', 'reads_on', 'expected'),
    [
        (0, True, ['abc', 'def', 'g']),
        (2, True, ['cde', 'fg']),
        (0, False, ['abc', 'd', 'e', 'f', 'g']),
        (5, False, ['f', 'g']),
    ],
)
def test_how_a_prompt_is_cut(start: int, reads_on: bool, expected: list[str]) -> None:
    assert pieces([], 0, 3, reads_on) == []
    cut = pieces(list(map(ord, 'abcdefg')), start, 3, reads_on)
    assert [''.join(map(chr, piece)) for piece in cut] == expected


def test_one_core_is_left_to_the_robot(
    engine_of: Callable[..., TransformersEngine],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('os.cpu_count', lambda: 3)
    engine_of(folder)
    assert torch.get_num_threads() == 2
    engine_of(folder, threads=1)
    assert torch.get_num_threads() == 1


# How it ends


def test_a_token_that_has_ended_yields_nothing(talking: TransformersEngine) -> None:
    ended = CancelToken()
    ended.cancel()
    assert deltas(talking, ENDLESS, ended) == []


def test_cancel_while_it_writes(talking: TransformersEngine) -> None:
    cancel, said = CancelToken(30.0), list[Delta]()
    for delta in talking.stream(ENDLESS, cancel):
        said.append(delta)
        if len(said) == 5:
            cancel.cancel()
    assert len(said) == 5
    assert cut_short(talking, asked('go', max_tokens=2))


def test_cancel_while_it_reads(talking: TransformersEngine) -> None:
    begun = time.monotonic()
    assert list(talking.stream(LONG, (cancel := CancelToken(0.2)))) == []
    assert cancel.cause is Cause.DEADLINE
    assert time.monotonic() - begun < 0.7


def test_a_deadline_while_it_writes(talking: TransformersEngine) -> None:
    begun = time.monotonic()
    said = deltas(talking, ENDLESS, CancelToken(0.3))
    assert 0.25 < time.monotonic() - begun < 0.8
    assert said
    assert {type(delta) for delta in said} == {TextDelta}


def test_closing_the_stream_makes_room_for_the_next(talking: TransformersEngine) -> None:
    stream = talking.stream(ENDLESS, CancelToken(30.0))
    next(stream)
    stream.close()
    assert cut_short(talking, asked('go', max_tokens=2))


def test_the_second_waits_and_its_deadline_counts(talking: TransformersEngine) -> None:
    stream = talking.stream(ENDLESS, CancelToken(30.0))
    next(stream)
    assert deltas(talking, asked('go', max_tokens=2), CancelToken(0.1)) == []
    answers: list[list[Delta]] = []
    second = threading.Thread(
        target=lambda: answers.append(cut_short(talking, asked('go', max_tokens=2)))
    )
    second.start()
    next(stream)
    assert not answers
    stream.close()
    second.join(5.0)
    assert usage(answers[0]).completion_tokens == 2


def test_a_prompt_that_is_too_long(
    engine_of: Callable[..., TransformersEngine], folder: Path
) -> None:
    engine = engine_of(folder, context_tokens=800)
    with pytest.raises(EngineError, match=r'prompt has \d+ tokens and the context holds 800'):
        deltas(engine, asked('kitchen ' * 40))


def test_the_context_is_never_overrun(
    engine_of: Callable[..., TransformersEngine], talker: Path
) -> None:
    engine = engine_of(talker, context_tokens=760)
    said: list[Delta] = []
    with pytest.raises(OutputError, match='cut off'):
        said.extend(engine.stream(asked('go', max_tokens=500), CancelToken(30.0)))
    assert usage(said).prompt_tokens + usage(said).completion_tokens == 760


def test_a_call_that_is_cut_short_is_no_call(
    engine_of: Callable[..., TransformersEngine], caller: Path
) -> None:
    said: list[Delta] = []
    with pytest.raises(OutputError, match='cut short'):
        said.extend(engine_of(caller).stream(asked('go', max_tokens=5), CancelToken(30.0)))
    assert said == []


def test_a_call_that_lacks_only_its_closing_tag_is_cut_short_too(
    engine_of: Callable[..., TransformersEngine], caller: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, fed, feed = engine_of(caller), list[int](), TokenReader.feed

    def counted(self: TokenReader, token: int) -> list[Delta]:
        fed.append(token)
        return feed(self, token)

    monkeypatch.setattr(TokenReader, 'feed', counted)
    stream = engine.stream(asked('go', max_tokens=1000), CancelToken(30.0))
    while not isinstance(next(stream), CallDelta):
        pass
    stream.close()
    said: list[Delta] = []
    with pytest.raises(OutputError, match='cut short'):
        said.extend(engine.stream(asked('go', max_tokens=len(fed) - 1), CancelToken(30.0)))
    assert not any(isinstance(delta, CallDelta) for delta in said)


def test_numbers_that_overflow(engine_of: Callable[..., TransformersEngine], folder: Path) -> None:
    engine = engine_of(folder)
    assert engine._loaded is not None
    with torch.no_grad():
        engine._loaded.model._model.model.norm_f.weight.fill_(torch.nan)
    for temperature in (0.0, 1.0):
        with pytest.raises(EngineError, match='overflowed; load it with dtype'):
            deltas(engine, asked('go', temperature=temperature))


def test_memory_that_runs_out_while_it_answers(
    talking: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, *_args: object, **_more: object) -> Any:
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')

    with monkeypatch.context() as patch:
        patch.setattr(transformers.NemotronHForCausalLM, 'forward', full)
        with pytest.raises(EngineError, match='memory ran out while the model answered'):
            deltas(talking, asked('go'))
    assert cut_short(talking, asked('go', max_tokens=2))


# Open and close


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Tells how many of the models that a test has made are in memory."""
    made: weakref.WeakSet[Any] = weakref.WeakSet()
    make = transformers.NemotronHForCausalLM.__init__

    def noted(self: Any, *args: Any, **more: Any) -> None:
        make(self, *args, **more)
        made.add(self)

    def count() -> int:
        gc.collect()
        return len(made)

    monkeypatch.setattr(transformers.NemotronHForCausalLM, '__init__', noted)
    return count


def test_what_it_has_loaded(folder: Path) -> None:
    engine, told = TransformersEngine(str(folder), 2000), list[float]()
    info = engine.open(WARM, lambda part, _text: told.append(part))
    assert (info.engine, info.model, info.context_tokens) == ('transformers', 'tiny', 2000)
    assert told == sorted(told)
    assert told[0] == 0.0
    assert told[-1] == 1.0
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match='not open'):
        deltas(engine, asked('go'))


def test_the_context_is_no_larger_than_the_models(folder: Path) -> None:
    engine = TransformersEngine(str(folder), 10**9)
    assert engine.open(WARM, ignored).context_tokens == tiny_nemotron_h.CONTEXT
    engine.close()


def test_close_while_it_answers_frees_the_model(talker: Path, models: Callable[[], int]) -> None:
    engine = TransformersEngine(str(talker), CONTEXT)
    engine.open(WARM, ignored)
    stream = engine.stream(ENDLESS, CancelToken(30.0))
    next(stream)
    assert models() == 1
    engine.close()
    with pytest.raises(EngineError, match='closed while it answered'):
        next(stream)
    assert models() == 0


def test_close_while_it_opens(folder: Path, models: Callable[[], int]) -> None:
    engine = TransformersEngine(str(folder), CONTEXT)

    def close(_part: float, text: str) -> None:
        if text == 'reading the prompt':
            engine.close()

    with pytest.raises(EngineError, match='closed while it opened'):
        engine.open(WARM, close)
    assert models() == 0
    with pytest.raises(EngineError, match='not open'):
        deltas(engine, asked('go'))


def test_close_while_it_reads_the_last_of_the_opening(
    folder: Path, models: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = TorchModel.read
    engine = TransformersEngine(str(folder), CONTEXT, batch_tokens=10_000)

    def closing(self: TorchModel, tokens: list[int], state: Any) -> Any:
        if len(tokens) > 100:
            engine.close()
        return read(self, tokens, state)

    monkeypatch.setattr(TorchModel, 'read', closing)
    with pytest.raises(EngineError, match='closed while it opened'):
        engine.open(WARM, ignored)
    assert models() == 0
    with pytest.raises(EngineError, match='not open'):
        deltas(engine, asked('go'))


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 12.00 GiB.\nmore'),
        RuntimeError('[enforce fail] . DefaultCPUAllocator: not enough memory: you tried to ...'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_does_not_suffice(
    folder: Path, models: Callable[[], int], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(str(folder), CONTEXT)

    def full(self: object, *_args: object) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(transformers.NemotronHForCausalLM, 'to', full)
        with pytest.raises(EngineError, match=r'does not fit into memory \(.*\); ') as raised:
            engine.open(WARM, ignored)
    assert '\n' not in str(raised.value)
    error.__traceback__ = None
    assert models() == 0
    engine.open(WARM, ignored)
    engine.close()


@pytest.mark.parametrize('absent', ['torch', 'transformers', 'llguidance'])
def test_a_package_that_is_missing(
    folder: Path, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        optional_packages, 'find_spec', lambda name: None if name == absent else find_spec(name)
    )
    with pytest.raises(EngineError, match=f'{absent} not installed; pip install torch'):
        TransformersEngine(str(folder)).open(WARM, ignored)


def test_a_package_that_can_not_be_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise OSError('libcudart.so.13: cannot open shared object file')

    monkeypatch.setattr('nemotron_ros.engine.optional_packages.importlib.import_module', broken)
    with pytest.raises(EngineError, match=r'can not be imported: libcudart\.so\.13'):
        TransformersEngine(str(folder)).open(WARM, ignored)


@pytest.mark.parametrize('release', ['5.5.4', '4.57.6', '5.3.0'])
def test_a_release_that_is_too_old(
    folder: Path, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers, '__version__', release)
    with pytest.raises(EngineError, match=rf"{release} can not run .*'transformers>=5\.6'"):
        TransformersEngine(str(folder)).open(WARM, ignored)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'device': 'toaster'}, 'device: expected auto, cpu or cuda'),
        ({'device': 'cuda'}, 'finds no CUDA GPU'),
        ({'dtype': 'int3'}, 'dtype: expected auto, float32'),
    ],
)
def test_settings_that_are_wrong(folder: Path, settings: dict[str, str], message: str) -> None:
    if settings.get('device') == 'cuda' and torch.cuda.is_available():
        pytest.skip('there is a CUDA GPU')
    with pytest.raises(EngineError, match=message):
        TransformersEngine(str(folder), **settings).open(WARM, ignored)  # type: ignore[arg-type]


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / 'damaged'))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def opening(models: Callable[[], int]) -> Callable[[Path], None]:
    """Opens an engine that can't be; nothing of it may stay."""

    def open_it(path: Path) -> None:
        try:
            TransformersEngine(str(path)).open(WARM, ignored)
        finally:
            assert models() == 0

    return open_it


def test_a_model_that_is_absent(tmp_path: Path, opening: Callable[[Path], None]) -> None:
    with pytest.raises(ModelFileError, match='is no folder'):
        opening(tmp_path / 'none')


def test_weights_that_are_cut_short(damaged: Path, opening: Callable[[Path], None]) -> None:
    weights = damaged / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match=r'can not be loaded: .*; fetch the model again'):
        opening(damaged)


def test_a_tokenizer_that_is_damaged(damaged: Path, opening: Callable[[Path], None]) -> None:
    (damaged / 'tokenizer.json').write_text('{"model": ')
    with pytest.raises(ModelFileError, match='the tokenizer can not be loaded'):
        opening(damaged)


def test_a_model_without_a_chat_template(damaged: Path, opening: Callable[[Path], None]) -> None:
    (damaged / 'chat_template.jinja').unlink()
    with pytest.raises(ModelFileError, match='there is no chat template'):
        opening(damaged)


def test_a_chat_template_that_fails(damaged: Path, opening: Callable[[Path], None]) -> None:
    (damaged / 'chat_template.jinja').write_text('{{ raise_exception("no system turns") }}')
    with pytest.raises(EngineError, match='template refuses the chat: no system turns'):
        opening(damaged)


def test_code_of_the_checkpoint_is_never_run(
    damaged: Path, opening: Callable[[Path], None]
) -> None:
    (damaged / 'configuration_evil.py').write_text('raise SystemExit("ran")')
    change(
        damaged / 'config.json',
        model_type='evil',
        auto_map={'AutoConfig': 'configuration_evil.EvilConfig'},
    )
    with pytest.raises(ModelFileError, match='can not be loaded'):
        opening(damaged)


def test_a_checkpoint_that_transformers_can_not_read(
    damaged: Path, opening: Callable[[Path], None]
) -> None:
    (damaged / 'hf_quant_config.json').write_text('{"quantization": {"quant_algo": "FP8"}}')
    with pytest.raises(ModelFileError, match='is packed by ModelOpt'):
        opening(damaged)
