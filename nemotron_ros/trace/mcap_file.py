"""A trace as MCAP: the messages of the events topic, as rosbag2 would have recorded them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from nemotron_msgs.msg import Event as EventMsg
from rclpy.serialization import deserialize_message, serialize_message

from nemotron_ros.bridge.account import event_message, time_message
from nemotron_ros.bridge.heard import event_of
from nemotron_ros.trace.record import (
    Entry,
    Origin,
    Trace,
    TraceError,
    origin_json,
    origin_of,
)

SUFFIX = '.mcap'
TYPE = 'nemotron_msgs/msg/Event'
METADATA = 'nemotron_trace'
CHUNK_BYTES = 64 << 10
"""A process that is killed loses the chunk that it was at."""
QOS = """\
- history: keep_last
  depth: 4000
  reliability: reliable
  durability: volatile
  deadline: {sec: 0, nsec: 0}
  lifespan: {sec: 0, nsec: 0}
  liveliness: automatic
  liveliness_lease_duration: {sec: 0, nsec: 0}
  avoid_ros_namespace_conventions: false
"""
_FIELD = re.compile(r'^\s*([A-Za-z]\w*(?:/\w+)*)(?:\[[^\]]*\])?\s+\w+', re.MULTILINE)
_PRIMITIVES = frozenset(
    {
        *('bool', 'byte', 'char', 'float32', 'float64', 'string', 'wstring'),
        *(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)),
    }
)


class McapFile:
    """Writes one. The node's name gives the topic.

    :raise OSError: here and in its methods, if the disk does not take it.
    :raise ImportError: if the package mcap is not installed.
    """

    def __init__(self, path: Path, origin: Origin) -> None:
        from mcap.writer import Writer

        self._file = path.open('xb')
        self.size_bytes = 0
        try:
            self._writer: Any = Writer(self._file, CHUNK_BYTES)
            self._writer.start('ros2', 'nemotron_ros')
            self._writer.add_metadata(
                METADATA, {key: str(value) for key, value in origin_json(origin).items()}
            )
            schema = self._writer.register_schema(TYPE, 'ros2msg', schema_text(TYPE).encode())
            self._channel = self._writer.register_channel(
                f'{origin.node}/events', 'cdr', schema, {'offered_qos_profiles': QOS}
            )
            self._flush()
        except BaseException:
            self._file.close()
            raise

    def write(self, entries: Iterable[Entry]) -> None:
        """Append entries."""
        for entry in entries:
            self._writer.add_message(
                self._channel,
                log_time=entry.time_ns,
                data=serialize_message(_message(entry)),
                publish_time=entry.stamp_ns,
                sequence=entry.event.sequence,
            )
        self._flush()

    def close(self) -> None:
        """Write the index and end the file."""
        try:
            self._writer.finish()
        finally:
            self._file.close()

    def _flush(self) -> None:
        self._file.flush()
        self.size_bytes = self._file.tell()


def is_there() -> bool:
    """Tell whether the package that writes MCAP is installed."""
    return find_spec('mcap') is not None


def read(path: Path) -> Trace:
    """Read a trace that :class:`McapFile` has written; of one that was cut off, what is there.

    :raise TraceError: saying what is wrong with it.
    """
    try:
        from mcap.records import Message, Metadata
        from mcap.stream_reader import StreamReader
    except ImportError:
        raise TraceError(f'{path}: needs the package mcap: pip install mcap') from None
    origin: Origin | None = None
    entries: list[Entry] = []
    flaws: list[str] = []
    try:
        with path.open('rb') as file:
            records = iter(StreamReader(file).records)
            while (record := _next(records, path, flaws)) is not None:
                if isinstance(record, Metadata) and record.name == METADATA:
                    origin = _origin(record.metadata)
                elif isinstance(record, Message):
                    entries.append(_entry(record))
    except OSError as error:
        raise TraceError(f'{path}: can not be read: {error.strerror or error}') from None
    except Exception as error:  # a message of another type, or what an older node has written
        raise TraceError(f'{path}: is no trace of this node: {error!r}') from None
    if origin is None:
        raise TraceError(f'{path}: is no trace of this node: it does not say where it comes from')
    return Trace(origin, tuple(entries), tuple(flaws))


def schema_text(name: str) -> str:
    """Return a message type as MCAP wants it: its definition, and after it those it is made of.

    :param name: as ``package/msg/Type``.
    """
    texts: dict[str, str] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop(0)
        if current in texts:
            continue
        package, _, kind = current.split('/')
        share = Path(get_package_share_directory(package))
        texts[current] = (share / 'msg' / f'{kind}.msg').read_text(encoding='utf-8')
        for used in _FIELD.findall(texts[current]):
            if used not in _PRIMITIVES:
                waiting.append(f'{"/msg/".join([package, *used.split("/")][-2:])}')
    first, *others = texts.items()
    return first[1] + ''.join(
        f'\n{"=" * 80}\nMSG: {used.replace("/msg/", "/")}\n{text}' for used, text in others
    )


def _next(records: Iterator[Any], path: Path, flaws: list[str]) -> Any:
    """Return the next record; None at the end, and a flaw if the file has ended before it."""
    try:
        return next(records, None)
    except OSError:
        raise
    except Exception as error:  # mcap does not say what it raises at a file that was cut off
        flaws.append(f'{path}: can be read up to a place only ({error!r:.80})')
        return None


def _message(entry: Entry) -> EventMsg:
    message = event_message(entry.event, time_message(0.0))
    message.stamp.sec, message.stamp.nanosec = divmod(entry.stamp_ns, 10**9)
    return message


def _origin(told: dict[str, str]) -> Origin:
    numbers = {key: int(told.get(key, 0)) for key in ('context_tokens', 'started_ns', 'lost')}
    return origin_of({**told, **numbers})


def _entry(record: Any) -> Entry:
    message = deserialize_message(record.data, EventMsg)
    stamp = message.stamp
    return Entry(record.log_time, stamp.sec * 10**9 + stamp.nanosec, event_of(message))
