"""What the two packages say of themselves is so: dependencies, versions, what is installed."""

from __future__ import annotations

import ast
import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import setuptools
import yaml

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / 'test/fixtures'
KEYS = yaml.safe_load((FIXTURES / 'rosdistro_keys.yaml').read_text())
DISTROS = {'humble', 'jazzy', 'kilted'}

# Where the key of rosdep is not the import's own name.
KEY_OF = {
    'PIL': 'python3-pil',
    'httpx': 'python3-httpx',
    'hypothesis': 'python3-hypothesis',
    'jinja2': 'python3-jinja2',
    'jsonschema': 'python3-jsonschema',
    'numpy': 'python3-numpy',
    'pytest': 'python3-pytest',
    'rich': 'python3-rich',
    'textual': 'python3-textual',
    'tqdm': 'python3-tqdm',
    'yaml': 'python3-yaml',
}
# No key, or one that pip installs into the system's Python: requirements/base.txt has them.
FROM_PIP = {'huggingface_hub', 'jsonschema_rs', 'mujoco', 'xllamacpp'}
# Imported only by who asks for what they are for, with a message that says how to get them.
OPTIONAL = {
    'anyio', 'bfcl_eval', 'experimental', 'imageio_ffmpeg', 'llguidance', 'matplotlib', 'mcap',
    'mcp', 'mcp_types', 'prometheus_client', 'py_trees', 'tensorrt', 'tensorrt_llm', 'torch',
    'transformers', 'uvicorn',
}  # fmt: skip


def manifest(folder: str) -> Any:
    """Return a package.xml as the ROS tools read it."""
    package = pytest.importorskip('catkin_pkg.package', reason='catkin_pkg comes with colcon')
    return package.parse_package(str(ROOT / folder / 'package.xml'))


def keys(found: Any, *kinds: str) -> set[str]:
    """Return the keys that a manifest depends on, of some kinds or of all."""
    every = ('buildtool', 'build', 'build_export', 'exec', 'test', 'doc')
    return {
        dependency.name
        for kind in kinds or every
        for dependency in getattr(found, f'{kind}_depends')
    }


def imports(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield what is imported from outside, and by which file."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob('*.py')):
            for node in ast.walk(ast.parse(path.read_bytes())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                elif isinstance(node, ast.Call) and node.args:
                    function, (first, *_) = node.func, node.args
                    called = getattr(function, 'attr', getattr(function, 'id', ''))
                    if called == 'import_module' and isinstance(first, ast.Constant):
                        names = [first.value]
                for name in {name.partition('.')[0] for name in names}:
                    if name not in sys.stdlib_module_names and name != 'nemotron_ros':
                        yield name, path.relative_to(ROOT).as_posix()


@pytest.fixture
def setup_arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give what setup.py hands to setuptools."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **arguments: given.update(arguments))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / 'setup.py'))
    return given


@pytest.mark.parametrize('folder', ['.', 'msg'])
def test_a_manifest_is_whole_and_each_of_its_keys_exists(folder: str) -> None:
    found = manifest(folder)
    warnings: list[str] = []
    found.validate(warnings=warnings)
    assert warnings == []
    unknown = keys(found) - {'nemotron_msgs'} - set(KEYS['packages']) - set(KEYS['system'])
    assert unknown == set(), 'look them up in ros/rosdistro, add them to rosdistro_keys.yaml'
    missing = {
        key: DISTROS - set(KEYS['packages'][key]) for key in keys(found) & set(KEYS['packages'])
    }
    assert {key: distros for key, distros in missing.items() if distros} == {}


def test_everything_that_is_imported_is_depended_on() -> None:
    known = keys(manifest('.'), 'exec')
    undeclared = {
        name: file
        for name, file in imports('nemotron_ros', 'launch', 'examples')
        if KEY_OF.get(name, name) not in known and name not in FROM_PIP | OPTIONAL
    }
    assert undeclared == {}, 'a key in package.xml, or a line of FROM_PIP or OPTIONAL here'


def test_everything_that_is_depended_on_is_used() -> None:
    used = {KEY_OF.get(name, name) for name, _ in imports('nemotron_ros', 'launch', 'examples')}
    # `ros2 launch` itself, which runs the launch files; what xllamacpp's library is linked to.
    assert keys(manifest('.'), 'exec') - used == {'libgomp1', 'ros2launch'}


def test_tests_need_nothing_that_is_not_said() -> None:
    known = keys(manifest('.'), 'exec', 'test')
    from_ros = {
        name: file
        for name, file in imports('test')
        if name.endswith(('_msgs', '_interfaces')) or name in KEYS['packages']
        if not (FIXTURES / f'{name}.py').exists()
        if not (FIXTURES / 'interfaces' / name).exists()
    }
    assert {name: file for name, file in from_ros.items() if name not in known} == {}


def test_what_pip_installs_is_listed() -> None:
    lines = (ROOT / 'requirements/base.txt').read_text().splitlines()
    names = {re.split('[=<>;]', line)[0].replace('-', '_') for line in lines}
    assert names >= FROM_PIP


def test_there_is_one_version(setup_arguments: dict[str, Any]) -> None:
    versions = {manifest('.').version, manifest('msg').version, setup_arguments['version']}
    assert len(versions) == 1


@pytest.mark.parametrize(('folder', 'name'), [('.', 'nemotron_ros'), ('msg', 'nemotron_msgs')])
def test_a_package_can_be_released_by_itself(folder: str, name: str) -> None:
    changelog = pytest.importorskip('catkin_pkg.changelog', reason='comes with colcon')
    found = manifest(folder)
    assert found.name == name
    text = (ROOT / folder / 'CHANGELOG.rst').read_text()
    read = changelog.populate_changelog_from_rst(changelog.Changelog(name), text)
    assert read.package_name == name
    released = {str(version) for version, _, _ in read.foreach_version()}
    assert 'Forthcoming' in text.splitlines() or found.version in released
    for licence in found.licenses:
        assert (ROOT / folder / licence.file).read_text() == (ROOT / 'LICENSE').read_text()


def test_every_interface_is_built() -> None:
    files = {
        path.relative_to(ROOT / 'msg').as_posix()
        for kind in ('action', 'msg', 'srv')
        for path in (ROOT / 'msg').rglob(f'*.{kind}')
    }
    built = set(re.findall(r'"([^"]+)"', (ROOT / 'msg/CMakeLists.txt').read_text()))
    assert built == files


def test_every_file_of_use_is_installed(setup_arguments: dict[str, Any]) -> None:
    installed = {file for _, files in setup_arguments['data_files'] for file in files}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in ('config', 'launch', 'examples')
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert wanted - installed == set()
    assert 'resource/nemotron_ros' in installed, 'the marker of the ament index'
    for folder, files in setup_arguments['data_files']:
        for file in files:
            if file.startswith('config/'):
                assert folder == f'share/nemotron_ros/{Path(file).parent.as_posix()}', file


def test_every_entry_point_leads_to_a_function(setup_arguments: dict[str, Any]) -> None:
    pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
    pytest.importorskip('mujoco', reason='mujoco is not available here')
    lines = setup_arguments['entry_points']['console_scripts']
    for line in lines:
        module, _, function = line.partition(' = ')[2].partition(':')
        assert callable(getattr(importlib.import_module(module), function)), line
    assert {line.partition(' = ')[0] for line in lines} >= {'nemotron', 'nemotron_node'}


def test_pip_installs_it_into_a_virtual_environment(tmp_path: Path) -> None:
    """As `pip install .` does, where ROS 2 is sourced; nothing is fetched for it."""
    pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
    source = copy_of_the_package(tmp_path / 'source')
    venv = tmp_path / 'venv'
    run(sys.executable, '-m', 'venv', '--without-pip', str(venv))
    # What is installed here stands for what --system-site-packages would show.
    (site,) = venv.glob('lib/python3*/site-packages')
    (site / 'here.pth').write_text('\n'.join(p for p in sys.path if p.endswith('-packages')))
    python = str(venv / 'bin/python')
    pip = (python, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index')
    run(*pip, '--no-build-isolation', '--disable-pip-version-check', str(source))
    # Neither the checkout nor a colcon workspace: what is found has been installed by pip.
    environ = {**os.environ, 'AMENT_PREFIX_PATH': '', 'PYTHONPATH': '', 'HOME': str(tmp_path)}
    names = run(str(venv / 'bin/nemotron'), 'model', 'list', environ=environ)
    assert 'qwen2.5-coder-0.5b' in names
    where = 'import nemotron_ros; print(nemotron_ros.__file__)'
    assert run(python, '-c', where, environ=environ).startswith(str(venv))
    assert (venv / 'share/ament_index/resource_index/packages/nemotron_ros').exists()


@pytest.mark.parametrize('options', [(), ('--symlink-install',)], ids=['copied', 'linked'])
def test_colcon_builds_it(tmp_path: Path, options: tuple[str, ...]) -> None:
    pytest.importorskip('colcon_ros', reason='colcon is not available here')
    source = copy_of_the_package(tmp_path / 'source')
    bases = [f'--{base}-base={tmp_path / base}' for base in ('build', 'install')]
    colcon = (sys.executable, '-m', 'colcon', f'--log-base={tmp_path / "log"}', 'build')
    environ = {**os.environ, 'COLCON_DEFAULTS_FILE': str(tmp_path / 'none')}
    run(*colcon, '--base-paths', str(source), *bases, *options, environ=environ)
    installed = tmp_path / 'install/nemotron_ros'
    for program in ('nemotron', 'nemotron_node', 'headless_robot'):
        assert os.access(installed / 'lib/nemotron_ros' / program, os.X_OK), 'for ros2 run'
    assert os.access(installed / 'bin/nemotron', os.X_OK), "on a person's PATH"
    for file in ('config/nemotron.yaml', 'config/systemd/nemotron.service', 'package.xml'):
        shared = installed / 'share/nemotron_ros' / file
        assert shared.read_text() == (source / file).read_text()
    assert (installed / 'share/ament_index/resource_index/packages/nemotron_ros').exists()


def copy_of_the_package(folder: Path) -> Path:
    """Return a folder with what is built and nothing else, so that nothing is left behind."""
    folder.mkdir()
    names = ('setup.py', 'setup.cfg', 'package.xml', 'LICENSE', 'nemotron_ros', 'resource')
    for name in (*names, 'config', 'launch', 'examples', 'scripts', 'requirements'):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def run(*command: str, environ: dict[str, str] | None = None) -> str:
    """Return what a command prints; one that fails shows it."""
    done = subprocess.run(
        command, env=environ, cwd='/', capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
