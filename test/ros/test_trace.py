"""The trace as MCAP: what rosbag2 and Foxglove would read of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
pytest.importorskip('mcap', reason='the package mcap is not installed')

from mcap.reader import make_reader
from nemotron_msgs.msg import Event as EventMsg
from rclpy.serialization import deserialize_message

from nemotron_ros.chat.messages import ToolCall
from nemotron_ros.events import CallRecord, Event, Phase
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.trace.files import read_trace
from nemotron_ros.trace.json_lines import JsonLines
from nemotron_ros.trace.mcap_file import McapFile, schema_text
from nemotron_ros.trace.record import Entry, Origin, TraceError

ORIGIN = Origin(
    node='/robot_1/nemotron',
    robot='bench',
    engine='llama_cpp',
    model='nano.gguf',
    context_tokens=4096,
    tool_file='/etc/tools.yaml',
    tool_file_sha256='ab' * 32,
    started_ns=12,
    lost=3,
)
CALL = ToolCall('call_1', 'drive', {'distance_m': 0.5, 'wörter': ['a', None, True]})
RESULT = ToolResult(Status.DENIED, {'a': 1}, 'too: often', 1.5, 0.25, 'ann', 'rate')
ENTRIES = [
    Entry(1_800_000_000_000_000_001, 5_000_000_007, Event('c', 's', 0, Phase.ACCEPTED)),
    Entry(
        1_800_000_000_000_000_002, 6_000_000_000, Event('c', 's', 1, Phase.GENERATING, 'go', 'hm')
    ),
    Entry(
        1_800_000_000_000_000_003,
        7_000_000_000,
        Event('c', 's', 2, Phase.RESULT, record=CallRecord(CALL, RESULT)),
    ),
    Entry(
        1_800_000_000_000_000_004,
        8_000_000_000,
        Event('c', 's', 3, Phase.DONE, detail={'status': 'SUCCEEDED', 'error': ''}),
    ),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a finished file."""
    it = McapFile(tmp_path / 'a.mcap', ORIGIN)
    it.write(ENTRIES)
    it.close()
    return tmp_path / 'a.mcap'


def test_what_was_written_is_read(path):
    trace = read_trace(path)
    assert trace.origin == ORIGIN
    assert list(trace.entries) == ENTRIES
    assert trace.flaws == ()


def test_both_forms_say_the_same(path, tmp_path):
    sink = JsonLines(tmp_path / 'a.jsonl', ORIGIN)
    sink.write(ENTRIES)
    sink.close()
    assert read_trace(tmp_path / 'a.jsonl') == read_trace(path)


def test_it_is_what_a_bag_of_ros_2_looks_like(path):
    with path.open('rb') as file:
        reader = make_reader(file)
        assert reader.get_header().profile == 'ros2'
        told = list(reader.iter_messages(topics=['/robot_1/nemotron/events']))
        summary = reader.get_summary()
    assert summary is not None
    assert summary.statistics.message_count == len(told) == 4
    for (schema, channel, message), entry in zip(told, ENTRIES, strict=True):
        assert (schema.name, schema.encoding) == ('nemotron_msgs/msg/Event', 'ros2msg')
        assert channel.message_encoding == 'cdr'
        assert 'reliability: reliable' in channel.metadata['offered_qos_profiles']
        read = deserialize_message(message.data, EventMsg)
        assert (read.sequence, read.phase) == (entry.event.sequence, entry.event.phase)
        assert (message.log_time, message.publish_time) == (entry.time_ns, entry.stamp_ns)


def test_a_reader_that_knows_no_ros_reads_it_by_its_schema(path):
    support = pytest.importorskip('mcap_ros2.decoder', reason='mcap-ros2-support is not here')
    with path.open('rb') as file:
        reader = make_reader(file, decoder_factories=[support.DecoderFactory()])
        messages = [decoded.decoded_message for decoded in reader.iter_decoded_messages()]
    assert [message.phase for message in messages] == [0, 2, 5, 6]
    assert messages[0].stamp.nanosec == 7
    assert messages[1].text_delta == 'go'
    call = messages[2].call[0]
    assert json.loads(call.arguments) == CALL.arguments
    assert (call.result.rule, call.result.duration_s) == ('rate', 0.25)


def test_the_schema_holds_every_type_that_it_is_made_of():
    text = schema_text('nemotron_msgs/msg/Event')
    parts = text.split('=' * 80 + '\n')
    assert [part.splitlines()[0] for part in parts[1:]] == [
        'MSG: builtin_interfaces/Time',
        'MSG: nemotron_msgs/ToolCall',
        'MSG: nemotron_msgs/ToolResult',
    ]
    assert 'uint8 PHASE_DONE=6' in parts[0]


@pytest.mark.parametrize('whole', [True, False], ids=['killed', 'cut off'])
def test_of_a_file_without_its_end_the_rest_is_read(tmp_path, whole):
    it = McapFile(tmp_path / 'a.mcap', ORIGIN)
    it.write(ENTRIES * 1500)
    it._file.flush()
    data = (tmp_path / 'a.mcap').read_bytes()
    (tmp_path / 'b.mcap').write_bytes(data if whole else data[:-100])
    trace = read_trace(tmp_path / 'b.mcap')
    assert 3000 < len(trace.entries) < 6000
    assert trace.origin == ORIGIN
    assert trace.flaws
    it.close()
    assert len(read_trace(tmp_path / 'a.mcap').entries) == 6000


@pytest.mark.parametrize('data', [b'', b'nothing at all', b'\x89MCAP0\r\n' + b'\xff' * 100])
def test_what_is_no_trace_is_told(tmp_path, data):
    (tmp_path / 'a.mcap').write_bytes(data)
    with pytest.raises(TraceError, match=r'a\.mcap: is no trace'):
        read_trace(tmp_path / 'a.mcap')


def test_a_bag_of_somebody_else_is_told(tmp_path):
    from mcap.writer import Writer

    with (tmp_path / 'a.mcap').open('wb') as file:
        writer = Writer(file)
        writer.start('ros2')
        writer.finish()
    with pytest.raises(TraceError, match='does not say where it comes from'):
        read_trace(tmp_path / 'a.mcap')
