"""Setting up from a bare machine: what is asked for, when a step is due, what the files say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import program

ROOT = Path(__file__).resolve().parents[2]
SOUND = {
    'executable': '/usr/bin/python3.11',
    'version': [3, 11],
    'ordinary': True,
    'venv': True,
    'headers': True,
    'rclpy': True,
    'colcon': True,
}
RCLPY = 'share/ament_index/resource_index/packages/rclpy'

bootstrap = program('scripts/bootstrap.py')
fix_ros_wheels = program('scripts/fix_ros_wheels.py')


class Machine:
    """A folder as PATH with programs made up for a test, and a copy of the script to run."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / 'bin'
        self.bin.mkdir()
        self.checkout = folder / 'checkout'
        (self.checkout / 'scripts').mkdir(parents=True)
        shutil.copy(ROOT / 'scripts/bootstrap.py', self.checkout / 'scripts')
        for name in ('cc', 'c++', 'make', 'cmake'):
            self.program(name, 'exit 0')
        self.python('python3')

    def program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\n{body}\n')
        path.chmod(0o755)

    def python(self, name: str, **facts: object) -> None:
        """Add a Python that says this about itself; what isn't given is as it should be."""
        self.program(name, f"echo '{json.dumps({**SOUND, **facts})}'")

    def check(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `bootstrap.py --check` there."""
        # /usr/bin/python3 is asked in the end: a Python of this machine must not help out.
        script = self.checkout / 'scripts/bootstrap.py'
        script.write_text(script.read_text().replace(", '/usr/bin/python3')", ')'))
        return subprocess.run(
            [sys.executable, '-S', str(script), '--check'],
            env={'PATH': str(self.bin), **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


x86_64 = pytest.mark.skipif(
    os.uname().machine != 'x86_64', reason='the wheels are for x86_64, and so is this test'
)


@x86_64
def test_a_sound_machine_passes(machine: Machine) -> None:
    done = machine.check()
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@x86_64
@pytest.mark.parametrize(
    ('spoil', 'package'),
    [
        (lambda m: (m.bin / 'c++').unlink(), 'build-essential'),
        (lambda m: (m.bin / 'cc').unlink(), 'build-essential'),
        (lambda m: (m.bin / 'make').unlink(), 'build-essential'),
        (lambda m: m.python('python3', headers=False), 'python3.11-dev'),
        (lambda m: m.python('python3', venv=False), 'python3.11-venv'),
        (lambda m: m.python('python3', version=[3, 9]), 'python3'),
        (lambda m: m.python('python3', version=[3, 14]), 'python3'),
        (lambda m: m.python('python3', ordinary=False), 'python3'),
        (lambda m: m.program('python3', 'exit 1'), 'python3'),
        (lambda m: m.program('python3', 'echo hello'), 'python3'),
        (lambda m: (m.bin / 'python3').unlink(), 'python3'),
    ],
    ids=[
        'c++', 'cc', 'make', 'headers', 'venv', 'old', 'new', 'odd', 'broken', 'talks', 'none',
    ],
)  # fmt: skip
def test_a_missing_thing_is_one_line(
    machine: Machine, spoil: Callable[[Machine], None], package: str
) -> None:
    spoil(machine)
    done = machine.check()
    assert done.returncode == 1
    assert done.stdout == ''
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert f'sudo apt-get install {package}' in done.stderr


@x86_64
def test_everything_missing_is_said_at_once(machine: Machine) -> None:
    machine.python('python3', headers=False, venv=False)
    (machine.bin / 'c++').unlink()
    assert len(machine.check().stderr.splitlines()) == 3


@x86_64
def test_no_cmake_is_no_fault(machine: Machine) -> None:
    (machine.bin / 'cmake').unlink()
    assert machine.check().returncode == 0


@x86_64
def test_the_next_python_that_fits_is_taken(machine: Machine) -> None:
    machine.python('python3', version=[3, 9])
    machine.python('python3.12', version=[3, 12], headers=False)
    machine.python('python3.10', version=[3, 10])
    assert machine.check().returncode == 0


@x86_64
def test_a_python_that_was_asked_for_is_the_only_one(machine: Machine) -> None:
    machine.python('python3.8', version=[3, 8])
    done = machine.check(PYTHON='python3.8')
    assert done.returncode == 1
    assert 'python3.8 is 3.8' in done.stderr


def sourced(folder: Path, *, rclpy: bool = True) -> dict[str, str]:
    """Return the environment of a shell in which a ROS 2 was sourced."""
    (folder / RCLPY).parent.mkdir(parents=True)
    if rclpy:
        (folder / RCLPY).touch()
    return {'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': str(folder)}


def test_a_sourced_ros_is_used(tmp_path: Path) -> None:
    assert bootstrap.sourced_ros(sourced(tmp_path / 'opt'), tmp_path / 'checkout') == 'jazzy'


def test_a_name_alone_is_no_sourced_ros(tmp_path: Path) -> None:
    assert bootstrap.sourced_ros({'ROS_DISTRO': 'jazzy'}, tmp_path) is None


def test_the_own_environment_is_no_sourced_ros(tmp_path: Path) -> None:
    environ = sourced(tmp_path / '.venv')
    assert bootstrap.sourced_ros(environ, tmp_path) is None


def test_a_ros_without_rclpy_is_named(tmp_path: Path) -> None:
    environ = sourced(tmp_path / 'opt', rclpy=False)
    with pytest.raises(bootstrap.SetupError, match='apt-get install ros-jazzy-ros-base'):
        bootstrap.sourced_ros(environ, tmp_path / 'checkout')


@pytest.mark.parametrize(('fact', 'line'), [('rclpy', 'make PYTHON='), ('colcon', 'colcon')])
def test_the_python_of_a_sourced_ros_must_have_its_parts(
    machine: Machine, tmp_path: Path, fact: str, line: str
) -> None:
    machine.python('python3', **{fact: False})
    done = machine.check(**sourced(tmp_path / 'opt'))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert line in done.stderr


def test_an_arm_board_is_told_to_source_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.platform, 'machine', lambda: 'aarch64')
    (line,) = bootstrap.missing_platform(None)
    assert 'source its setup.bash' in line
    assert bootstrap.missing_platform('humble') == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the files that the set-up is made from."""
    root = tmp_path / 'checkout'
    for name in ('config', 'launch', 'msg', 'requirements', 'resource', 'scripts'):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('package.xml', 'setup.py', 'setup.cfg'):
        shutil.copy(ROOT / name, root)
    return root


def pretend(root: Path, environ: dict[str, str]) -> None:
    """Leave what a complete set-up leaves: stamps and outputs."""
    stamps = root / bootstrap.STAMPS
    stamps.mkdir(parents=True, exist_ok=True)
    (stamps / 'python').write_text(environ.get('PYTHON', ''))
    for step in bootstrap.steps(root, environ, None):
        (stamps / step.name).write_text(step.key)
        for output in step.outputs:
            output.mkdir(parents=True, exist_ok=True)


def due(root: Path, environ: dict[str, str], distro: str | None = None) -> list[str]:
    stamps = root / bootstrap.STAMPS
    return [step.name for step in bootstrap.steps(root, environ, distro) if step.due(stamps)]


ALL = ['venv', 'packages', 'nemotron_msgs', 'nemotron_ros']
ENVIRON = {'PATH': '/usr/bin:/bin'}


def append(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        with path.open('a') as file:
            file.write('\n# changed\n')

    return change


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (lambda _: None, []),
        (append('requirements/test.txt'), ALL[1:]),
        (append('requirements/constraints.txt'), ALL[1:]),
        (append('scripts/fix_ros_wheels.py'), ALL[1:]),
        (append('msg/msg/Usage.msg'), ALL[2:]),
        (append('package.xml'), ALL[3:]),
        (append('setup.py'), ALL[3:]),
        (append('launch/new.launch.py'), ALL[3:]),
        (append('nemotron_ros/new.py'), []),
        (append('launch/demo.launch.py'), []),
        (append('requirements/cmake.txt'), []),
        (append('requirements/docs.txt'), []),
        (lambda root: shutil.rmtree(root / 'install/nemotron_msgs'), ['nemotron_msgs']),
        (lambda root: shutil.rmtree(root / 'build'), ALL[2:]),
        (lambda root: shutil.rmtree(root / '.venv'), ALL),
    ],
    ids=[
        'nothing', 'requirements', 'constraints', 'fix', 'msg', 'package.xml', 'setup.py',
        'new launch file', 'python', 'launch file', 'cmake', 'docs', 'install', 'build', 'venv',
    ],
)  # fmt: skip
def test_a_change_redoes_what_it_must(
    checkout: Path, change: Callable[[Path], None], expected: list[str], tmp_path: Path
) -> None:
    cmake = tmp_path / 'tools/cmake'
    cmake.parent.mkdir()
    cmake.touch(mode=0o755)
    environ = {'PATH': str(cmake.parent)}
    pretend(checkout, environ)
    change(checkout)
    assert due(checkout, environ) == expected


def test_a_folder_that_moved_is_set_up_again(checkout: Path) -> None:
    pretend(checkout, ENVIRON)
    moved = checkout.rename(checkout.with_name('moved'))
    assert due(moved, ENVIRON) == ALL


def test_a_ros_that_was_sourced_since_is_set_up_again(checkout: Path) -> None:
    pretend(checkout, ENVIRON)
    assert due(checkout, ENVIRON, 'jazzy') == ALL


def test_the_chosen_python_is_kept_until_another_is_named(checkout: Path) -> None:
    pretend(checkout, {**ENVIRON, 'PYTHON': '/opt/python3.12'})
    assert due(checkout, ENVIRON) == []
    assert due(checkout, {**ENVIRON, 'PYTHON': '/opt/python3.13'}) == ALL


def test_a_step_that_fails_is_due_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(checkout, ENVIRON)
    shutil.rmtree(checkout / 'install/nemotron_ros')

    def broken(*_: object, **__: object) -> None:
        # What a build that was cut short leaves behind.
        (checkout / 'install/nemotron_ros/share/nemotron_ros').mkdir(parents=True)
        (checkout / 'build/nemotron_ros').mkdir()
        raise bootstrap.SetupError('no space left')

    monkeypatch.setattr(bootstrap, 'run', broken)
    monkeypatch.setattr(bootstrap, 'missing_tools', lambda _: [])
    with pytest.raises(bootstrap.SetupError):
        bootstrap.set_up(checkout, ENVIRON)
    assert due(checkout, ENVIRON) == ['nemotron_ros']


def test_a_second_set_up_says_and_does_nothing(checkout: Path) -> None:
    environ = {'PATH': os.environ['PATH']}
    pretend(checkout, environ)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-S', str(checkout / 'scripts/bootstrap.py')],
        env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    assert time.monotonic() - start < 1.0


def engines_step(root: Path) -> Any:
    (step,) = [s for s in bootstrap.steps(root, ENVIRON, None, tests=True) if s.name == 'engines']
    return step


def test_what_optional_engines_need_is_for_tests_alone(checkout: Path) -> None:
    pretend(checkout, ENVIRON)
    assert due(checkout, ENVIRON) == []
    step, stamps = engines_step(checkout), checkout / bootstrap.STAMPS
    assert step.due(stamps)
    (stamps / step.name).write_text(step.key)
    append('setup.py')(checkout)
    assert not engines_step(checkout).due(stamps)
    append('requirements/transformers.txt')(checkout)
    assert engines_step(checkout).due(stamps)
    assert due(checkout, ENVIRON) == ['nemotron_ros'], 'nothing else is done again for it'


def test_the_site_is_for_who_builds_or_tests_it(checkout: Path) -> None:
    def extra(**wanted: bool) -> list[str]:
        return [s.name for s in bootstrap.steps(checkout, ENVIRON, None, **wanted)][len(ALL) :]

    assert extra() == []
    assert extra(docs=True) == ['docs']
    assert extra(tests=True) == ['docs', 'engines']


@pytest.mark.parametrize('status', [0, 1])
def test_optional_engines_that_are_not_to_be_had(
    checkout: Path, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    python = checkout / '.venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" > asked\necho ERROR: no match >&2\nexit {status}\n')
    python.chmod(0o755)
    engines_step(checkout).run()
    assert '-m pip install' in (checkout / 'asked').read_text()
    said = capfd.readouterr()
    assert said.err == ''
    assert ('will be skipped' in said.out) == bool(status)


BAKED = """
set(_include "/opt/python/cp311-cp311/include/python3.11;${prefix}/include")
set(_numpy "/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include")
set(_old "/opt/python/cp310-cp310/lib/python3.10/site-packages/numpy/core/include")
"""


def test_the_wheels_are_pointed_at_this_environment(tmp_path: Path) -> None:
    cmake = tmp_path / 'share/std_msgs/cmake/export.cmake'
    index = tmp_path / 'share/ament_index/resource_index/parent_prefix_path/std_msgs'
    for path, text in ((cmake, BAKED), (index, '/opt/python/cp313-cp313')):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert fix_ros_wheels.fix(tmp_path, '/usr/include/python3.11', '/np/include') == 2
    assert cmake.read_text() == (
        '\nset(_include "/usr/include/python3.11;${prefix}/include")\n'
        'set(_numpy "/np/include")\nset(_old "/np/include")\n'
    )
    assert index.read_text() == str(tmp_path)
    assert fix_ros_wheels.fix(tmp_path, '/usr/include/python3.11', '/np/include') == 0


@pytest.mark.parametrize('text', ['/opt/python/cp311-cp311x/include', '/opt/python3/include', ''])
def test_other_paths_are_left_alone(text: str) -> None:
    assert fix_ros_wheels.corrected(text, '/venv', '/headers', '/numpy') == text


REQUIREMENTS = sorted((ROOT / 'requirements').glob('*.txt'))


@pytest.mark.parametrize('path', REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and line[0] != '#']
    pin = re.compile(r'[a-z0-9-]+==[\w.+]+(; python_version (<|>=) "3\.11")?')
    assert [line for line in lines if not pin.fullmatch(line)] == []
    names = [re.sub(r'==[\w.+]+', '', line) for line in lines]
    assert len(names) == len(set(names))


def test_versions_agree() -> None:
    found = {
        ET.parse(ROOT / 'package.xml').findtext('version'),
        ET.parse(ROOT / 'msg/package.xml').findtext('version'),
        *re.findall(r"version='([^']+)'", (ROOT / 'setup.py').read_text()),
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    'path', ['scripts/env.bash', 'scripts/underlay.bash', 'scripts/nemotron', '.ci/run']
)
def test_shell_files_parse(path: str) -> None:
    subprocess.run(['bash', '-n', str(ROOT / path)], check=True, timeout=10)


def test_the_environment_says_what_is_missing(tmp_path: Path) -> None:
    scripts = tmp_path / 'a folder/scripts'
    shutil.copytree(ROOT / 'scripts', scripts)
    done = subprocess.run(
        ['bash', '-c', '. "$0/env.bash"', str(scripts)],
        capture_output=True, text=True, timeout=10,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"nothing is set up in {scripts.parent} yet: run 'make setup' there"
    ]


@pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')
def test_help_names_every_target() -> None:
    makefile = (ROOT / 'Makefile').read_text()
    (phony,) = re.findall(r'^\.PHONY: help (.*)$', makefile, re.MULTILINE)
    shown = subprocess.run(
        ['make', '-C', str(ROOT), 'help'], capture_output=True, text=True, timeout=10, check=True
    ).stdout
    assert all(f'make {target} ' in shown for target in phony.split())
