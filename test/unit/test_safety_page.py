"""Each promise of the safety page names tests, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs/safety.md').read_text()
PROMISES = re.findall(
    r'^\| (.+?) \| (.+) \|$', PAGE.partition('| promise | held by |\n|---|---|\n')[2], re.MULTILINE
)


def named(cell: str) -> list[tuple[str, str]]:
    """Return each test that a cell names, with its file; the file alone if it names none."""
    found: list[tuple[str, str]] = []
    for part in cell.split(';'):
        files = re.findall(r'`(test/[\w/]+\.py)`', part)
        tests = re.findall(r'`(test_\w+)`', part)
        assert len(files) == 1, f'one file, then its tests: {part}'
        found += [(files[0], test) for test in tests or ['']]
    return found


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_there_are_promises() -> None:
    assert len(PROMISES) >= 20


@pytest.mark.parametrize(('promise', 'cell'), PROMISES, ids=[p[:40] for p, _ in PROMISES])
def test_a_promise_is_held_by_tests_that_are_there(promise: str, cell: str) -> None:
    for file, test in named(cell):
        assert (ROOT / file).is_file(), file
        assert test in functions(file), f'{file}: there is no {test}'
