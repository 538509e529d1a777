"""ROS's own linters, where they are installed: a sourced ROS 2 has them by package.xml.

`make lint` asks ruff for the same.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ['docs', 'examples', 'launch', 'nemotron_ros', 'setup.py']
MANIFESTS = ['package.xml', 'msg/package.xml', 'examples/cpp_client/package.xml']


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of setup.cfg are seen from there."""
    monkeypatch.chdir(ROOT)


def test_ament_flake8() -> None:
    linter = pytest.importorskip('ament_flake8.main', reason='ament_flake8 is not here')
    code, errors = linter.main_with_errors(argv=['--config', 'setup.cfg', *CODE])
    assert code == 0, '\n'.join(errors)


def test_ament_pep257(capsys: pytest.CaptureFixture[str]) -> None:
    linter = pytest.importorskip('ament_pep257.main', reason='ament_pep257 is not here')
    code = linter.main(argv=['--add-ignore', 'D213', 'D401', '--', *CODE])
    assert code == 0, capsys.readouterr().err


def test_ament_xmllint(capfd: pytest.CaptureFixture[str]) -> None:
    linter = pytest.importorskip('ament_xmllint.main', reason='ament_xmllint is not here')
    code = linter.main(argv=MANIFESTS)
    said = ''.join(capfd.readouterr())
    if 'failed to load' in said:
        pytest.skip('the schema of manifests is on the network')
    assert code == 0, said
