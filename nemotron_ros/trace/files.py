"""Reads traces, whichever way they were written."""

from __future__ import annotations

from pathlib import Path

from nemotron_ros.trace import json_lines
from nemotron_ros.trace.record import Trace, TraceError


def read_trace(path: Path) -> Trace:
    """Read a trace, its entries by time.

    :raise TraceError: saying which file can't be read, where and why.
    """
    if path.suffix == json_lines.SUFFIX:
        trace = json_lines.read(path)
    elif path.suffix == '.mcap':
        try:
            from nemotron_ros.trace import mcap_file
        except ImportError as error:
            raise TraceError(
                f'{path}: needs ROS and nemotron_msgs ({error}); the .jsonl beside it does not'
            ) from None
        trace = mcap_file.read(path)
    else:
        raise TraceError(f'{path}: expected a file that ends in .jsonl or .mcap')
    return Trace(trace.origin, tuple(sorted(trace.entries, key=lambda e: e.time_ns)), trace.flaws)
