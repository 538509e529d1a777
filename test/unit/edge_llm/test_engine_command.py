"""``nemotron engine build`` and ``serve``, as a board would run them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import yaml
from stand_in import Environment

from nemotron_ros.device.detect import Board

ROOT = Path(__file__).resolve().parents[3]
# The command, with another board and other profiles than this computer's.
DRIVER = """
import json, sys
from pathlib import Path
from nemotron_ros.cli import engine, main
from nemotron_ros.device.detect import Board
told = json.loads(sys.argv[1])
engine.detect = lambda: Board(**told["board"])
engine.config_path = lambda name: Path(told["config"], name)
sys.exit(main(["engine", *sys.argv[2:]]))
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Start = Callable[..., 'subprocess.Popen[str]']
Run = Callable[..., Done]


@pytest.fixture
def start(tmp_path: Path, board: Board, environment: Environment, checkpoint: Path) -> Start:
    """Return what starts the command on Thor, with profiles of which builds take little."""
    devices = tmp_path / 'config' / 'devices'
    devices.mkdir(parents=True)
    for path in (ROOT / 'config' / 'devices').glob('*.yaml'):
        data = yaml.safe_load(path.read_text())
        if 'build' in data:
            data['build'] = {'memory_bytes': 1, 'disk_bytes': 1}
        (devices / path.name).write_text(yaml.safe_dump(data))
    (tmp_path / 'config' / 'models.yaml').write_text((ROOT / 'config/models.yaml').read_text())

    told = json.dumps({'board': asdict(board), 'config': str(tmp_path / 'config')})
    own = (
        '--model-dir', str(checkpoint), '--environment', str(environment),
        '--cache-dir', str(tmp_path / 'cache'),
    )  # fmt: skip

    def start(
        *arguments: str, with_own: bool = True, before: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        arguments = (*arguments, *(own if with_own else ()))
        return subprocess.Popen(
            [*before, sys.executable, '-c', DRIVER, told, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run(start: Start) -> Run:
    """Return what runs the command to its end."""

    def run(*arguments: str, with_own: bool = True) -> Done:
        child = start(*arguments, with_own=with_own)
        try:
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
        return Done(child.returncode, out, err)

    return run


def test_the_plan_is_shown_and_nothing_is_done(
    run: Run, environment: Environment, tmp_path: Path
) -> None:
    done = run('build', '--dry-run')
    assert (done.code, done.err) == (0, '')
    assert 'board    NVIDIA Jetson AGX Thor Developer Kit, JetPack 7.2' in done.out
    assert '--max-input-len 8192 --max-kv-cache-capacity 16384 --max-batch-size 4' in done.out
    assert environment.runs == 0
    assert not (tmp_path / 'cache').exists()


def test_an_engine_is_built_and_then_served(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    assert run('serve').err.endswith('build it with `nemotron engine build`\n')
    done = run('build', '--device', 'jetson_thor')
    assert done.code == 0, done.err
    assert 's  Building component llm' in done.out
    (engine,) = (tmp_path / 'cache' / 'engines').glob('model-*/i8192')
    assert done.out.endswith(f'the engine is in {engine}\n')
    # The server is in the command's place, and says how it was called.
    served = run('serve', '--port', str(free_port()))
    assert served.code == 0, served.err
    shown, called = served.out.splitlines()
    assert json.loads(called) == shown.split()
    assert called.count('127.0.0.1') == 1
    assert json.loads(called)[1] == str(checkpoint)


def test_a_folder_of_ones_own_is_taken(run: Run, tmp_path: Path) -> None:
    assert run('build', '--engine-dir', str(tmp_path / 'mine')).code == 0
    assert (tmp_path / 'mine' / 'manifest.json').exists()


def test_a_builder_that_fails_ends_it_with_one_message(run: Run, environment: Environment) -> None:
    environment.behave(fail=1, say='boom')
    done = run('build')
    assert done.code == 1
    assert done.err == (
        'nemotron engine: the builder ended with code 1: Building component llm | boom\n'
    )


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_build_that_is_told_to_end_leaves_nothing(
    start: Start, environment: Environment, tmp_path: Path, number: signal.Signals
) -> None:
    environment.behave(linger_s=60)
    # Whoever runs the tests may be deaf to them.
    child = start('build', before=('env', '--default-signal=HUP,INT'))
    assert child.stdout is not None
    while 'Serialized' not in child.stdout.readline():
        assert child.poll() is None
    child.send_signal(number)
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (128 + number, '')
    assert not environment.builder_runs
    (folder,) = (tmp_path / 'cache' / 'engines').iterdir()
    assert [path.name for path in folder.iterdir()] == ['i8192.lock']


def test_a_build_under_nohup_outlives_the_terminal(
    start: Start, environment: Environment, tmp_path: Path
) -> None:
    environment.behave(linger_s=1)
    child = start('build', before=('nohup',))
    assert child.stdout is not None
    while 'Serialized' not in child.stdout.readline():
        assert child.poll() is None
    child.send_signal(signal.SIGHUP)
    child.communicate(timeout=20)
    assert child.returncode == 0
    assert list((tmp_path / 'cache' / 'engines').glob('*/i8192/manifest.json'))


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (('build', '--device', 'jetson_agx_orin'), 'jetson_agx_orin is not this board (NVIDIA Je'),
        (('serve', '--device', 'jetson_orin_nx'), 'the profile that fits is jetson_thor'),
        (('build', '--device', 'cpu'), 'device: cpu is served by llama_cpp'),
        (('serve', '--device', 'cpu'), 'device: cpu needs no server'),
        (('build', '--device', 'toaster'), 'device: expected one of cpu, '),
    ],
)
def test_what_can_not_be_is_told(run: Run, arguments: tuple[str, ...], expected: str) -> None:
    done = run(*arguments)
    assert done.code == 1
    assert expected in done.err
    assert done.err.count('\n') == 1


def test_a_folder_that_is_no_checkpoint_is_told(run: Run, tmp_path: Path) -> None:
    done = run('build', '--model-dir', str(tmp_path), with_own=False)
    assert done.code == 1
    assert 'expected a checkpoint folder' in done.err


def test_a_port_that_is_taken_is_told(run: Run) -> None:
    assert run('build').code == 0
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        done = run('serve', '--port', str(port))
    assert done.err.startswith(f'nemotron engine: port: {port} is taken; ')


def test_a_server_that_is_not_installed_is_told(run: Run, environment: Environment) -> None:
    assert run('build').code == 0
    (environment.folder / 'bin' / 'tensorrt-edgellm-serve').unlink()
    done = run('serve', '--port', str(free_port()))
    assert 'tensorrt-edgellm-serve is not there; python3 -m venv' in done.err


def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
