"""A real small model, embedded, on a few items: nothing of the way is stood in for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nemotron_ros.cli import main
from nemotron_ros.engine.model_files import find, load_catalogue
from nemotron_ros.engine.protocol import EngineError

ROOT = Path(__file__).resolve().parents[3]
MODEL = 'qwen2.5-coder-0.5b'
SCENARIOS = """
robot: headless_robot
scenarios:
  metres:
    tags: [easy]
    say: [drive 1.2 metres forward]
    expect: {calls: [drive: {direction: forward, distance_m: 1.2}]}
  battery:
    tags: [easy]
    say: ["how full is your battery?"]
    world: {get_battery: 37}
    expect: {calls: [get_battery], answer: {contains_one_of: ["37"]}}
  too_far:
    tags: [out_of_bounds]
    say: [drive 50 metres straight ahead]
    expect: {calls: [], answer: {refuses: true}}
"""


@pytest.mark.slow
def test_the_embedded_model(tmp_path: Path) -> None:
    try:
        find(MODEL, load_catalogue(ROOT / 'config' / 'models.yaml'))
    except EngineError as error:
        pytest.skip(str(error))
    path = tmp_path / 'few.yaml'
    path.write_text(SCENARIOS)
    arguments = ['--model', MODEL, '--scenarios', str(path), '--part', 'all']
    assert main(['eval', *arguments, '--out', str(tmp_path / 'out')]) == 0
    data = json.loads((tmp_path / 'out' / 'eval.json').read_text())
    rows = {row['scenario']: row for row in data['rows']}
    assert data['settings']['engine'] == 'llama_cpp'
    assert [name for name, row in rows.items() if not row['right']] == []
    assert rows['too_far']['out_of_range'] == 1
    for row in rows.values():
        assert row['completion_tokens'] > 0
        assert row['cached_tokens'] > 0.7 * row['prompt_tokens'], 'the prompt is read once'
        assert 0 < row['first_call_s'] <= row['total_s']
