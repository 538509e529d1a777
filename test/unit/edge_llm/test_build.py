"""Building an engine: as a whole or not at all, whatever comes in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stand_in import SIZE, TENSORRT, VERSION, Environment

from nemotron_ros.device.detect import Board
from nemotron_ros.device.profile import Build, Profile
from nemotron_ros.edge_llm import build, manifest
from nemotron_ros.edge_llm.build import BuildError, Plan
from nemotron_ros.edge_llm.toolchain import Toolchain, ToolchainError, ask
from nemotron_ros.engine.protocol import EngineError

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., Plan]
GIB = 1 << 30


def quiet(_line: str) -> None:
    return


def left(plan: Plan) -> list[str]:
    """What is left where the engine would be, the lock apart."""
    return sorted(p.name for p in plan.engine_dir.parent.iterdir() if p.suffix != '.lock')


def test_an_engine_is_built_with_its_manifest(
    plan: Make, board: Board, environment: Environment, checkpoint: Path
) -> None:
    lines: list[str] = []
    decided = plan()
    made = build.run(decided, board, lines.append)
    assert lines == ['Building component llm', 'Serialized', 'Engine outputs:']
    assert left(decided) == [decided.engine_dir.name]
    said = json.loads((decided.engine_dir / 'config.json').read_text())
    sizes = (said['max_input_len'], said['max_kv_cache_capacity'], said['max_batch_size'])
    assert (said['model_dir'], sizes) == (str(checkpoint), (8192, 16384, 4))
    assert manifest.check(decided.engine_dir, decided.origin, with_hashes=True) == made
    assert (made.origin.tensorrt, made.origin.edge_llm) == (TENSORRT, VERSION)
    assert (made.origin.board, made.origin.jetpack) == (board.model, '7.2')
    assert set(made.files) == {'llm.engine', 'config.json', 'tokenizer/vocab.json'}
    assert made.files['llm.engine'].bytes == SIZE // 256 * 256


def test_it_is_where_the_server_looks_for_it(plan: Make, tmp_path: Path) -> None:
    assert plan(tmp_path / 'c').engine_dir.parent.parent == tmp_path / 'c' / 'engines'


def test_what_is_built_is_not_built_again(
    plan: Make, board: Board, environment: Environment
) -> None:
    first = build.run(plan(), board, quiet)
    assert build.run(plan(), board, quiet) == first
    assert environment.runs == 1


def test_a_damaged_engine_is_built_again(
    plan: Make, board: Board, environment: Environment
) -> None:
    decided = plan()
    build.run(decided, board, quiet)
    engine = decided.engine_dir / 'llm.engine'
    engine.write_bytes(b'\1' + engine.read_bytes()[1:])
    build.run(decided, board, quiet)
    assert environment.runs == 2
    manifest.check(decided.engine_dir, decided.origin, with_hashes=True)


def test_an_engine_of_another_board_is_built_again(
    plan: Make, board: Board, environment: Environment
) -> None:
    decided = plan()
    other = replace(decided, origin=replace(decided.origin, board='NVIDIA Jetson AGX Orin'))
    build.run(other, board, quiet)
    assert build.run(decided, board, quiet).origin.board == board.model
    assert environment.runs == 2


# What goes wrong


@pytest.mark.parametrize(
    ('behaviour', 'expected'),
    [
        ({'fail': 3, 'say': 'ValueError: INT4 is not for this'}, 'code 3: .*ValueError: INT4'),
        ({'die': int(signal.SIGKILL)}, 'was killed, most likely because memory ran out'),
        ({'die': int(signal.SIGSEGV)}, 'ended by SIGSEGV: Building component llm'),
        (
            {'fail': 1, 'say': 'OSError: [Errno 28] No space left on device'},
            'disk: .* became full',
        ),
        ({'no_config': True}, r'the builder ended well, but config\.json: .* written none'),
        ({'size': 0}, r'but llm\.engine: the builder has written none'),
    ],
)
def test_a_builder_that_fails_leaves_nothing(
    plan: Make, board: Board, environment: Environment, behaviour: dict[str, object], expected: str
) -> None:
    environment.behave(**behaviour)
    decided = plan()
    with pytest.raises(BuildError, match=expected):
        build.run(decided, board, quiet)
    assert left(decided) == []


def test_a_build_that_fails_leaves_the_old_engine(
    plan: Make, board: Board, environment: Environment
) -> None:
    decided = plan()
    old = replace(decided, origin=replace(decided.origin, board='another'))
    build.run(old, board, quiet)
    environment.behave(fail=1)
    with pytest.raises(BuildError):
        build.run(decided, board, quiet)
    manifest.check(decided.engine_dir, old.origin, with_hashes=True)


def test_a_build_that_takes_too_long_is_ended(
    plan: Make, board: Board, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, 'BUILD_S', 0.5)
    environment.behave(linger_s=60)
    decided = plan()
    with pytest.raises(BuildError, match=r'was not done within 0\.5 s'):
        build.run(decided, board, quiet)
    assert left(decided) == []
    assert not environment.builder_runs


def test_an_interrupt_ends_the_builder_and_leaves_nothing(
    plan: Make, board: Board, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, 'END_S', 0.5)
    environment.behave(linger_s=60, ignore_terminate=True)
    decided = plan()

    def interrupt(line: str) -> None:
        if line == 'Serialized':
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.run(decided, board, interrupt)
    assert left(decided) == []
    assert not environment.builder_runs


def test_too_little_memory_is_told_before_anything_begins(
    plan: Make, board: Board, environment: Environment
) -> None:
    poor = replace(board, ram_available_bytes=2 * GIB, swap_free_bytes=GIB)
    decided = plan(build=Build(4 * GIB, 1))
    message = r'memory: the build needs 4\.0 GiB and 3\.0 are free, swap counted in'
    with pytest.raises(BuildError, match=message):
        build.run(decided, poor, quiet)
    build.run(decided, replace(poor, swap_free_bytes=2 * GIB), quiet)
    assert environment.runs == 1


def test_too_little_disk_is_told_before_anything_begins(
    plan: Make, board: Board, environment: Environment, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=r'disk: the build needs 9\d+\.\d GiB at .* are free'):
        build.run(plan(build=Build(1, 10**17)), board, quiet)
    assert environment.runs == 0


def test_a_folder_that_can_not_be_written_is_told(plan: Make, board: Board) -> None:
    decided = replace(plan(), engine_dir=Path('/proc/nobody/engine'))
    with pytest.raises(BuildError, match='engine_dir: /proc/nobody/engine: '):
        build.run(decided, board, quiet)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for half an engine."""
    folder = tmp_path / 'small disk'
    folder.mkdir()
    options = f'size={SIZE // 2 // 4096 * 4096}'
    mount = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=10)
    except OSError as error:
        pytest.skip(f'no disk can be mounted here: {error}')
    if done.returncode:
        pytest.skip(f'no disk can be mounted here: {done.stderr.strip()}')
    yield folder
    subprocess.run(['umount', str(folder)], check=True, timeout=10)


def test_a_disk_that_becomes_full_for_the_builder_is_told(
    plan: Make, board: Board, small_disk: Path
) -> None:
    decided = plan(small_disk, build=Build(1, 4096))
    with pytest.raises(BuildError, match=r'disk: .* became full .*nothing of it is left'):
        build.run(decided, board, quiet)
    assert left(decided) == []
    assert shutil.disk_usage(small_disk).used < 4096


def test_a_disk_that_becomes_full_for_the_manifest_is_told(
    plan: Make, board: Board, environment: Environment, small_disk: Path
) -> None:
    decided = plan(small_disk, build=Build(1, 4096))
    decided.engine_dir.parent.mkdir(parents=True)
    filler = small_disk / 'filler'
    # The builder's three files leave not a page for the manifest.
    pages = shutil.disk_usage(small_disk).free // 4096
    filler.write_bytes(bytes(4096 * (pages - 3)))
    environment.behave(size=4096)
    with pytest.raises(BuildError, match=r'disk: .* became full'):
        build.run(decided, board, quiet)
    assert left(decided) == []


# Two at once, and a violent end

DRIVER = """
import json, sys
from pathlib import Path
from nemotron_ros.device.detect import Board
from nemotron_ros.edge_llm import build
from nemotron_ros.edge_llm.manifest import Origin
told = json.loads(sys.argv[1])
plan = build.Plan(Origin(**told["origin"]), tuple(told["command"]), Path(told["engine_dir"]), 0, 0)
build.run(plan, Board("aarch64"), print)
"""


@pytest.fixture
def another(environment: Environment, plan: Make) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that builds the same engine, and is just about to be done."""
    environment.behave(linger_s=60)
    decided = plan()
    told = {
        'origin': vars(decided.origin),
        'command': decided.command,
        'engine_dir': str(decided.engine_dir),
    }
    child = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(DRIVER), json.dumps(told)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while not (environment.folder / 'written').exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    environment.behave()
    yield child
    child.kill()
    child.wait()


def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_second_build_at_the_same_time_is_refused(
    plan: Make, board: Board, another: subprocess.Popen[bytes], environment: Environment
) -> None:
    with pytest.raises(BuildError, match='is being built by another process'):
        build.run(plan(), board, quiet)
    assert environment.runs == 1
    assert environment.builder_runs


def test_a_kill_in_the_middle_leaves_nothing_that_looks_whole(
    plan: Make, board: Board, another: subprocess.Popen[bytes], environment: Environment
) -> None:
    decided = plan()
    assert (decided.part / 'llm.engine').exists()
    os.kill(another.pid, signal.SIGKILL)
    another.wait()
    assert until(lambda: not environment.builder_runs)
    assert left(decided) == [decided.part.name]
    assert decided.part.name.startswith('.')
    for folder in (decided.engine_dir, decided.part):
        with pytest.raises(EngineError, match='there is no engine with a manifest'):
            manifest.check(folder, decided.origin, with_hashes=False)
    build.run(decided, board, quiet)
    assert left(decided) == [decided.engine_dir.name]


# What can't be built at all


def test_only_edge_llm_builds_engines(profile: Profile, board: Board) -> None:
    other = replace(profile, name='cpu', engine='llama_cpp', build=None)
    with pytest.raises(BuildError, match='device: cpu is served by llama_cpp'):
        build.make_plan(other, board, Path('/c'), 'm', Toolchain(VERSION, TENSORRT), '/venv')


def test_tensorrt_must_load(
    profile: Profile, board: Board, environment: Environment, checkpoint: Path, tmp_path: Path
) -> None:
    environment.tensorrt('raise OSError("libnvinfer.so.10: cannot open shared object file")')
    toolchain = ask(profile, str(environment), checkpoint, tmp_path)
    with pytest.raises(BuildError, match=r'can not be loaded in .*: libnvinfer\.so\.10'):
        build.make_plan(profile, board, checkpoint, 'm', toolchain, str(environment))


@pytest.mark.parametrize(('version', 'found'), [('0.10.1', '0.10.1'), ('', 'not at all')])
def test_another_version_is_refused(
    profile: Profile, environment: Environment, tmp_path: Path, version: str, found: str
) -> None:
    environment.install(version)
    message = rf'has tensorrt-edgellm {found}, tensorrt-edgellm==0\.11\.0 is needed; install it: '
    with pytest.raises(ToolchainError, match=message):
        ask(profile, str(environment), None, tmp_path)


def test_an_environment_that_is_absent_is_told(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r'/bin/python is not there; install it: python3 -m'):
        ask(profile, str(tmp_path / 'none'), None, tmp_path)


@pytest.mark.parametrize(
    ('module', 'reason'),
    [
        ('raise SystemExit("no")', 'no'),
        ('import os; os._exit(0)', 'list index out of range'),
        ('import os; print("[]", flush=True); os._exit(0)', 'argument after'),
        ('import os; print("hello", flush=True); os._exit(0)', 'Expecting value'),
    ],
)
def test_an_environment_that_does_not_answer_is_told(
    profile: Profile, environment: Environment, tmp_path: Path, module: str, reason: str
) -> None:
    environment.tensorrt(module)
    with pytest.raises(ToolchainError, match=f'does not answer: .*{reason}'):
        ask(profile, str(environment), None, tmp_path)
