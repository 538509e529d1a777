"""Opens the engines for the suite, and prints the table of engine and check at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from engines import SUBJECTS
from workbench import Bench

from nemotron_ros.engine import saved_prompt

MARKS = {'passed': '✓', 'failed': '✗', 'skipped': '·', 'unavailable': 'n/a'}
WORSE = ('skipped', 'passed', 'unavailable', 'failed')
ELSEWHERE = pytest.StashKey[set[tuple[str, str]]]()
"""The pairs of check and engine that mean nothing."""
RESULTS = pytest.StashKey[dict[tuple[str, str], str]]()


@pytest.fixture(scope='session')
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once in a run."""
    return tmp_path_factory.mktemp('shared')


@pytest.fixture(scope='module')
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared: Path
) -> Iterator[Bench]:
    """Makes the rigs of one engine after the other."""
    folder = tmp_path_factory.mktemp('rigs')
    with pytest.MonkeyPatch.context() as patch:
        prompts = folder / 'prompts'
        prompts.mkdir()
        patch.setattr(saved_prompt, 'prompts_folder', lambda otherwise: prompts)
        bench = Bench(request.param, folder, shared)
        yield bench
        bench.put_away()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module's checks with every engine, or with those that its ``ENGINES`` names."""
    if 'bench' not in metafunc.fixturenames:
        return
    engines = getattr(metafunc.module, 'ENGINES', SUBJECTS)
    metafunc.parametrize('bench', list(engines), indirect=True, scope='module')
    check = _check(metafunc.function.__name__)
    for subject in SUBJECTS:
        if subject not in engines:
            metafunc.config.stash.setdefault(ELSEWHERE, set()).add((check, subject))


@pytest.fixture
def applies() -> Callable[[object, str], None]:
    """Skip a check that means nothing for an engine, with the reason."""

    def check(condition: object, reason: str) -> None:
        if not condition:
            pytest.skip(f'does not apply: {reason}')

    return check


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note how each check went with each engine."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    subject = getattr(item, 'callspec', None) and item.callspec.params.get('bench')
    if subject is None or (report.when != 'call' and report.passed):
        return
    results = item.config.stash.setdefault(RESULTS, {})
    result = report.outcome
    if report.skipped and 'unavailable' in str(report.longrepr):
        result = 'unavailable'
    check = _check(item.originalname)
    # Of several cases of one check, and of its end, the worst counts.
    before = results.get((check, subject), result)
    results[check, subject] = max(before, result, key=WORSE.index)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the conformance table: each check, and how it went with each engine."""
    results = terminalreporter.config.stash.get(RESULTS, {})
    if not results:
        return
    subjects = [name for name in SUBJECTS if any(name == subject for _, subject in results)]
    checks = list(dict.fromkeys(check for check, _ in results))
    width = max(map(len, checks))
    terminalreporter.section('conformance of the engines')
    for number, name in enumerate(subjects):
        terminalreporter.write_line(f'{"":{width}}  {"│   " * number}┌─ {name}')
    elsewhere = terminalreporter.config.stash.get(ELSEWHERE, set())
    for check in checks:
        told = [
            'skipped' if (check, s) in elsewhere else results.get((check, s)) for s in subjects
        ]
        marks = ''.join(f'{MARKS.get(result or "", ""):<4}' for result in told)
        terminalreporter.write_line(f'{check:{width}}  {marks.rstrip()}')
    legend = ', '.join(f'{mark} {word}' for word, mark in MARKS.items())
    terminalreporter.write_line(legend.replace('· skipped', '· does not apply'))


def _check(name: str) -> str:
    return name.removeprefix('test_').replace('_', ' ')
