"""What a trace costs: the time to tell an event, and how many a second reach the disk.

``python bench/trace.py`` prints both, for a model that writes 100 tokens a second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from nemotron_ros.events import Event, Phase
from nemotron_ros.trace.folder import Keep
from nemotron_ros.trace.json_lines import JsonLines
from nemotron_ros.trace.mcap_file import McapFile
from nemotron_ros.trace.record import Origin
from nemotron_ros.trace.recorder import Recorder

TOKENS_PER_S = 100
TURN = 100


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--events', type=int, default=10_000)
    count = parser.parse_args().events
    events = [
        Event('command', 'session', number, Phase.GENERATING, text_delta=' word')
        if number % TURN
        else Event('command', 'session', number, Phase.EXECUTING)
        for number in range(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            Path(folder),
            Origin(node='/nemotron'),
            (
                lambda stem, origin: JsonLines(stem.with_suffix('.jsonl'), origin),
                lambda stem, origin: McapFile(stem.with_suffix('.mcap'), origin),
            ),
            Keep(),
            print,
        )
        told_s = []
        began_s = time.perf_counter()
        for event in events:
            before_s = time.perf_counter()
            recorder.note(event, 0)
            told_s.append(time.perf_counter() - before_s)
        recorder.close(300.0)
        rate = recorder.written / (time.perf_counter() - began_s)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    told_s.sort()
    print(f'telling an event: median {told_s[count // 2] * 1e6:.1f} us, ', end='')
    print(f'99 % {told_s[count * 99 // 100] * 1e6:.1f} us')
    print(f'to the disk: {rate:.0f} events/s, {rate / TOKENS_PER_S:.0f} times the model')
    print(f'on the disk: {size / count:.0f} bytes for an event, {recorder.lost} lost')


if __name__ == '__main__':
    main()
