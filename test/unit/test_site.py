"""`make docs` builds a site in which every page and every module is, without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('sphinx', reason='sphinx is not here: requirements/docs.txt')

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site beside the checkout; return the folder of what it was made of.

    This builder resolves what the one of HTML does, in half the time.
    """
    root = tmp_path_factory.mktemp('site')
    for name in ('README.md', 'CONTRIBUTING.md', 'package.xml'):
        shutil.copy(ROOT / name, root)
    for folder in ('docs', 'nemotron_ros'):
        ignored = shutil.ignore_patterns('__pycache__', 'api')
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for folder in ('config', 'examples', 'launch', 'msg', 'test'):
        (root / folder).symlink_to(ROOT / folder)
    done = subprocess.run(
        [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-b', 'dummy', 'docs', 'out'],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root / 'docs'


def test_every_module_is_in_it(site: Path) -> None:
    modules = {
        '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
        for path in (ROOT / 'nemotron_ros').rglob('*.py')
        if path.stem != '__main__'
    }
    assert {path.stem for path in (site / 'api').glob('*.rst')} == modules


def test_the_front_page_leads_to_every_page(site: Path) -> None:
    listed = re.findall(r'^(\w+)$', (site / 'index.md').read_text(), re.MULTILINE)
    pages = {path.stem for path in site.glob('*.md')} - {'index'}
    assert sorted(listed) == sorted(pages)


def test_readme_leads_to_every_page_that_is_written() -> None:
    linked = re.findall(r'\]\(docs/(\w+)\.md\)', (ROOT / 'README.md').read_text())
    built = {'index', 'api', 'contributing'}
    assert set(linked) == {path.stem for path in (ROOT / 'docs').glob('*.md')} - built
