"""Holds a tool file against a running graph: what is missing, mistyped or out of reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from rclpy.duration import Duration, Infinite
from rclpy.qos import LivelinessPolicy, QoSCompatibility, QoSProfile, qos_check_compatible

from nemotron_ros.bridge.graph import Endpoint, Graph, Topic
from nemotron_ros.bridge.qos import publishing_to, subscribing_to
from nemotron_ros.bridge.uses import Needs, Use, uses
from nemotron_ros.tools.model import ToolFile

ALIKE = 0.6
ALIKE_OF_TYPE = 0.3
"""How much alike a name must be to be told as the nearest; less, where the type is right."""


@dataclass(frozen=True)
class Finding:
    """One interface that a tool file would not reach.

    ``where`` is ``FILE:LINE``, ``path`` the piece of the file, ``name`` the full name on ROS.
    ``fault`` is *missing* (there is no such name), *nobody* (only the other side is there),
    *mistyped* or *unreachable* (by its QoS). ``nearest`` is the name that was perhaps meant.
    """

    where: str
    path: str
    needs: Needs
    name: str
    type: str
    fault: str
    problem: str
    nearest: str = ''


def check_live(tool_file: ToolFile, graph: Graph, namespace: str = '') -> list[Finding]:
    """Return what a node in ``namespace`` with this tool file would not reach, in file order."""
    return [
        finding
        for use in uses(tool_file)
        for finding in _findings(tool_file, use, graph, namespace)
    ]


def full_name(name: str, namespace: str, node: str = 'nemotron') -> str:
    """Return a name of the file as ROS knows it for a node in a namespace."""
    inside = f'/{namespace.strip("/")}'.rstrip('/')
    if name.startswith('/'):
        return name
    return f'{inside}/{node}/{name[2:]}' if name.startswith('~/') else f'{inside}/{name}'


def _findings(tool_file: ToolFile, use: Use, graph: Graph, namespace: str) -> Iterator[Finding]:
    name = full_name(use.name, namespace)
    offers = _offers(use.needs, graph)
    where = str(tool_file.place(use.path))

    def finding(fault: str, problem: str, nearest: str = '') -> Finding:
        return Finding(where, use.path, use.needs, name, use.type, fault, problem, nearest)

    if name not in offers:
        fault = 'nobody' if name in graph.topics and use.needs in _SIDES else 'missing'
        yield finding(fault, f'no {use.needs.value} of {name}', _nearest(name, use.type, offers))
    elif use.type not in offers[name]:
        types = ', '.join(sorted(set(offers[name])))
        yield finding('mistyped', f'{name} is {types}', _nearest(name, use.type, offers))
    elif use.needs in _SIDES:
        for endpoint, reason in _deaf(use, graph.topics[name]):
            yield finding('unreachable', f'{endpoint.node}: {reason}')


_SIDES = (Needs.SUBSCRIBER, Needs.PUBLISHER)


def _offers(needs: Needs, graph: Graph) -> Mapping[str, Sequence[str]]:
    """Return the types of everything that could meet a need, by name."""
    if needs is Needs.SERVICE:
        return graph.services
    if needs is Needs.ACTION:
        return graph.actions
    sides = {name: _side(needs, topic) for name, topic in graph.topics.items()}
    return {name: [end.type for end in side] for name, side in sides.items() if side}


def _side(needs: Needs, topic: Topic) -> tuple[Endpoint, ...]:
    return topic.subscriptions if needs is Needs.SUBSCRIBER else topic.publishers


def _deaf(use: Use, topic: Topic) -> Iterator[tuple[Endpoint, str]]:
    """Yield who could not be spoken with, with the QoS that the tools would take, and why."""
    ends = [end for end in _side(use.needs, topic) if end.type == use.type]
    profiles = [end.qos for end in ends]
    for end in ends:
        if use.needs is Needs.SUBSCRIBER:
            pair = publishing_to(profiles), end.qos
        else:
            pair = end.qos, subscribing_to(profiles)
        verdict, reason = qos_check_compatible(*map(_spelled_out, pair))
        if verdict == QoSCompatibility.ERROR:
            yield end, reason.strip()


def _spelled_out(qos: QoSProfile) -> QoSProfile:
    """Return a profile without defaults, which can't be compared with what is discovered."""
    unset = Duration()
    lease = qos.liveliness_lease_duration
    manual = qos.liveliness == LivelinessPolicy.MANUAL_BY_TOPIC
    return QoSProfile(
        depth=1,
        reliability=qos.reliability,
        durability=qos.durability,
        deadline=Infinite if qos.deadline == unset else qos.deadline,
        liveliness=qos.liveliness if manual else LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Infinite if lease == unset else lease,
    )


def _nearest(name: str, type_name: str, offers: Mapping[str, Sequence[str]]) -> str:
    """Return the name that is most like this one, of the right type if there is any."""
    of_type = [offer for offer, types in offers.items() if type_name in types and offer != name]
    others = [offer for offer in offers if offer != name]
    near = get_close_matches(name, of_type, 1, ALIKE_OF_TYPE) or _same_end(name, of_type)
    return (near or get_close_matches(name, others, 1, ALIKE) or [''])[0]


def _same_end(name: str, offers: Sequence[str]) -> list[str]:
    return [offer for offer in offers if offer.rsplit('/', 1)[1] == name.rsplit('/', 1)[1]]
