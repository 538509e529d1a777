"""What we rely on of TensorRT Edge-LLM 0.11.0, asked of NVIDIA's own server, parser and builder.

Only the model and the GPU are stood in for. What is asked here is what
``nemotron_ros.edge_llm`` and the ``edge_llm`` dialect take for granted.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import edge_llm_layer
import httpx
import pytest
from edge_llm_layer import Layer, free_port, serving

from nemotron_ros.chat.formats import structural_tag
from nemotron_ros.chat.formats.nemotron_xml import NemotronXml
from nemotron_ros.chat.messages import Message, ToolSpec
from nemotron_ros.device.detect import Board
from nemotron_ros.device.profile import Profile, load_profiles
from nemotron_ros.edge_llm.build import BUILDER, BuildError, Plan, make_plan, run
from nemotron_ros.edge_llm.manifest import Origin
from nemotron_ros.edge_llm.toolchain import Toolchain, ask, sizes
from nemotron_ros.engine import dialects
from nemotron_ros.engine.protocol import ChatRequest

DEVICES = Path(__file__).resolve().parents[2] / 'config' / 'devices'
NAME = 'nemotron-3-nano-4b'
CHAT = '/v1/chat/completions'
TOOL = {
    'type': 'function',
    'function': {
        'name': 'drive',
        'description': 'Drive.',
        'parameters': {
            'type': 'object',
            'properties': {
                'distance_m': {'type': 'number'},
                'direction': {'type': 'string', 'enum': ['forward', 'backward']},
            },
            'required': ['distance_m'],
        },
    },
}
CALL = (
    '<tool_call>\n<function=drive>\n<parameter=distance_m>\n0.5\n</parameter>\n'
    '<parameter=direction>\nforward\n</parameter>\n</function>\n</tool_call>'
)
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope='module')
def layer() -> Layer:
    try:
        return edge_llm_layer.layer()
    except edge_llm_layer.NotToBeHad as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope='module')
def profiles() -> dict[str, Profile]:
    return load_profiles(DEVICES)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder that tells what the server looks at, and a bundle at once."""
    folder = tmp_path_factory.mktemp('checkpoint')
    config = {
        'model_type': 'nemotron_h',
        'kv_cache_dtype': 'fp16',
        'builder_config': {
            'max_input_len': 8192, 'max_kv_cache_capacity': 16384, 'max_batch_size': 4,
        },
    }  # fmt: skip
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


@contextmanager
def served(layer: Layer, profile: Profile, checkpoint: Path, *more: str) -> Iterator[str]:
    """Serve with the profile's own command, and more arguments."""
    port = free_port()
    command = profile.command(str(checkpoint), Path('/nonexistent'), port=port)
    with serving(layer, [*command[1:], *more], port) as url:
        yield url


@pytest.fixture(scope='module')
def url(layer: Layer, profiles: Mapping[str, Profile], checkpoint: Path) -> Iterator[str]:
    with served(layer, profiles['jetson_thor'], checkpoint) as url:
        yield url


def body(script: object, **fields: Any) -> dict[str, Any]:
    content = script if isinstance(script, str) else json.dumps(script)
    messages = [{'role': 'user', 'content': content}]
    return {'messages': messages, 'model': NAME, 'max_tokens': 400, 'stream': True, **fields}


def post(url: str, script: object, **fields: Any) -> httpx.Response:
    return httpx.post(f'{url}{CHAT}', json=body(script, **fields), timeout=20)


def chunks(response: httpx.Response) -> list[Any]:
    """Return the events of a stream, the last of them its end."""
    assert response.status_code == 200, response.text
    events = [line.removeprefix('data: ') for line in response.text.splitlines() if line]
    assert events.pop() == '[DONE]'
    return [json.loads(event) for event in events]


def text_of(events: list[Any], field: str = 'content') -> str:
    deltas = [choice['delta'] for event in events for choice in event.get('choices', ())]
    return ''.join(delta[field] or '' for delta in deltas)


def report(response: httpx.Response) -> Any:
    """Return how the model was asked, as it tells itself."""
    return json.loads(text_of(chunks(response)))


# The server's command line


@pytest.mark.parametrize('name', ['jetson_thor', 'jetson_agx_orin', 'jetson_orin_nx'])
def test_the_server_takes_the_command_of_each_profile(
    layer: Layer, profiles: Mapping[str, Profile], name: str
) -> None:
    profile = profiles[name]
    program = (
        'import sys, json\n'
        'from dataclasses import asdict\n'
        'from experimental.server.config import parse_server_config\n'
        'print(json.dumps(asdict(parse_server_config(sys.argv[1:]))))'
    )
    config = json.loads(layer.run(program, *profile.command('/m', Path('/c'), port=8123)[1:]))
    api, model = config['api'], config['model']
    assert (api['host'], api['port'], api['served_model_name']) == ('127.0.0.1', 8123, NAME)
    assert (api['tool_call_parser'], api['reasoning_parser']) == ('nemotron', 'nemotron')
    assert api['enable_auto_tool_choice'] is True
    assert (model['model'], model['cache_dir']) == ('/m', '/c')
    assert model['max_input_len'] == profile.max_input_tokens
    assert model['max_kv_cache_capacity'] == profile.context_tokens
    assert model['max_batch_size'] == profile.max_batch_size
    assert model['enable_in_flight_batching'] is (profile.max_batch_size > 1)


def test_left_alone_it_would_listen_to_everybody(layer: Layer) -> None:
    program = (
        'from experimental.server.config import parse_server_config as parse\n'
        "print(parse(['m']).api.host)"
    )
    assert layer.run(program) == '0.0.0.0\n'


# What it tells of itself


def test_it_tells_that_it_is_ready_and_what_it_serves(url: str) -> None:
    assert httpx.get(f'{url}/health/ready').json()['status'] == 'ready'
    (model,) = httpx.get(f'{url}/v1/models').json()['data']
    assert (model['id'], model['max_model_len']) == (NAME, 16384)
    health = httpx.get(f'{url}/health').json()
    assert health['capabilities']['max_input_len'] == 8192


def test_there_are_no_plain_completions(url: str) -> None:
    assert httpx.post(f'{url}/v1/completions', json={'prompt': 'x'}).status_code == 404


# The stream


def test_a_stream_has_role_text_end_usage_and_done(url: str) -> None:
    events = chunks(post(url, 'hello world', stream_options={'include_usage': True}))
    first, *middle, end, usage = events
    assert first['choices'][0]['delta']['role'] == 'assistant'
    assert first['choices'][0]['delta']['content'] is None
    assert text_of(middle) == 'hello world'
    assert end['choices'][0]['finish_reason'] == 'stop'
    assert usage['choices'] == []
    assert usage['usage'] == {'prompt_tokens': 7, 'completion_tokens': 3, 'total_tokens': 10}
    assert {event['object'] for event in events} == {'chat.completion.chunk'}


def test_usage_comes_only_when_asked_for(url: str) -> None:
    assert all(event['usage'] is None for event in chunks(post(url, 'hello')))


def test_characters_of_several_bytes_come_whole(url: str) -> None:
    assert text_of(chunks(post(url, 'Grüße, ロボット 🤖'))) == 'Grüße, ロボット 🤖'


def test_a_bound_on_tokens_ends_with_length(url: str) -> None:
    events = chunks(post(url, {'text': 'x' * 50}, max_tokens=3))
    assert text_of(events) == 'x' * 15
    assert events[-1]['choices'][0]['finish_reason'] == 'length'


def test_a_dead_end_of_the_grammar_ends_with_error(url: str) -> None:
    events = chunks(post(url, {'text': '{"a', 'finish': 'error'}))
    assert events[-1]['choices'][0]['finish_reason'] == 'error'


def test_a_failure_in_the_middle_is_an_event_and_then_done(url: str) -> None:
    events = chunks(post(url, {'text': 'x' * 50, 'fail_after': 2}))
    assert events[-1]['error']['type'] == 'engine_error'
    assert events[-1]['error']['code'] == 500
    assert 'illegal memory access' in events[-1]['error']['message']


def test_a_prompt_that_is_too_long_is_an_event_too(url: str) -> None:
    (_role, event) = chunks(post(url, 'x' * 500_000))
    assert (event['error']['code'], event['error']['type']) == (413, 'invalid_request_error')


# Cancelling


def state(url: str) -> Any:
    return httpx.get(f'{url}/stand-in').json()


def test_hanging_up_cancels(url: str) -> None:
    before = state(url)
    script = {'text': 'xxxxx', 'repeat': 1000, 'pause_s': 0.01}
    request = body(script, max_tokens=1000)
    with httpx.stream('POST', f'{url}{CHAT}', json=request, timeout=20) as response:
        for line in response.iter_lines():
            if 'xxxxx' in line:
                break
    deadline = time.monotonic() + 5
    while state(url)['cancelled'] == before['cancelled'] and time.monotonic() < deadline:
        time.sleep(0.01)
    after = state(url)
    assert after['cancelled'] == before['cancelled'] + 1
    assert after['said'] - before['said'] < 100
    assert httpx.get(f'{url}/health').json()['active_requests'] == 0


# What it refuses


@pytest.mark.parametrize(
    'field',
    [
        {'user': 'me'},
        {'grammar': 'start: "a"'},
        {'cache_prompt': True},
        {'return_progress': True},
        {'reasoning_format': 'none'},
        {'guided_json': {}},
        {'structured_outputs': {}},
        {'min_tokens': 1},
        {'metadata': {}},
    ],
)
def test_fields_of_other_servers_are_refused(url: str, field: dict[str, Any]) -> None:
    response = post(url, 'hello', **field)
    error = response.json()['error']
    assert response.status_code == 400
    assert error['param'] == next(iter(field))
    assert error['message'] == 'Extra inputs are not permitted'


def test_these_fields_are_taken(url: str) -> None:
    asked = report(
        post(
            url,
            {'report': True},
            temperature=0.0,
            seed=3,
            top_p=0.9,
            stop=['\n\n'],
            chat_template_kwargs={'enable_thinking': False},
        )
    )
    assert (asked['temperature'], asked['top_k'], asked['seed']) == (0.0, 1, 3)
    assert (asked['max_tokens'], asked['stop']) == (400, ['\n\n'])
    assert asked['enable_thinking'] is False


@pytest.mark.parametrize(
    ('fields', 'status', 'word'),
    [
        ({'model': 'another'}, 404, 'is not served'),
        ({'frequency_penalty': 0.5}, 400, 'frequency_penalty is not supported'),
        ({'temperature': 3.0}, 400, 'less than or equal to 2'),
        ({'max_tokens': 0}, 400, 'greater than or equal to 1'),
        ({'seed': -1}, 400, 'greater than or equal to 0'),
        ({'messages': []}, 400, 'messages must not be empty'),
        ({'chat_template_kwargs': {'tools': []}}, 400, 'unsupported chat_template_kwargs: tools'),
        ({'tools': [{'type': 'function'}]}, 400, 'tools'),
    ],
)
def test_what_is_wrong_is_refused(
    url: str, fields: dict[str, Any], status: int, word: str
) -> None:
    response = post(url, 'hello', **fields)
    assert response.status_code == status, response.text
    assert word in response.json()['error']['message']


def test_what_is_no_json_is_refused(url: str) -> None:
    response = httpx.post(
        f'{url}{CHAT}', content='{', headers={'content-type': 'application/json'}
    )
    assert response.status_code == 400


# Tools


def test_a_call_comes_as_a_head_and_its_arguments(url: str) -> None:
    events = chunks(post(url, {'text': CALL}, tools=[TOOL], tool_choice='auto'))
    deltas = [event['choices'][0]['delta'] for event in events]
    calls = [call for delta in deltas for call in delta['tool_calls'] or ()]
    head, *rest = calls
    assert head['function'] == {'name': 'drive', 'arguments': ''}
    assert (head['index'], head['type']) == (0, 'function')
    assert head['id']
    arguments = json.loads(''.join(call['function']['arguments'] for call in rest))
    assert arguments == {'distance_m': 0.5, 'direction': 'forward'}
    assert {call['index'] for call in calls} == {0}
    assert events[-1]['choices'][0]['finish_reason'] == 'tool_calls'


def test_two_calls_have_two_indices(url: str) -> None:
    events = chunks(post(url, {'text': f'{CALL}\n{CALL}'}, tools=[TOOL]))
    deltas = [event['choices'][0]['delta'] for event in events]
    heads = [c for d in deltas for c in d['tool_calls'] or () if 'name' in c['function']]
    assert [head['index'] for head in heads] == [0, 1]
    assert len({head['id'] for head in heads}) == 2


def test_words_are_words_when_there_are_tools(url: str) -> None:
    events = chunks(post(url, {'text': 'I am a robot.'}, tools=[TOOL]))
    assert text_of(events) == 'I am a robot.'
    assert events[-1]['choices'][0]['finish_reason'] == 'stop'


def test_without_tools_a_call_is_text(url: str) -> None:
    assert text_of(chunks(post(url, {'text': CALL}))) == CALL


def test_a_bound_of_the_schema_is_not_checked_by_the_server(url: str) -> None:
    text = CALL.replace('forward', 'sideways')
    events = chunks(post(url, {'text': text}, tools=[TOOL]))
    deltas = [event['choices'][0]['delta'] for event in events]
    arguments = ''.join(
        call['function'].get('arguments', '') for d in deltas for call in d['tool_calls'] or ()
    )
    assert json.loads(arguments)['direction'] == 'sideways'


def test_tools_are_off_unless_switched_on(
    layer: Layer, profiles: Mapping[str, Profile], checkpoint: Path
) -> None:
    port = free_port()
    command = profiles['jetson_thor'].command(str(checkpoint), Path('/nonexistent'), port=port)
    command.remove('--enable-auto-tool-choice')
    with serving(layer, command[1:], port) as url:
        response = post(url, 'hello', tools=[TOOL])
    assert response.status_code == 400
    assert response.json()['error']['type'] == 'unsupported_feature'


# Thinking


def test_thinking_is_off_unless_asked_for(url: str) -> None:
    assert report(post(url, {'report': True}))['enable_thinking'] is False


@pytest.mark.parametrize('field', [{'enable_thinking': True}, {'chat_template_kwargs': {'enable_thinking': True}}])  # fmt: skip  # noqa: E501
def test_reasoning_comes_in_a_field_of_its_own(url: str, field: dict[str, Any]) -> None:
    script = {'text': 'I think so.</think>Yes.'}
    events = chunks(post(url, script, **field))
    assert text_of(events, 'reasoning_content').strip() == 'I think so.'
    assert text_of(events).strip() == 'Yes.'


# Constraining what is said


def test_a_schema_constrains(url: str) -> None:
    schema = {'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'required': ['a']}
    wrapped = {'type': 'json_schema', 'json_schema': {'name': 'x', 'schema': schema}}
    kind, guide = report(post(url, {'report': True}, response_format=wrapped))['guided_decoding']
    assert (kind, json.loads(guide)) == ('json_schema', schema)


@pytest.mark.parametrize(
    ('guide', 'expected'),
    [
        ({'ebnf': 'root ::= "a"'}, ['ebnf', 'root ::= "a"']),
        ({'regex': 'a+'}, ['regex', 'a+']),
        ({'structural_tag': {'type': 'x'}}, ['structural_tag', '{"type": "x"}']),
        ({'choice': ['a', 'b']}, ['choice', '["a", "b"]']),
    ],
)
def test_guides_of_its_own_constrain(url: str, guide: Any, expected: list[str]) -> None:
    asked = report(post(url, {'report': True}, guided_decoding=guide))
    assert asked['guided_decoding'] == expected


@pytest.mark.parametrize(
    ('fields', 'param'),
    [
        ({'guided_decoding': {'lark': 'start: "a"'}}, 'guided_decoding'),
        ({'guided_decoding': {'ebnf': 'root ::= "a"', 'regex': 'a'}}, 'guided_decoding'),
        ({'guided_decoding': {'json_schema': {'uniqueItems': True}}}, 'guided_decoding'),
        ({'response_format': {'type': 'grammar'}}, 'response_format'),
        (
            {'guided_decoding': {'regex': 'a'}, 'response_format': {'type': 'json_object'}},
            'guided_decoding',
        ),
    ],
)
def test_guides_that_are_wrong_are_refused(url: str, fields: dict[str, Any], param: str) -> None:
    response = post(url, 'hello', **fields)
    assert (response.status_code, response.json()['error']['param']) == (400, param)


@pytest.mark.parametrize('thinking', [False, True])
def test_what_our_dialect_sends_is_taken(url: str, thinking: bool) -> None:
    spec = ToolSpec('drive', 'Drive.', TOOL['function']['parameters'])  # type: ignore[index]
    turns = (Message('system', 'You control a robot.'), Message('user', '{"report": true}'))
    request = ChatRequest(turns, (spec,), max_tokens=400, seed=5, thinking=thinking)
    sent = dialects.body(dialects.DIALECTS['edge_llm'], NAME, NemotronXml(), '', request)
    events = chunks(httpx.post(f'{url}{CHAT}', json=sent, timeout=20))
    asked = json.loads(text_of(events, 'reasoning_content' if thinking else 'content'))
    assert (asked['enable_thinking'], asked['seed'], asked['top_k']) == (thinking, 5, 1)
    assert asked['tools'][0]['function']['name'] == 'drive'
    kind, guide = asked['guided_decoding']
    assert (kind, json.loads(guide)) == ('structural_tag', structural_tag.write((spec,)))


# Being busy, and keys


def test_a_full_queue_answers_429(
    layer: Layer, profiles: Mapping[str, Profile], checkpoint: Path
) -> None:
    more = ('--max-queued-requests', '0')
    slow = {'text': 'xxxxx', 'repeat': 200, 'pause_s': 0.02}
    with served(layer, profiles['jetson_orin_nx'], checkpoint, *more) as url:
        began, done = threading.Event(), threading.Event()

        def occupy() -> None:
            with httpx.stream('POST', f'{url}{CHAT}', json=body(slow), timeout=20) as response:
                for line in response.iter_lines():
                    if 'xxxxx' in line:
                        began.set()
                    if done.is_set():
                        return

        thread = threading.Thread(target=occupy)
        thread.start()
        assert began.wait(10)
        try:
            response = post(url, 'hello')
        finally:
            done.set()
            thread.join(10)
        assert response.status_code == 429
        assert response.headers['retry-after'] == '1'
        assert response.json()['error']['type'] == 'server_overloaded'
        assert text_of(chunks(post(url, 'hello'))) == 'hello'


def test_a_key_is_asked_for(
    layer: Layer, profiles: Mapping[str, Profile], checkpoint: Path
) -> None:
    with served(layer, profiles['jetson_thor'], checkpoint, '--api-key', 'open sesame') as url:
        assert post(url, 'hello').status_code == 401
        headers = {'Authorization': 'Bearer open sesame'}
        answer = httpx.post(f'{url}{CHAT}', json=body('hello'), headers=headers, timeout=20)
        assert text_of(chunks(answer)) == 'hello'
        assert httpx.get(f'{url}/health/ready').status_code == 200


# The builder


def test_the_builder_takes_our_command(
    layer: Layer, profiles: Mapping[str, Profile], tmp_path: Path
) -> None:
    """It is the command that NVIDIA's server gives its own builder, flag by flag."""
    profile = profiles['jetson_thor']
    builder = tmp_path / 'bin' / BUILDER
    builder.parent.mkdir()
    builder.touch()
    toolchain = Toolchain('0.11.0', '10.16', str(tmp_path / 'engine'))
    plan = make_plan(profile, Board('aarch64'), Path('/m'), 'm', toolchain, str(tmp_path))
    program = (
        'import json, sys\n'
        'from experimental.builder.cli import _parser\n'
        'from experimental.server.runtime.engine_build import BuildOptions\n'
        'sizes = json.loads(sys.argv[1])\n'
        'theirs = BuildOptions(**sizes).to_argv("/m", "/e")\n'
        'lines = sys.argv[2:], theirs, theirs[:4]\n'
        'print(json.dumps([vars(_parser().parse_args(line)) for line in lines]))'
    )
    ours, theirs, bare = json.loads(
        layer.run(program, json.dumps(sizes(profile)), *plan.command[1:], '--engine-dir', '/e')
    )
    assert ours == theirs
    assert {name: ours[name] for name in sizes(profile)} == sizes(profile)
    # Why all three are always given.
    assert {name: bare[name] for name in sizes(profile)} == {
        'max_input_len': 32, 'max_kv_cache_capacity': 96, 'max_batch_size': 1,
    }  # fmt: skip


def test_the_server_looks_for_the_engine_where_we_build_it(
    layer: Layer, profiles: Mapping[str, Profile], checkpoint: Path, tmp_path: Path
) -> None:
    """Nothing of it needs a GPU; TensorRT is told to be missing where it is."""
    profile = profiles['jetson_thor']
    toolchain = ask(profile, str(layer.folder), checkpoint, tmp_path)
    assert toolchain.edge_llm == '0.11.0'
    assert toolchain.tensorrt or 'tensorrt' in toolchain.tensorrt_fault
    folder = Path(toolchain.engine_dir)
    assert folder.parent.parent == tmp_path / 'engines'
    assert folder.name.startswith('i8192-b4-kv16384-none-')
    # What it is called decides which engine a changed profile or another checkpoint gets.
    program = (
        'import sys\n'
        'from experimental.server.config import parse_server_config\n'
        'from experimental.server.runtime import engine, engine_build\n'
        'def prepare(model, cache_dir="", options=None, **_rest):\n'
        '    print(engine_build.bundle_cache_path(model, cache_dir, options))\n'
        '    sys.exit()\n'
        'engine_build.prepare_model = prepare\n'
        'engine._import_runtime = lambda: None\n'
        'sys.modules["tensorrt"] = type(sys)("tensorrt")\n'
        'engine.LLM(**parse_server_config(sys.argv[1:]).model.llm_kwargs())'
    )
    command = profile.command(str(checkpoint), tmp_path, port=1)
    assert layer.run(program, *command[1:]).strip() == str(folder)


def test_the_server_and_we_share_a_lock_and_hide_what_is_not_done(
    layer: Layer, tmp_path: Path
) -> None:
    engine_dir = tmp_path / 'engines' / 'model-1' / 'i8192'
    plan = Plan(origin(), ('true',), engine_dir, 0, 0)
    plan.part.mkdir(parents=True)
    program = (
        'import fcntl, sys\n'
        'from experimental.server.runtime import engine_build\n'
        'print(engine_build._bundle_directories(sys.argv[1]))\n'
        'with engine_build._bundle_lock(sys.argv[2]):\n'
        '    print("held", flush=True)\n'
        '    sys.stdin.read()'
    )
    child = subprocess.Popen(
        [str(layer.python), '-I', '-c', program, str(tmp_path), str(engine_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline().strip() == '[]'
        assert child.stdout.readline().strip() == 'held'
        with pytest.raises(BuildError, match='is being built by another process'):
            run(plan, Board('aarch64'), lambda line: None)
    finally:
        child.communicate('')
    assert child.returncode == 0


def origin() -> Origin:
    return Origin('m', 'fp8', 1, 1, 1, 'b', 'R1', '1', '1', '1')
