"""The documents say what is so: links lead somewhere, examples load, messages are ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from nemotron_ros.tools.tool_file import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]


def named(page: Path) -> str:
    return page.name


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(
        rf'^```{language}\n(.*?)^```', page.read_text(), re.DOTALL | re.MULTILINE
    )


def anchor(heading: str) -> str:
    return re.sub(r'[^\w -]', '', heading.strip().lower()).replace(' ', '-')


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
        if link.startswith(('http://', 'https://')):
            continue
        path, _, part = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if part:
            headings = re.findall(r'^#+ (.*)$', target.read_text(), re.MULTILINE)
            assert part in map(anchor, headings), link


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_files_that_are_named_are_there(page: Path) -> None:
    named_here = re.findall(
        r'`((?:nemotron_ros|test|config|launch|msg)/[\w./]*)`', page.read_text()
    )
    assert [name for name in named_here if not (ROOT / name).exists()] == []


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_examples_can_be_read(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, 'yaml'):
        yaml.safe_load(text)
        if text.startswith('robot:'):
            path = tmp_path / 'tools.yaml'
            path.write_text(text)
            assert load(path).tools
    for text in blocks(page, 'python'):
        ast.parse(text)


def test_there_is_a_tool_file_to_begin_with() -> None:
    page = ROOT / 'docs' / 'tool_file.md'
    assert any(text.startswith('robot:') for text in blocks(page, 'yaml'))


def test_messages_of_the_troubleshooting_page_are_ours() -> None:
    files = [*(ROOT / 'nemotron_ros').rglob('*.py'), *(ROOT / 'scripts').glob('*.[bp]*')]
    # A message may go over several lines of the source.
    ours = re.sub(r"'\s*\n\s*f?'", '', '\n'.join(file.read_text() for file in files))
    ours = ours.replace('{APT}', 'sudo apt-get install')
    page = (ROOT / 'docs' / 'troubleshooting.md').read_text()
    messages = [
        message
        for row in re.findall(r'^\| (`.*?) \|', page, re.MULTILINE)
        for message in re.findall(r'`([^`]+)`', row)
    ]
    assert len(messages) > 15
    pieces = [piece for message in messages for piece in message.split('...')]
    assert [piece for piece in pieces if piece not in ours] == []


def test_parameters_that_are_named_exist() -> None:
    pytest.importorskip('rcl_interfaces', reason='ROS is not here')
    from nemotron_ros.parameters import Parameters

    known = {parameter.name for parameter in fields(Parameters)}
    page = (ROOT / 'docs' / 'engines.md').read_text()
    table = page[page.index('| parameter |') :].split('\n\n')[0]
    names = re.findall(r'`(\w+)`', '\n'.join(row.split('|')[1] for row in table.splitlines()))
    assert names
    assert set(names) <= known
