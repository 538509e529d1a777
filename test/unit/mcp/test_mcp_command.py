"""The command where its optional package is missing, or too old."""

from __future__ import annotations

import pytest

from nemotron_ros.cli import main, mcp


@pytest.mark.parametrize('there', [(), ('mcp',)], ids=['none', 'a 1.x release'])
def test_missing_package_is_one_clear_line(there, monkeypatch, capsys):
    monkeypatch.setattr(mcp, 'find_spec', lambda name: name if name in there else None)
    assert main(['mcp']) == 1
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err == (
        "nemotron mcp: needs the package mcp, 2.0 or newer: pip install 'mcp>=2'\n"
    )
