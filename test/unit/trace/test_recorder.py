"""The recorder: bounded on disk and in memory, and never in a command's way."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nemotron_ros.events import Event, Phase
from nemotron_ros.trace import recorder as module
from nemotron_ros.trace.files import read_trace
from nemotron_ros.trace.folder import Keep, prune
from nemotron_ros.trace.json_lines import JsonLines
from nemotron_ros.trace.record import Origin, TraceError
from nemotron_ros.trace.recorder import Recorder

WORD = Event('command', 'session', 1, Phase.EXECUTING, detail='a word')
ORIGIN = Origin(node='/robot_1/nemotron', robot='bench', engine='scripted', model='script')
KEEP = Keep(min_free_bytes=0)


def json_lines(stem: Path, origin: Origin) -> JsonLines:
    return JsonLines(stem.with_suffix('.jsonl'), origin)


def recorder(folder: Path, sink=json_lines, keep: Keep = KEEP, **options) -> Recorder:
    troubles: list[str] = []
    made = Recorder(folder, ORIGIN, (sink,), keep, troubles.append, **options)
    made.troubles = troubles
    return made


def until(condition, timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.0005)


def story(command_id: str, size: int = 1) -> list[Event]:
    phases = [Phase.ACCEPTED, *[Phase.EXECUTING] * size, Phase.DONE]
    return [
        Event(command_id, 'session', number, phase, detail={'command': 'x' * 100})
        for number, phase in enumerate(phases)
    ]


def test_what_is_told_is_written_with_its_origin(tmp_path):
    tool_file = tmp_path / 'tools.yaml'
    tool_file.write_text('robot: bench')
    folder = tmp_path / 'traces' / 'here'
    origin = replace(ORIGIN, tool_file=str(tool_file), model_file=str(tool_file))
    it = Recorder(folder, origin, (json_lines,), KEEP, pytest.fail)
    for number, event in enumerate(story('a')):
        it.note(event, number)
    assert it.close()
    (path,) = folder.iterdir()
    trace = read_trace(path)
    assert [entry.event for entry in trace.entries] == story('a')
    assert [entry.stamp_ns for entry in trace.entries] == [0, 1, 2]
    assert abs(trace.entries[0].time_ns - time.time_ns()) < 10 * 10**9
    digest = trace.origin.tool_file_sha256
    assert digest == hashlib.sha256(b'robot: bench').hexdigest()
    assert trace.origin.model_sha256 == digest
    assert (trace.origin.node, trace.origin.engine) == ('/robot_1/nemotron', 'scripted')
    assert (it.written, it.lost, it.trouble) == (3, 0, '')


def test_a_trace_can_be_read_while_it_is_written(tmp_path):
    it = recorder(tmp_path)
    it.note(WORD, 0)
    until(lambda: it.written == 1)
    (path,) = tmp_path.iterdir()
    assert len(read_trace(path).entries) == 1
    it.close()


def test_a_full_disk_is_told_once_and_loses_only_the_trace(tmp_path):
    full = True
    begun: list[Path] = []

    def on_full_disk(stem: Path, origin: Origin) -> JsonLines:
        begun.append(stem)
        sink = json_lines(stem, origin)
        if full:
            os.dup2(device, sink._file.fileno())
        return sink

    device = os.open('/dev/full', os.O_WRONLY)
    it = recorder(tmp_path, on_full_disk, retry_s=0.5)
    try:
        for number in range(6):
            if number == 5:
                assert len(begun) == 1  # it was left alone in between
                time.sleep(0.6)
            it.note(WORD, number)
            until(lambda: it.lost == number + 1)  # noqa: B023
        assert len(begun) == 2
        assert len(it.troubles) == 1
        assert os.strerror(errno.ENOSPC) in it.troubles[0]
        assert it.trouble == it.troubles[0]
        full = False
        time.sleep(0.6)
        it.note(WORD, 9)
        until(lambda: it.written == 1)
        assert it.trouble == ''
    finally:
        os.close(device)
    it.close()
    last = read_trace(tmp_path / f'{begun[-1].name}.jsonl')
    assert (last.origin.lost, len(last.entries)) == (6, 1)
    assert len(it.troubles) == 1


def test_room_is_left_on_the_disk(tmp_path):
    it = recorder(tmp_path, keep=Keep(min_free_bytes=1 << 60))
    it.note(WORD, 0)
    until(lambda: it.lost == 1)
    assert 'are to stay so' in it.trouble
    it.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1000


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / 'file').write_text('')
    it = recorder(tmp_path / 'file' / 'traces')
    it.note(WORD, 0)
    until(lambda: it.lost == 1)
    assert it.troubles == [f'{tmp_path}/file/traces: can not be written: Not a directory']
    it.close()


def test_a_disk_that_hangs_delays_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'MAX_WAITING', 100)
    stuck, free = threading.Event(), threading.Event()

    class Hanging(JsonLines):
        def write(self, entries):
            stuck.set()
            free.wait(10.0)
            super().write(entries)

    it = recorder(tmp_path, lambda stem, origin: Hanging(stem.with_suffix('.jsonl'), origin))
    it.note(WORD, 0)
    assert stuck.wait(5.0)
    slowest_s = 0.0
    for number in range(300):
        began_s = time.monotonic()
        it.note(WORD, number)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    assert slowest_s < 0.5
    began_s = time.monotonic()
    assert not it.close(timeout_s=0.1)
    assert time.monotonic() - began_s < 1.0
    free.set()
    assert it.close(5.0)
    assert (it.written, it.lost) == (101, 200)


def test_many_threads_lose_nothing(tmp_path):
    it = recorder(tmp_path)
    threads = [
        threading.Thread(target=lambda: [it.note(WORD, 0) for _ in range(500)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert it.close(10.0)
    assert it.written == 2000


def test_files_and_their_sum_are_bounded_and_hold_whole_commands(tmp_path):
    keep = Keep(max_bytes=80_000, min_free_bytes=0)
    it = recorder(tmp_path, keep=keep)
    stray = tmp_path / 'mine.jsonl'
    stray.write_text('not a trace')
    told = [event for number in range(40) for event in story(f'c{number}', 10)]
    for count, event in enumerate(told, 1):
        it.note(event, 0)
        until(lambda: it.written == count)  # noqa: B023
    it.close()
    assert stray.exists()
    paths = sorted(path for path in tmp_path.iterdir() if path != stray)
    assert sum(path.stat().st_size for path in paths) <= keep.max_bytes
    assert 4 <= len(paths) <= 8
    for path in paths:
        entries = read_trace(path).entries
        assert path.stat().st_size < 2 * keep.max_file_bytes
        assert entries[0].event.phase is Phase.ACCEPTED
        assert entries[-1].event.phase is Phase.DONE
    assert entries[-1].event.command_id == 'c39'


def test_a_command_without_an_end_fills_no_file_for_ever(tmp_path):
    it = recorder(tmp_path, keep=Keep(max_bytes=80_000, min_free_bytes=0))
    for number, event in enumerate(story('a', 150)):
        it.note(event, 0)
        until(lambda: it.written == number + 1)  # noqa: B023
    it.close()
    assert len(list(tmp_path.iterdir())) > 1


def test_a_trace_of_yesterday_is_ended(tmp_path):
    it = recorder(tmp_path, keep=Keep(max_span_s=0.05, min_free_bytes=0))
    for _ in range(2):
        it.note(WORD, 0)
        time.sleep(0.1)
    it.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_old_traces_are_deleted(tmp_path):
    old, new = (tmp_path / f'nemotron_20200101T000000Z_nemotron_000{n}.jsonl' for n in range(2))
    for path in (old, new):
        path.write_text('')
    os.utime(old, (time.time() - 100, time.time() - 100))
    prune(tmp_path, Keep(max_age_s=50), tmp_path / 'spare')
    assert list(tmp_path.iterdir()) == [new]


def test_nothing_is_written_through_a_link(tmp_path):
    target = tmp_path / 'target'
    target.write_text('precious')
    (tmp_path / 'a.jsonl').symlink_to(target)
    with pytest.raises(FileExistsError):
        JsonLines(tmp_path / 'a.jsonl', ORIGIN)
    assert target.read_text() == 'precious'


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        (b'', 'is empty'),
        (b'{}\n', ':1: format: expected nemotron_trace_1, got None'),
        (b'no\n', ':1: Expecting value'),
        (b'[]\n', ':1: expected a JSON object'),
        (b'{"format": "nemotron_trace_1", "lost": "x"}\n', ':1: lost: expected int'),
        (b'{"format": "nemotron_trace_1"}\n{}\n', ':2: phase: expected str, got None'),
        (
            b'{"format": "nemotron_trace_1"}\n{"phase": "FLYING"}\n',
            ':2: phase: expected one of ACCEPTED',
        ),
        (b'{"format": "nemotron_trace_1"}\n' + b'[' * 100_000 + b'\n', ':2: '),
        (b'\xff\n', ':1: '),
    ],
)
def test_what_is_no_trace_is_told_by_its_line(tmp_path, text, problem):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(text)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert f'{path}' in str(caught.value)
    assert problem in str(caught.value)


def test_a_line_that_was_cut_off_is_told_and_the_rest_read(tmp_path):
    path = tmp_path / 'a.jsonl'
    sink = JsonLines(path, ORIGIN)
    sink.close()
    with path.open('ab') as file:
        file.write(b'{"time_ns": 1')
    trace = read_trace(path)
    assert trace.flaws == (f'{path}:2: the last line was cut off',)


@pytest.mark.parametrize('name', ['missing.jsonl', 'missing.mcap', 'a.txt'])
def test_a_file_that_is_not_there_is_told(tmp_path, name):
    with pytest.raises(TraceError, match=name):
        read_trace(tmp_path / name)
