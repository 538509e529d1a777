"""``nemotron device``, run on this computer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nemotron_ros.cli import device, main


def test_it_names_the_board_and_the_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['device', '--json']) == 0
    told = json.loads(capsys.readouterr().out)
    assert told['board']['ram_total_bytes'] > 0
    assert told['memory']['needed_bytes'] == sum(told['memory']['parts_bytes'].values())
    assert main(['device']) == 0
    shown = capsys.readouterr().out
    assert told['profile'] in shown
    assert told['engine'] in shown


def test_profiles_that_are_wrong_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'cpu.yaml').write_text('title: 1\n')
    monkeypatch.setattr(device, 'config_path', lambda name: tmp_path)
    assert main(['device']) == 1
    assert 'cpu.yaml:1: title: 1 is not of type' in capsys.readouterr().err
