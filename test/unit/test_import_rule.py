"""Who may import whom, and what no file of the package does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = 'nemotron_ros'

# The rooms that a room may import: node, cli -> agent -> engine, tools, bridge -> chat.
# Anybody may import nemotron_ros.cancel.
ALLOWED = {
    'cancel': set(),
    'chat': set(),
    'engine': {'chat'},
    'tools': {'chat'},
    'device': {'engine', 'tools'},
    'edge_llm': {'device', 'engine'},
    'bridge': {'chat', 'events', 'spinning', 'tools'},
    'events': {'chat', 'tools'},
    'agent': {'chat', 'engine', 'events', 'tools', 'bridge'},
    'bringup': set(),
    'deployment': {'device', 'edge_llm', 'engine'},
    'parameters': {'deployment', 'monitor'},
    'service_manager': set(),
    'spinning': set(),
    'client': {'bridge'},
    'mcp': {'bridge', 'tools'},
    'trace': {'agent', 'bridge', 'chat', 'engine', 'events', 'tools'},
    'metrics': {'engine', 'events', 'trace'},
    'diagnostics': {'engine', 'metrics'},
    'markers': {'events', 'tools', 'watch'},
    'monitor': {'diagnostics', 'engine', 'events', 'markers', 'metrics', 'tools', 'trace'},
    'sim': {'spinning'},
    'evaluation': {'agent', 'chat', 'engine', 'events', 'tools', 'trace'},
    'watch': {'bridge', 'chat', 'events', 'spinning', 'tools', 'trace'},
    'demo': {'bridge', 'bringup', 'chat', 'client', 'sim', 'tools'},
    'node': {
        'agent', 'bridge', 'bringup', 'chat', 'deployment', 'device', 'edge_llm', 'engine',
        'events', 'monitor', 'parameters', 'service_manager', 'spinning', 'tools', 'trace',
    },
    'cli': {
        'agent', 'bridge', 'bringup', 'client', 'demo', 'deployment', 'device', 'edge_llm',
        'engine', 'evaluation', 'mcp', 'spinning', 'tools', 'trace', 'watch',
    },
}  # fmt: skip
WITHOUT_ROS = {
    'cancel',
    'chat',
    'deployment',
    'device',
    'edge_llm',
    'engine',
    'evaluation',
    'events',
    'service_manager',
    'tools',
    'agent',
}
ROS = ('rclpy', 'ament_index_python', 'launch', 'launch_ros', 'rosidl_parser', 'rosidl_runtime_py')

# Calls that turn text into code, or text into a name to call.
FORBIDDEN_CALLS = {
    'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen', 'subprocess.getoutput',
    'subprocess.getstatusoutput', 'pickle.load', 'pickle.loads', 'marshal.loads', 'yaml.load',
    'yaml.unsafe_load', 'yaml.full_load',
}  # fmt: skip


def room(module: str) -> str:
    """Return the room of a module of the package, '' for the package itself."""
    parts = module.split('.')
    return parts[1] if len(parts) > 1 else ''


def is_module(name: str) -> bool:
    """Whether a dotted name is a module of this package, and not something in a module."""
    path = ROOT.joinpath(*name.split('.'))
    return path.with_suffix('.py').exists() or path.is_dir()


def imports(tree: ast.AST, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything imported, in functions as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ''
            if node.level:
                here = module.split('.')
                up = node.level - 1 if is_package else node.level
                start = '.'.join(here[: len(here) - up] + ([start] if start else []))
            for alias in node.names:
                yield node.lineno, f'{start}.{alias.name}'


def import_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """Return what a file imports against the rule."""
    here = room(module)
    if not here:
        allowed, name = set(), PACKAGE
    elif here not in ALLOWED:
        return [f'{module}: the room {here} is not in the rule: add it to ALLOWED of this test']
    else:
        allowed, name = ALLOWED[here] | {here, 'cancel'}, here
    faults = []
    for line, imported in imports(ast.parse(source), module, is_package):
        top = imported.split('.')[0]
        if top == PACKAGE and room(imported) not in allowed:
            faults.append(f'{module}:{line}: {name} must not import {imported}')
        if here in WITHOUT_ROS and (top in ROS or top.endswith(('_msgs', '_interfaces'))):
            faults.append(f'{module}:{line}: {name} must not import ROS ({imported})')
    return faults


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a name or attribute, '' for another expression."""
    if isinstance(node, ast.Attribute):
        start = dotted(node.value)
        return f'{start}.{node.attr}' if start else ''
    return node.id if isinstance(node, ast.Name) else ''


def code_faults(source: str, module: str) -> list[str]:
    """Return where a file runs text as code, starts a shell, or calls what a text names."""
    tree = ast.parse(source)
    faults = []
    aliases = {
        alias.asname or alias.name: f'{node.module}.{alias.name}'
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    # Names that hold getattr(thing, some_text): to call one is the same as to call the getattr.
    looked_up = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and is_look_up(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        name = aliases.get(name, name)
        if name in FORBIDDEN_CALLS or name.removeprefix('builtins.') in FORBIDDEN_CALLS:
            faults.append(f'{module}:{node.lineno}: {name}() is forbidden')
        for keyword in node.keywords:
            off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
            if keyword.arg == 'shell' and not off:
                faults.append(f'{module}:{node.lineno}: shell= is forbidden')
        if is_look_up(node.func) or (isinstance(node.func, ast.Name) and name in looked_up):
            faults.append(f'{module}:{node.lineno}: a name looked up at run time is called')
    return faults


def is_look_up(node: ast.AST) -> bool:
    """Whether an expression finds an object by a name that is not written in the code."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):
        return dotted(node.value.func) in {'globals', 'locals', 'vars'}
    if not (isinstance(node, ast.Call) and dotted(node.func) == 'getattr'):
        return False
    return len(node.args) > 1 and not isinstance(node.args[1], ast.Constant)


def package_files() -> list[Path]:
    return sorted((ROOT / PACKAGE).rglob('*.py'))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def closure(start: str) -> dict[str, str]:
    """Return everything that importing a module imports, and who imports it."""
    importer: dict[str, str] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        path = ROOT.joinpath(*module.split('.'))
        file = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
        if not file.is_file():
            continue
        for _, name in imports(ast.parse(file.read_bytes()), module, file.name == '__init__.py'):
            found = name
            if name.split('.')[0] == PACKAGE and not is_module(name):
                found = name.rpartition('.')[0]
            if found not in importer:
                importer[found] = module
                if found.split('.')[0] == PACKAGE:
                    waiting.append(found)
    return importer


@pytest.mark.parametrize('path', package_files(), ids=module_of)
def test_imports_follow_the_rule(path: Path) -> None:
    faults = import_faults(path.read_text(), module_of(path), path.name == '__init__.py')
    assert faults == []


@pytest.mark.parametrize('path', package_files(), ids=module_of)
def test_no_text_becomes_code(path: Path) -> None:
    assert code_faults(path.read_text(), module_of(path)) == []


@pytest.mark.parametrize(
    'path', [p for p in package_files() if room(module_of(p)) in WITHOUT_ROS], ids=module_of
)
def test_no_way_leads_to_ros(path: Path) -> None:
    found = closure(module_of(path))
    assert {name: by for name, by in found.items() if name.split('.')[0] in ROS} == {}


@pytest.mark.parametrize(
    ('module', 'source'),
    [
        ('nemotron_ros.chat.prompt', 'from nemotron_ros.engine import protocol'),
        ('nemotron_ros.chat.prompt', 'from nemotron_ros.tools.model import Tool'),
        ('nemotron_ros.chat.prompt', 'def f():\n    import nemotron_ros.agent'),
        ('nemotron_ros.chat.prompt', 'from ..engine import protocol'),
        ('nemotron_ros.chat.prompt', 'from .. import engine'),
        ('nemotron_ros.engine.llama_cpp', 'import nemotron_ros.bridge.qos'),
        ('nemotron_ros.tools.guard', 'import rclpy'),
        ('nemotron_ros.tools.guard', 'from geometry_msgs.msg import Twist'),
        ('nemotron_ros.agent', 'from rclpy.node import Node'),
        ('nemotron_ros.agent', 'from nemotron_ros import node'),
        ('nemotron_ros.bridge.qos', 'from nemotron_ros.engine.protocol import Engine'),
        ('nemotron_ros.cancel', 'import nemotron_ros.chat'),
        ('nemotron_ros.attic', ''),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(import_faults(source, module)) == 1


@pytest.mark.parametrize(
    ('module', 'source'),
    [
        ('nemotron_ros.chat.prompt', 'from nemotron_ros.chat.messages import Message'),
        ('nemotron_ros.chat.prompt', 'from .messages import Message'),
        ('nemotron_ros.engine.protocol', 'from nemotron_ros.cancel import CancelToken'),
        ('nemotron_ros.bridge.qos', 'import rclpy\nfrom nemotron_ros.tools.model import Tool'),
        ('nemotron_ros.node', 'import rclpy\nfrom nemotron_ros.agent import Agent'),
    ],
)
def test_an_allowed_import_passes(module: str, source: str) -> None:
    assert import_faults(source, module) == []


@pytest.mark.parametrize(
    'source',
    [
        'eval("1")',
        'exec("x")',
        'import builtins\nbuiltins.eval("1")',
        'compile("1", "", "eval")',
        '__import__("os")',
        'import os\nos.system("ls")',
        'from os import system as run\nrun("ls")',
        'import subprocess\nsubprocess.run("ls", shell=True)',
        'import subprocess\nsubprocess.run("ls", shell=flag)',
        'import yaml\nyaml.load(text)',
        'import pickle\npickle.loads(data)',
        'getattr(tools, name)(arguments)',
        'method = getattr(tools, name)\nmethod()',
        'globals()[name]()',
    ],
)
def test_text_as_code_is_found(source: str) -> None:
    assert len(code_faults(source, 'nemotron_ros.tools.guard')) == 1


@pytest.mark.parametrize(
    'source',
    [
        'import re\nre.compile("x")',
        'engine.eval()',
        'import subprocess\nsubprocess.run(["ls"], shell=False)',
        'value = getattr(message, field)',
        'getattr(thing, "close")()',
        'import yaml\nyaml.safe_load(text)',
    ],
)
def test_harmless_code_passes(source: str) -> None:
    assert code_faults(source, 'nemotron_ros.tools.guard') == []
