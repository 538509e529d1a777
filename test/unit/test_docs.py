"""The documents say what is so: links lead somewhere, files are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pages import PAGES, ROOT, tokens

# A host's name with a dot in it, or this machine.
HOST = re.compile(r'([a-z0-9-]+\.)+[a-z]{2,}|localhost|127\.0\.0\.1')


def named(page: Path) -> str:
    return page.name


def links(page: Path) -> Iterator[str]:
    for token in tokens(page):
        if token.type in ('link_open', 'image'):
            yield str(token.attrs.get('href', token.attrs.get('src')))


def anchors(page: Path) -> set[str]:
    """Return what can be linked to in a page, as forges and MyST name it."""
    found = list(tokens(page))
    headings = [after.content for token, after in pairwise(found) if token.type == 'heading_open']
    return {re.sub(r'[^\w -]', '', text.lower()).replace(' ', '-') for text in headings}


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, part = link.partition('#')
        if urlsplit(link).scheme:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not part or part in anchors(target), link


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_links_to_elsewhere_are_well_formed(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in ('http', 'https'), link
            assert parts.hostname, link
            assert HOST.fullmatch(parts.hostname), link
            assert not re.search(r'[\s<>"]', link), link


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_every_link_is_one(page: Path) -> None:
    """Brackets and round ones that Markdown takes for words are a link that has gone wrong."""
    for token in tokens(page):
        if token.type == 'text':
            assert '](' not in token.content, token.content


@pytest.mark.parametrize('page', PAGES, ids=named)
def test_files_that_are_named_are_there(page: Path) -> None:
    named_here = re.findall(
        r'`((?:nemotron_ros|test|config|launch|msg)/[\w./]*)`', page.read_text()
    )
    assert [name for name in named_here if not (ROOT / name).exists()] == []


def test_parameters_that_are_named_exist() -> None:
    pytest.importorskip('rcl_interfaces', reason='ROS is not here')
    from nemotron_ros.parameters import Parameters

    known = {parameter.name for parameter in fields(Parameters)}
    page = (ROOT / 'docs' / 'engines.md').read_text()
    table = page[page.index('| parameter |') :].split('\n\n')[0]
    names = re.findall(r'`(\w+)`', '\n'.join(row.split('|')[1] for row in table.splitlines()))
    assert names
    assert set(names) <= known
