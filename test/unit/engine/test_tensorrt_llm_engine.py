"""The engine around TensorRT-LLM, against a stand-in that knows what our file of names knows.

Tokenizer, template, grammar and parser are real.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.messages import Message, ToolCall, ToolSpec
from nemotron_ros.engine import optional_packages, tensorrt_llm_engine
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
from nemotron_ros.engine.tensorrt_llm_engine import SINGLE_PROCESS, TensorRtLlmEngine

pytest.importorskip('llguidance')
tiny_nemotron_h = pytest.importorskip('tiny_nemotron_h')
fake = pytest.importorskip('fake_tensorrt_llm')
transformers = pytest.importorskip('transformers')

PROFILES = Path(__file__).resolve().parents[3] / 'config' / 'devices'
CONTEXT = 8192
TOOLS = tuple(
    ToolSpec(name, f'To {name}.', {'type': 'object', 'properties': has, 'required': list(has)})
    for name, has in {
        'drive': {'direction': {'enum': ['forward', 'backward']}, 'metres': {'type': 'number'}},
        'stop': {},
    }.items()
)
SCHEMAS = {tool.name: Draft202012Validator(tool.parameters) for tool in TOOLS}
SYSTEM = Message('system', 'You control a robot.')
WARM = ChatRequest((SYSTEM,), TOOLS)


def ignored(*_args: object) -> None:
    pass


def asked(text: str, **changes: Any) -> ChatRequest:
    return ChatRequest((SYSTEM, Message('user', text)), TOOLS, **changes)


ENDLESS = asked('talk', max_tokens=5000, temperature=1.0)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nemotron_h.write(tmp_path_factory.mktemp('h') / 'tiny')  # type: ignore[no-any-return]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the stand-in does, and was asked."""
    runtime = fake.Runtime(often=('<|im_end|>',))
    monkeypatch.delenv(SINGLE_PROCESS, raising=False)
    fake.install(monkeypatch, runtime)
    monkeypatch.setattr(
        optional_packages,
        'find_spec',
        lambda name: 'there' if name == 'tensorrt_llm' else find_spec(name),
    )
    return runtime


@pytest.fixture
def engine_of(folder: Path, runtime: Any) -> Iterator[Callable[..., TensorRtLlmEngine]]:
    """Return a maker of open engines."""
    engines = []

    def make(**more: Any) -> TensorRtLlmEngine:
        engine = TensorRtLlmEngine(str(folder), more.pop('context_tokens', CONTEXT), **more)
        engines.append(engine)
        engine.open(WARM, ignored)
        return engine

    yield make
    for engine in engines:
        engine.close()
    assert runtime.shut_down >= len(engines)
    names = [thread.name for thread in threading.enumerate()]
    assert tensorrt_llm_engine.NAME not in names


def deltas(
    engine: TensorRtLlmEngine, request: ChatRequest, cancel: CancelToken | None = None
) -> list[Delta]:
    return list(engine.stream(request, cancel or CancelToken(30.0)))


def text_of(said: list[Delta]) -> str:
    return ''.join(delta.text for delta in said if isinstance(delta, TextDelta))


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 5.0
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


# What TensorRT-LLM is asked


def test_how_it_is_loaded(engine_of: Callable[..., TensorRtLlmEngine], runtime: Any) -> None:
    engine_of(max_batch_size=2)
    (made,) = runtime.made
    cache = made.pop('kv_cache_config')
    assert made['guided_decoding_backend'] == 'llguidance'
    assert made['max_batch_size'] == 2
    assert made['max_seq_len'] == made['max_num_tokens'] == CONTEXT
    assert made['enable_chunked_prefill'] is False
    assert made['trust_remote_code'] is False
    # Of a hybrid model, and within a budget of tokens.
    assert vars(cache) == {
        'enable_block_reuse': False,
        'max_tokens': 2 * CONTEXT,
        'mamba_ssm_cache_dtype': 'float32',
    }


def test_the_budget_of_the_cache(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    engine_of(max_kv_tokens=10_000)
    assert runtime.made[0]['kv_cache_config'].max_tokens == 10_000


def test_no_second_process_is_started(
    engine_of: Callable[..., TensorRtLlmEngine],
) -> None:
    engine_of()  # the stand-in refuses if there would be one
    assert SINGLE_PROCESS not in os.environ


def test_an_environment_that_wants_a_second_process(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SINGLE_PROCESS, '0')
    with pytest.raises(EngineError, match=f'{SINGLE_PROCESS}=0: .*; unset it'):
        engine_of()
    runtime.shut_down += 1  # there was nothing to be shut down
    assert runtime.made == []
    assert os.environ[SINGLE_PROCESS] == '0'


def test_what_is_asked_of_a_turn(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    engine = engine_of()
    deltas(engine, asked('go', max_tokens=77))
    deltas(engine, asked('go', max_tokens=77, temperature=0.6, seed=9))
    greedy, free = runtime.sampled[-2:]
    assert (greedy.max_tokens, greedy.top_k, greedy.temperature) == (77, 1, None)
    assert (free.top_k, free.temperature, free.seed) == (None, 0.6, 9)
    assert greedy.detokenize is False
    assert 'function=drive' in greedy.guided_decoding.grammar
    # All in the loop's own thread, the one with the queue.
    assert len(runtime.threads) == 1
    assert threading.get_ident() not in runtime.threads


def test_an_unknown_name_is_refused(runtime: Any) -> None:
    """The stand-in is as strict as it has to be."""
    import tensorrt_llm
    from tensorrt_llm import llmapi

    with pytest.raises(ValueError, match='invalid argument: top_n'):
        tensorrt_llm.SamplingParams(top_n=1)
    with pytest.raises(ValueError, match='invalid argument: engine_dir'):
        tensorrt_llm.LLM(model='m', engine_dir='e')
    with pytest.raises(ValueError, match='guided_decoding_backend'):
        tensorrt_llm.LLM(model='m', guided_decoding_backend='outlines')
    with pytest.raises(TypeError, match='missing required argument: model'):
        tensorrt_llm.LLM()
    with pytest.raises(AttributeError):
        _ = llmapi.BuildConfig
    with pytest.raises(fake.Refused, match=r'RequestOutput\.text is not in'):
        _ = fake.Request(runtime, lambda: iter(())).text


# What it says


def test_calls_keep_their_schema(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    runtime.often = ('<tool_call>', '<|im_end|>')
    engine, calls = engine_of(), list[ToolCall]()
    for seed in range(12):
        said = deltas(engine, asked('go', seed=seed, temperature=1.0))
        assert isinstance(said[-1], UsageDelta)
        assert '<' not in text_of(said)
        calls += [delta.call for delta in said if isinstance(delta, CallDelta)]
    assert {call.name for call in calls} == set(SCHEMAS)
    for call in calls:
        assert list(SCHEMAS[call.name].iter_errors(dict(call.arguments))) == []


def test_usage_is_counted(engine_of: Callable[..., TensorRtLlmEngine], runtime: Any) -> None:
    runtime.script = [([400, 401], None), ([402], None), ([2], 'stop')]
    *said, usage = deltas(engine_of(), asked('go'))
    assert usage == UsageDelta(len(runtime.prompts[-1]), 0, 4)
    assert text_of(said)
    assert '<|im_end|>' not in text_of(said)


def test_a_token_that_ends_the_turn_is_no_text(folder: Path, tmp_path: Path, runtime: Any) -> None:
    """Whichever it is: the format's parser knows but one."""
    other = Path(shutil.copytree(folder, tmp_path / 'other'))
    settings = other / 'tokenizer_config.json'
    settings.write_text(
        settings.read_text().replace('"<|im_end|>",\n  "extra', '"<unk>",\n  "extra')
    )
    engine = TensorRtLlmEngine(str(other), CONTEXT)
    engine.open(WARM, ignored)
    runtime.script = [([400], None), ([0], 'stop')]
    said = deltas(engine, asked('go'))
    assert text_of(said)
    assert '<unk>' not in text_of(said)
    engine.close()


def test_thinking_is_set_apart(engine_of: Callable[..., TensorRtLlmEngine], runtime: Any) -> None:
    runtime.often, runtime.never = (), ('<|im_end|>', '</think>', '<tool_call>')
    said = []
    stream = engine_of().stream(asked('go', thinking=True, max_tokens=40), CancelToken(30.0))
    with pytest.raises(OutputError, match='cut off after 40 tokens'):
        said.extend(stream)
    assert {type(delta) for delta in said} == {ReasoningDelta, UsageDelta}


def test_a_bound_of_the_reasoning_is_refused(
    engine_of: Callable[..., TensorRtLlmEngine],
) -> None:
    engine = engine_of()
    with pytest.raises(EngineError, match=r'max_thinking_tokens: .* leave it 0'):
        deltas(engine, asked('go', thinking=True, max_thinking_tokens=20))
    assert deltas(engine, asked('go', max_thinking_tokens=20)), 'there is nothing to bound'


def test_two_are_answered_side_by_side(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    engine = engine_of(max_batch_size=2)
    runtime.never, runtime.often, runtime.token_s = ('<|im_end|>', '<tool_call>'), (), 0.002
    first = engine.stream(ENDLESS, CancelToken(30.0))
    next(first)
    second = engine.stream(ENDLESS, CancelToken(30.0))
    next(second)
    assert runtime.most_running == 2
    first.close()
    assert next(second)
    second.close()
    eventually(lambda: runtime.running == 0)


def test_what_is_no_format_is_no_answer(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    """Had the grammar not been kept, nothing of it would be run."""
    engine = engine_of()
    runtime.script = [([5], None), ([5], None), ([2], 'stop')]  # <tool_call><tool_call>
    with pytest.raises(OutputError, match='can not be used'):
        deltas(engine, asked('go'))
    eventually(lambda: runtime.running == 0)


def test_a_call_that_is_cut_off_is_none(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    runtime.often = ('<tool_call>',)
    engine = engine_of()
    for max_tokens in range(2, 8):
        said: list[Delta] = []
        with pytest.raises(OutputError, match='cut'):
            said.extend(
                engine.stream(asked('go', max_tokens=max_tokens, seed=1), CancelToken(9.0))
            )
        assert not any(isinstance(delta, CallDelta) for delta in said)


def test_a_call_that_lacks_only_its_closing_tag(
    engine_of: Callable[..., TensorRtLlmEngine], folder: Path, runtime: Any
) -> None:
    """If the model ended there it is a call; if it was cut off, who knows."""
    engine = engine_of()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    call = tokenizer('<tool_call>\n<function=stop>\n</function>\n')['input_ids']
    runtime.script = [(call, None), ([2], 'stop')]
    assert any(isinstance(delta, CallDelta) for delta in deltas(engine, asked('go')))
    runtime.script = [(call, 'length')]
    said: list[Delta] = []
    with pytest.raises(OutputError, match='cut short'):
        said.extend(engine.stream(asked('go'), CancelToken(9.0)))
    assert said == []


# How it ends


@pytest.fixture
def talking(engine_of: Callable[..., TensorRtLlmEngine], runtime: Any) -> TensorRtLlmEngine:
    """An engine whose model never ends."""
    engine = engine_of()
    runtime.never, runtime.often, runtime.token_s = ('<|im_end|>', '<tool_call>'), (), 0.001
    return engine


def test_cancel(talking: TensorRtLlmEngine, runtime: Any) -> None:
    cancel, said = CancelToken(30.0), list[Delta]()
    for delta in talking.stream(ENDLESS, cancel):
        said.append(delta)
        if len(said) == 5:
            cancel.cancel()
    assert len(said) == 5
    eventually(lambda: runtime.running == 0)
    assert runtime.aborted == 1


def test_cancel_before_the_first_token(talking: TensorRtLlmEngine, runtime: Any) -> None:
    runtime.token_s = 1.0
    cancel, begun = CancelToken(30.0), time.monotonic()
    threading.Timer(0.1, cancel.cancel).start()
    assert deltas(talking, ENDLESS, cancel) == []
    assert time.monotonic() - begun < 0.5
    eventually(lambda: runtime.aborted == 1)


def test_a_deadline(talking: TensorRtLlmEngine, runtime: Any) -> None:
    cancel, begun = CancelToken(0.2), time.monotonic()
    said = deltas(talking, ENDLESS, cancel)
    assert 0.15 < time.monotonic() - begun < 0.6
    assert cancel.cause is Cause.DEADLINE
    assert {type(delta) for delta in said} == {TextDelta}
    eventually(lambda: runtime.running == 0)
    assert runtime.aborted == 1


def test_a_token_that_has_ended_asks_nothing(talking: TensorRtLlmEngine, runtime: Any) -> None:
    ended, before = CancelToken(), len(runtime.prompts)
    ended.cancel()
    assert deltas(talking, ENDLESS, ended) == []
    assert len(runtime.prompts) == before


def test_closing_the_stream_aborts(talking: TensorRtLlmEngine, runtime: Any) -> None:
    stream = talking.stream(ENDLESS, CancelToken(30.0))
    next(stream)
    stream.close()
    eventually(lambda: runtime.running == 0)
    assert runtime.aborted == 1


def test_what_has_ended_is_not_aborted(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    engine = engine_of()
    deltas(engine, asked('go'))
    engine.close()
    assert runtime.aborted == 0


@pytest.mark.parametrize('reason', ['timeout', 'cancelled'])
def test_an_end_that_was_not_asked_for(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any, reason: str
) -> None:
    engine = engine_of()
    runtime.script = [([400], None), ([], reason)]
    with pytest.raises(EngineError, match=f'ended the answer: {reason}'):
        deltas(engine, asked('go'))


def test_a_request_that_is_refused(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    engine = engine_of()
    runtime.request_error = ValueError('The sum of prompt length should not exceed\nmore')
    with pytest.raises(EngineError, match=r'can not answer: The sum .* exceed$'):
        deltas(engine, asked('go'))
    runtime.request_error = None
    assert deltas(engine, asked('go'))


def test_an_executor_that_dies(engine_of: Callable[..., TensorRtLlmEngine], runtime: Any) -> None:
    engine = engine_of()
    runtime.script = [([400], None), RuntimeError('Executor worker returned error')]
    with pytest.raises(EngineError, match='Executor worker returned error'):
        deltas(engine, asked('go'))


def test_a_prompt_that_is_too_long(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    engine = engine_of(context_tokens=700)
    before = len(runtime.prompts)
    with pytest.raises(EngineError, match=r'prompt has \d+ tokens and the context holds 700'):
        deltas(engine, asked('kitchen ' * 100))
    assert len(runtime.prompts) == before


def test_the_context_is_never_overrun(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any
) -> None:
    engine = engine_of(context_tokens=700)
    deltas(engine, asked('go', max_tokens=500))
    assert len(runtime.prompts[-1]) + runtime.sampled[-1].max_tokens == 700


def test_a_grammar_that_can_not_be_used_never_reaches_it(
    engine_of: Callable[..., TensorRtLlmEngine], runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of()
    before = len(runtime.prompts)
    monkeypatch.setattr(
        'nemotron_ros.chat.formats.nemotron_xml.NemotronXml.grammar',
        lambda *_args, **_more: 'start: <no_such_token>',
    )
    with pytest.raises(EngineError, match='grammar of the tools can not be used'):
        deltas(engine, asked('go'))
    assert len(runtime.prompts) == before


# Open and close


def test_what_it_has_loaded(folder: Path, runtime: Any) -> None:
    engine, told = TensorRtLlmEngine(str(folder), 2000), list[float]()
    info = engine.open(WARM, lambda part, _text: told.append(part))
    assert (info.engine, info.model, info.context_tokens) == ('tensorrt_llm', 'tiny', 2000)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
    assert runtime.sampled[0].max_tokens == 1
    engine.close()
    engine.close()
    assert runtime.shut_down == 1
    with pytest.raises(EngineError, match='not open'):
        deltas(engine, asked('go'))


def test_close_while_it_answers(talking: TensorRtLlmEngine, runtime: Any) -> None:
    stream = talking.stream(ENDLESS, CancelToken(30.0))
    next(stream)
    time.sleep(0.05)
    begun, said = time.monotonic(), list[Delta]()
    talking.close()
    with pytest.raises(EngineError, match='closed while it answered'):
        said.extend(stream)
    assert said == [], 'what came before the end is not given out after it'
    assert time.monotonic() - begun < 1.0
    assert runtime.aborted == 1
    assert runtime.shut_down == 1


def test_close_while_it_waits(talking: TensorRtLlmEngine, runtime: Any) -> None:
    runtime.token_s = 1.0
    closing = threading.Timer(0.1, talking.close)
    closing.start()
    with pytest.raises(EngineError, match='closed while it answered'):
        deltas(talking, ENDLESS)
    closing.join()


def test_close_while_it_opens(folder: Path, runtime: Any) -> None:
    engine = TensorRtLlmEngine(str(folder), CONTEXT)

    def close(_part: float, text: str) -> None:
        if text == 'answering once':
            engine.close()

    with pytest.raises(EngineError, match='closed while it opened'):
        engine.open(WARM, close)
    assert runtime.shut_down == 1


def test_a_shutdown_that_hangs(
    folder: Path, runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_llm_engine, 'SHUTDOWN_S', 0.2)
    engine = TensorRtLlmEngine(str(folder), CONTEXT)
    engine.open(WARM, ignored)
    runtime.hangs_at_shutdown = True
    begun = time.monotonic()
    engine.close()
    assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize('text', [*fake.SIGNATURES['out_of_memory']['texts'], ''])
def test_memory_that_does_not_suffice(folder: Path, runtime: Any, text: str) -> None:
    runtime.load_error = RuntimeError(f'{text}\nmore') if text else MemoryError()
    with pytest.raises(EngineError, match=r'does not fit into memory \(.*\); ') as raised:
        TensorRtLlmEngine(str(folder)).open(WARM, ignored)
    assert '\n' not in str(raised.value)


def test_a_model_that_it_can_not_load(folder: Path, runtime: Any) -> None:
    runtime.load_error = ValueError('Unknown architecture for AutoModelForCausalLM: Nemo')
    with pytest.raises(EngineError, match='can not be loaded by TensorRT-LLM: Unknown arch'):
        TensorRtLlmEngine(str(folder)).open(WARM, ignored)


def test_a_first_answer_that_fails_leaves_nothing(folder: Path, runtime: Any) -> None:
    runtime.request_error = RuntimeError('no kernel image is available')
    with pytest.raises(EngineError, match='no kernel image'):
        TensorRtLlmEngine(str(folder)).open(WARM, ignored)
    assert runtime.shut_down == 1
    assert tensorrt_llm_engine.NAME not in [thread.name for thread in threading.enumerate()]


def test_a_model_that_is_absent(tmp_path: Path, runtime: Any) -> None:
    with pytest.raises(ModelFileError, match='is no folder'):
        TensorRtLlmEngine(str(tmp_path / 'none')).open(WARM, ignored)


@pytest.mark.skipif(find_spec('tensorrt_llm') is not None, reason='tensorrt_llm is installed')
def test_a_machine_without_it(folder: Path) -> None:
    with pytest.raises(EngineError, match='tensorrt_llm not installed; pip install tensorrt-llm'):
        TensorRtLlmEngine(str(folder)).open(WARM, ignored)


# Command lines of its server


def profiles() -> dict[str, list[str]]:
    """Return the command lines of our device profiles that start ``trtllm-serve``."""
    found = {}
    for path in sorted(PROFILES.glob('*.yaml')):
        server = yaml.safe_load(path.read_text()).get('server') or []
        if server and server[0] == 'trtllm-serve':
            found[path.stem] = [str(word) for word in server]
    return found


def flag_faults(words: list[str]) -> list[str]:
    """Return what is wrong with a command line of ``trtllm-serve``."""
    known = fake.SIGNATURES['trtllm_serve']
    faults = []
    at = 1
    while at < len(words):
        word = words[at]
        following = words[at + 1] if at + 1 < len(words) else ''
        if word in known['switches']:
            at += 1
        elif word in known['flags']:
            if not following or following.startswith('--'):
                faults.append(f'{word}: takes a value')
            choices = known['choices'].get(word)
            if choices and not following.startswith('{') and following not in choices:
                faults.append(f'{word}: {following} is none of {choices}')
            at += 2
        else:
            if word.startswith('-'):
                faults.append(f'{word}: there is no such flag')
            at += 1
    return faults


@pytest.mark.parametrize('name', profiles())
def test_flags_of_the_device_profiles(name: str) -> None:
    assert flag_faults(profiles()[name]) == []


def test_a_wrong_flag_is_found() -> None:
    words = 'trtllm-serve m --max_tokens 5 --port --trust_remote_code --backend tensorrt'
    assert [re.sub(':.*', '', fault) for fault in flag_faults(words.split())] == [
        '--max_tokens',
        '--port',
        '--backend',
    ]


@pytest.mark.parametrize('path', sorted(PROFILES.glob('trtllm_serve/*.yml')), ids=lambda p: p.stem)
def test_options_of_the_device_profiles(path: Path) -> None:
    options = yaml.safe_load(path.read_text())
    cache = options.pop('kv_cache_config', {})
    assert set(options) <= set(fake.SIGNATURES['LLM']['keywords'])
    assert set(cache) <= set(fake.SIGNATURES['KvCacheConfig']['keywords'])
    assert 'max_tokens' in cache
    assert cache['enable_block_reuse'] is False
    assert options['guided_decoding_backend'] in ('xgrammar', 'llguidance')
