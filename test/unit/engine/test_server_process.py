"""The supervisor: a real program is started, watched, brought up again, and never left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from nemotron_ros.cancel import CancelToken
from nemotron_ros.engine.loopback import free_port
from nemotron_ros.engine.protocol import EngineError, EngineState
from nemotron_ros.engine.server_process import (
    MAX_RESTARTS,
    YIELDS_BY,
    ServerProcess,
    guarded,
    private_folder,
)

# Serves until its input closes.
SERVE = """
import sys
settings = sys.stdin.readline()
print('ready', flush=True)
sys.stdin.read()
"""
# The same, but only for the first time; NAME is a file that marks it.
ONCE = """
import os, sys
if os.path.exists(NAME):
    sys.exit('no second time')
open(NAME, 'w').close()
print('ready', flush=True)
sys.stdin.read()
"""


class States:
    """What a server told of itself, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[EngineState, str, float]] = []
        self._changed = threading.Condition()

    def __call__(self, state: EngineState, text: str) -> None:
        with self._changed:
            self.told.append((state, text, time.monotonic()))
            self._changed.notify_all()

    @property
    def names(self) -> list[str]:
        return [state.name for state, _, _ in self.told]

    def wait(self, name: str, times: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.names.count(name) >= times, 20.0), name


@pytest.fixture
def states() -> States:
    return States()


@pytest.fixture
def server(states: States) -> Iterator[Callable[..., ServerProcess]]:
    servers = []

    def make(program: str, settings: str = '{}', timeout_s: float = 20.0) -> ServerProcess:
        command = [sys.executable, '-c', program]
        servers.append(ServerProcess(command, settings, timeout_s, states))
        return servers[-1]

    yield make
    for one in servers:
        one.close()


def runs(pid: int | None) -> bool:
    """Whether there is such a process that has not ended."""
    assert pid is not None
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in 'ZX'


def ends(pid: int, within_s: float = 5.0) -> bool:
    """Whether a process ends in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not runs(pid):
            return True
        time.sleep(0.01)
    return False


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def died(process: ServerProcess, generation: int) -> None:
    assert process.is_dead(generation, 20.0)


def test_it_serves_until_closed(server: Callable[..., ServerProcess], states: States) -> None:
    process = server(SERVE)
    process.start()
    pid = process.pid
    assert runs(pid)
    assert process.generation == 1
    assert process.wait_ready(CancelToken(1.0))
    assert not process.is_dead(1, 0.0)
    process.close()
    assert not runs(pid)
    assert process.pid is None
    assert states.names == ['READY']
    process.close()


def test_it_leaves_busy_cores_to_the_robot(server: Callable[..., ServerProcess]) -> None:
    process = server(SERVE)
    process.start()
    assert process.pid is not None
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, own + YIELDS_BY)


def test_settings_are_its_input(server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    path = tmp_path / 'settings'
    keep = f'open({str(path)!r}, "w").write(settings)'
    server(SERVE.replace('print', f'{keep}\nprint', 1), '{"a": "é"}').start()
    assert path.read_text() == '{"a": "é"}\n'


def test_it_may_print_more(server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    done = tmp_path / 'done'
    loud = f"""
import sys
print('a licence', flush=True)
print('ready', flush=True)
print('x' * 999_999, file=sys.stderr, flush=True)
print('x' * 999_999, flush=True)
open({str(done)!r}, 'w').close()
sys.stdin.read()
"""
    process = server(loud)
    process.start()
    until = time.monotonic() + 10.0
    while not done.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert done.exists(), 'a full pipe holds it up'
    assert process.generation == 1


def test_never_ready(server: Callable[..., ServerProcess], states: States) -> None:
    process = server('import time; print("loading"); time.sleep(60)', timeout_s=0.5)
    began = time.monotonic()
    with pytest.raises(EngineError, match=r'^the server was not ready within 0\.5 s$'):
        process.start()
    assert 0.5 <= time.monotonic() - began < 5.0
    assert process.pid is None
    assert states.names == ['FAILED']


def test_dies_at_start(server: Callable[..., ServerProcess], states: States) -> None:
    program = 'import sys; print("x\\n" * 99, "no\\n\\nroom", file=sys.stderr); sys.exit(3)'
    with pytest.raises(EngineError) as error:
        server(program).start()
    assert str(error.value).startswith('the server ended with code 3: x | ')
    assert str(error.value).endswith(' | no | room')
    assert len(str(error.value)) < 100, 'the end of it is enough'
    assert states.names == ['FAILED']


def test_dies_without_a_word(server: Callable[..., ServerProcess]) -> None:
    with pytest.raises(EngineError, match=r'^the server ended with code 5$'):
        server('import os; os.close(0); os._exit(5)', settings='x' * 999_999).start()


def test_no_such_program(states: States) -> None:
    process = ServerProcess(['/no/such/program'], '{}', 20.0, states)
    began = time.monotonic()
    with pytest.raises(EngineError, match=r'can not be started.*/no/such/program'):
        process.start()
    assert time.monotonic() - began < 5.0


def test_restart_after_a_crash(server: Callable[..., ServerProcess], states: States) -> None:
    process = server(SERVE)
    process.start()
    first = process.pid
    kill(first)
    died(process, 1)
    assert process.wait_ready(CancelToken(20.0))
    assert process.generation == 2
    assert runs(process.pid)
    assert process.pid != first
    states.wait('READY', 2)
    assert states.names == ['READY', 'RESTARTING', 'READY']
    assert states.told[1][1] == 'the server ended with code -9'


def test_back_off_and_giving_up(
    server: Callable[..., ServerProcess], states: States, tmp_path: Path
) -> None:
    process = server(f'NAME = {str(tmp_path / "mark")!r}\n{ONCE}')
    process.start()
    kill(process.pid)
    states.wait('FAILED')
    assert states.names == ['READY', *['RESTARTING'] * MAX_RESTARTS, 'FAILED']
    times = [at for _, _, at in states.told[1:]]
    pauses = [after - before for before, after in pairwise(times)]
    waits = [0.0, 0.1, 0.3, 0.7, 1.5]
    assert all(pause >= wait for pause, wait in zip(pauses, waits, strict=True))
    assert sum(pauses) < sum(waits) + 5.0
    reason = (
        f'died {MAX_RESTARTS + 1} times in a row: the server ended with code 1: no second time'
    )
    assert states.told[-1][1] == reason
    with pytest.raises(EngineError, match='died 6 times'):
        process.wait_ready(CancelToken(20.0))
    assert process.pid is None


def test_a_healthy_time_forgives(
    server: Callable[..., ServerProcess], states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('nemotron_ros.engine.server_process.HEALTHY_S', 0.0)
    process = server(SERVE)
    process.start()
    for generation in range(1, MAX_RESTARTS + 3):
        kill(process.pid)
        died(process, generation)
        assert process.wait_ready(CancelToken(20.0))
    assert 'FAILED' not in states.names


def waiting(process: ServerProcess, token: CancelToken) -> Callable[[], Any]:
    """Wait in a thread; return what waits for that to end and gives how it did."""
    ended: list[Any] = []

    def wait() -> None:
        try:
            ended.append(process.wait_ready(token))
        except EngineError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()

    def result() -> Any:
        thread.join(5.0)
        return ended[0]

    return result


@pytest.fixture
def between(server: Callable[..., ServerProcess], states: States, tmp_path: Path) -> ServerProcess:
    """A server that has died and does not come up again soon."""
    mark = tmp_path / 'mark'
    again = f"""
import os, sys
if os.path.exists({str(mark)!r}):
    sys.stdin.read()
open({str(mark)!r}, 'w').close()
{SERVE}"""
    process = server(again)
    process.start()
    kill(process.pid)
    died(process, 1)
    return process


def test_waiting_for_a_restart_ends_with_the_token(between: ServerProcess) -> None:
    token = CancelToken(60.0)
    result = waiting(between, token)
    began = time.monotonic()
    token.cancel()
    assert result() is False
    assert time.monotonic() - began < 0.5
    assert between.wait_ready(CancelToken(0.1)) is False


def test_waiting_for_a_restart_ends_with_close(between: ServerProcess) -> None:
    result = waiting(between, CancelToken(60.0))
    threading.Timer(0.1, between.close).start()
    assert str(result()) == 'the engine is closed'


def test_close_while_it_starts(server: Callable[..., ServerProcess]) -> None:
    process = server('import sys; sys.stdin.read()')
    began = time.monotonic()
    pids = []

    def close() -> None:
        while process.pid is None:
            time.sleep(0.01)
        pids.append(process.pid)
        process.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(EngineError, match='the engine was closed while it started'):
        process.start()
    closer.join()
    assert time.monotonic() - began < 4.0
    assert not runs(pids[0])


def test_close_at_once(server: Callable[..., ServerProcess]) -> None:
    process = server(SERVE)
    process.close()
    with pytest.raises(EngineError, match='closed while it started'):
        process.start()
    assert process.pid is None


def test_close_ends_one_that_does_not_listen(
    server: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('nemotron_ros.engine.server_process.END_S', 0.3)
    process = server('import time; print("ready", flush=True); time.sleep(60)')
    process.start()
    pid = process.pid
    process.close()
    assert not runs(pid)


def test_close_from_what_it_tells(server: Callable[..., ServerProcess], states: States) -> None:
    process = server(SERVE)
    process.start()
    pid = process.pid
    process._on_state = lambda _state, _text: process.close()
    kill(pid)
    died(process, 1)
    until = time.monotonic() + 5.0
    while process._watcher.is_alive() and time.monotonic() < until:  # type: ignore[union-attr]
        time.sleep(0.01)
    assert process.pid is None
    assert process.generation == 1


PARENT = """
import sys
from nemotron_ros.engine.server_process import ServerProcess
process = ServerProcess([sys.executable, *sys.argv[1:]], '{}', 20.0, lambda *_: None)
process.start()
print(process.pid, flush=True)
input()
"""


def test_child_ends_with_a_killed_parent() -> None:
    command = [sys.executable, '-c', PARENT, '-c', SERVE]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert runs(child)
        parent.kill()
    assert ends(child)


def test_private_folder() -> None:
    folder = Path(private_folder())
    try:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        folder.rmdir()


# A server that knows nothing of this package, behind its guardian


FOREIGN = """
import http.server, subprocess, sys, threading, time
print('loading 10 %', file=sys.stderr, flush=True)
sleep = [sys.executable, '-c', 'import time; time.sleep(600)']
helpers = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
open(MARK, 'w').write(' '.join(str(helper.pid) for helper in helpers))
time.sleep(LOADING_S)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(('127.0.0.1', PORT), Handler).serve_forever()
"""


class Foreign:
    """A server with helpers of its own, in its group and out of it."""

    def __init__(self, folder: Path, states: States, before: str = '', **more: float) -> None:
        self.port = free_port()
        self.mark = folder / 'helpers'
        head = f'MARK = {str(self.mark)!r}; PORT = {self.port}'
        head += f'; LOADING_S = {more.get("loading_s", 0.0)}\n{before}'
        command, settings = guarded([sys.executable, '-c', head + FOREIGN])
        timeout_s = more.get('timeout_s', 20.0)
        self.process = ServerProcess(command, settings, timeout_s, states, self.serves)

    def serves(self) -> bool:
        try:
            return httpx.get(f'http://127.0.0.1:{self.port}/', trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def pids(self) -> list[int]:
        """Return every process of it: the guardian, the server, its helpers."""
        guardian = self.process.pid
        assert guardian is not None
        children = Path(f'/proc/{guardian}/task/{guardian}/children').read_text().split()
        return [guardian, *map(int, children), *map(int, self.mark.read_text().split())]


@pytest.fixture
def foreign(states: States, tmp_path: Path) -> Iterator[Callable[..., Foreign]]:
    made = []

    def make(**more: Any) -> Foreign:
        made.append(Foreign(tmp_path, states, **more))
        return made[-1]

    yield make
    for one in made:
        one.process.close()


def test_a_foreign_server_serves_until_closed(foreign: Callable[..., Foreign]) -> None:
    server = foreign(loading_s=1.3)
    told: list[tuple[float, str]] = []
    server.process.start(lambda part, text: told.append((part, text)))
    assert server.serves()
    pids = server.pids()
    assert len(pids) == 4
    assert all(map(runs, pids))
    assert told
    assert told[0][1] == 'loading 10 %'
    assert 0.0 < told[0][0] < 0.2
    began = time.monotonic()
    server.process.close()
    assert [pid for pid in pids if runs(pid)] == []
    assert time.monotonic() - began < 2.0, 'it was asked to end, and did'


def test_a_foreign_server_that_does_not_listen_is_killed(
    foreign: Callable[..., Foreign], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('nemotron_ros.engine.server_process.GRACE_S', 0.3)
    server = foreign(before='import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n')
    server.process.start()
    pids = server.pids()
    server.process.close()
    assert [pid for pid in pids if runs(pid)] == []


def test_a_foreign_server_comes_up_again(foreign: Callable[..., Foreign], states: States) -> None:
    server = foreign()
    server.process.start()
    pids = server.pids()
    kill(pids[1])
    died(server.process, 1)
    assert server.process.wait_ready(CancelToken(20.0))
    assert server.serves()
    assert states.names == ['READY', 'RESTARTING', 'READY']
    assert states.told[1][1].endswith('the server was ended by SIGKILL')
    assert [pid for pid in pids if runs(pid)] == [], 'its helpers have ended with it'


def test_a_foreign_server_that_is_never_ready(foreign: Callable[..., Foreign]) -> None:
    server = foreign(loading_s=60.0, timeout_s=0.8)
    with pytest.raises(EngineError, match=r'^the server was not ready within 0\.8 s'):
        server.process.start()
    helpers = list(map(int, server.mark.read_text().split()))
    assert [pid for pid in helpers if runs(pid)] == []


def test_a_foreign_server_has_packages_of_its_own(
    foreign: Callable[..., Foreign], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = [str(Path(__file__).parents[3]), *sys.path]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(paths))
    monkeypatch.setenv('OTHER', 'kept')
    told = tmp_path / 'environment'
    keep = f'open({str(told)!r}, "w").write(repr(dict(os.environ)))'
    foreign(before=f'import os\n{keep}\n').process.start()
    assert 'PYTHONPATH' not in told.read_text()
    assert "'OTHER': 'kept'" in told.read_text()


def test_no_such_foreign_server(states: States) -> None:
    process = ServerProcess(*guarded(['/no/such/server']), 20.0, states, lambda: False)
    with pytest.raises(EngineError, match='/no/such/server can not be started: No such file'):
        process.start()


PARENT_OF_FOREIGN = """
import sys, httpx
from nemotron_ros.engine.server_process import ServerProcess, guarded
def serves():
    try:
        return httpx.get(f'http://127.0.0.1:{sys.argv[1]}/', trust_env=False).is_success
    except httpx.HTTPError:
        return False
process = ServerProcess(
    *guarded([sys.executable, '-c', sys.argv[2]]), 20.0, lambda *_: None, serves
)
process.start()
print(process.pid, flush=True)
input()
"""


@pytest.mark.parametrize('victim', ['parent', 'guardian'])
def test_a_foreign_server_ends_with_who_started_it(tmp_path: Path, victim: str) -> None:
    port, mark = free_port(), tmp_path / 'helpers'
    program = f'MARK = {str(mark)!r}; PORT = {port}; LOADING_S = 0\n{FOREIGN}'
    command = [sys.executable, '-c', PARENT_OF_FOREIGN, str(port), program]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        guardian = int(parent.stdout.readline())
        (server,) = Path(f'/proc/{guardian}/task/{guardian}/children').read_text().split()
        helpers = list(map(int, mark.read_text().split()))
        kill(parent.pid if victim == 'parent' else guardian)
        assert ends(int(server))
        parent.kill()
    if victim == 'parent':
        assert all(map(ends, [guardian, *helpers]))
    for helper in helpers:
        if runs(helper):
            kill(helper)
