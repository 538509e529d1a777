"""Tools that read: a topic's latest message, a scan, an image, or several things at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nemotron_ros.bridge import image_summary, scan_summary
from nemotron_ros.bridge.clients import Clients
from nemotron_ros.bridge.read_parameter import parameter_client, read_parameter
from nemotron_ros.bridge.read_transform import read_transform
from nemotron_ros.bridge.reading import TYPES, NothingRead, told
from nemotron_ros.bridge.values import fields_of, plain
from nemotron_ros.bridge.waiting import DISCOVERY_S
from nemotron_ros.cancel import CancelToken
from nemotron_ros.tools.model import (
    Read,
    ReadImage,
    Reading,
    ReadParameter,
    ReadScan,
    ReadSeveral,
    ReadTransform,
)
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.templates import TemplateError, evaluate


def read(
    clients: Clients, binding: Reading, variables: Mapping[str, Any], cancel: CancelToken
) -> ToolResult:
    """Return what is read, waiting for it if need be; nothing that is too old is told."""
    try:
        return ToolResult(Status.SUCCEEDED, _value(clients, binding, variables, cancel))
    except NothingRead as error:
        return ToolResult(Status.FAILED, error.value, str(error))


def prepare(clients: Clients, binding: Reading) -> None:
    """Make what needs time to get to know the other side before it can be read."""
    if isinstance(binding, ReadTransform):
        clients.transforms()
    elif isinstance(binding, ReadParameter):
        parameter_client(clients, binding)
    elif isinstance(binding, ReadSeveral):
        for part in binding.parts.values():
            prepare(clients, part)


def _value(
    clients: Clients, binding: Reading, variables: Mapping[str, Any], cancel: CancelToken
) -> object:
    if isinstance(binding, Read):
        return _topic(clients, binding, variables, cancel)
    if isinstance(binding, ReadTransform):
        return read_transform(clients, binding, variables, cancel)
    if isinstance(binding, ReadParameter):
        return read_parameter(clients, binding, variables, cancel)
    if isinstance(binding, ReadScan):
        return _scan(clients, binding, variables, cancel)
    if isinstance(binding, ReadImage):
        return _image(clients, binding, variables, cancel)
    return _several(clients, binding, variables, cancel)


def _topic(
    clients: Clients, binding: Read, variables: Mapping[str, Any], cancel: CancelToken
) -> object:
    message = _fresh(clients, binding.topic, binding.type, binding.max_age_s, cancel)
    return plain(evaluate(binding.value, {**fields_of(message), **variables}))


def _scan(
    clients: Clients, binding: ReadScan, variables: Mapping[str, Any], cancel: CancelToken
) -> object:
    scan = _fresh(clients, binding.topic, TYPES[ReadScan], binding.max_age_s, cancel)
    summary = scan_summary.summarize(scan, binding.sectors, binding.mounted_deg)
    if not summary.sectors:
        raise NothingRead(f'{binding.topic}: the scan has no valid reading')
    return told(binding.value, {**asdict(summary), 'unseen': list(summary.unseen)}, variables)


def _image(
    clients: Clients, binding: ReadImage, variables: Mapping[str, Any], cancel: CancelToken
) -> object:
    image = _fresh(clients, binding.topic, TYPES[ReadImage], binding.max_age_s, cancel)
    try:
        summary = image_summary.summarize(image)
    except ValueError as error:
        raise NothingRead(f'{binding.topic}: {error}') from error
    return told(binding.value, asdict(summary), variables)


def _several(
    clients: Clients, binding: ReadSeveral, variables: Mapping[str, Any], cancel: CancelToken
) -> object:
    """Read every part; what could not be read does not hold back the rest."""
    values: dict[str, object] = {}
    faults = []
    for name, part in binding.parts.items():
        try:
            values[name] = _value(clients, part, variables, cancel)
        except (NothingRead, TemplateError) as error:
            faults.append(f'{name}: {error}')
    if faults:
        raise NothingRead('; '.join(faults), values)
    return values


def _fresh(
    clients: Clients, topic: str, type_name: str, max_age_s: float, cancel: CancelToken
) -> Any:
    """Return a message no older than ``max_age_s``, waiting for one if need be."""
    latest = clients.latest(topic, type_name)
    if not latest.connect(DISCOVERY_S, cancel):
        raise NothingRead(f'nobody publishes {topic}')
    sample = latest.newest()
    if sample is None or time.monotonic() - sample.received_s > max_age_s:
        newer = latest.wait(sample.number if sample else 0, max_age_s, cancel)
        if newer is None:
            age = (
                'no message has come'
                if sample is None
                else f'the last message is {time.monotonic() - sample.received_s:.1f} s old'
            )
            raise NothingRead(f'{topic}: {age}; one no older than {max_age_s:g} s is needed')
        sample = newer
    return sample.message
