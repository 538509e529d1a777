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
RESULTS = pytest.StashKey[dict[tuple[str, str], str]]()


@pytest.fixture(scope='session')
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once in a run."""
    return tmp_path_factory.mktemp('shared')


@pytest.fixture(scope='module', params=SUBJECTS)
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
    others = [str(value) for key, value in item.callspec.params.items() if key != 'bench']
    check = ': '.join([item.originalname.removeprefix('test_').replace('_', ' '), *others])
    # An error in the closing counts against the check that passed before.
    if results.get((check, subject)) != 'failed':
        results[check, subject] = result


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
        terminalreporter.write_line(f'{"":{width}}  {"│  " * number}┌─ {name}')
    for check in checks:
        marks = ''.join(f'{MARKS.get(results.get((check, s), ""), " "):<3}' for s in subjects)
        terminalreporter.write_line(f'{check:{width}}  {marks.rstrip()}')
    legend = ', '.join(f'{mark} {word}' for word, mark in MARKS.items())
    terminalreporter.write_line(legend.replace('· skipped', '· does not apply'))
