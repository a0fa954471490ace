"""The plan of a split: the parts of a model, each with its device, and what they hand over."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hal.backend import Choice, Support
from hal.device import Device
from hal.errors import HalError, UnsupportedError
from hal.model import Model
from hal.plugins import Registry, load_plugins
from hal.routing._candidate import Candidate
from hal.routing._candidates import devices_of
from hal.routing._cost import NodeCosts
from hal.split._capability import Capability, capability
from hal.split._partition import Problem, partition
from hal.split._source import Source

__all__ = [
    "NotWhole",
    "Part",
    "Place",
    "Plan",
    "make_plan",
    "plan",
    "refusal",
    "survey",
]

_HANDOVER = 20e-6
"""Seconds that a value costs between two parts, whatever its size."""
_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Place:
    """A device that may run parts: what its compiler is asked, how fast it says it is, and which
    nodes it lacks."""

    candidate: Candidate
    speed: float
    capability: Capability


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A part of a plan. `nodes` names its nodes in topological order, `operators` counts them;
    `takes` and `gives` name the values at its ends. `seconds` is predicted, handing over included;
    `bytes` is what it takes from other parts, 0 where no shape is known."""

    candidate: Candidate
    indices: tuple[int, ...]
    nodes: tuple[str, ...]
    operators: Mapping[str, int]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    seconds: float
    bytes: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del fields["candidate"], fields["indices"]
        device = self.candidate.device.id
        return {"device": device, "options": dict(self.candidate.options), **fields}


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The parts of a model in the order in which they run; one part where a device takes it
    `whole`. `missing` tells, for each device, which nodes it lacks and why; `out` which devices
    take no part."""

    source: Source
    parts: tuple[Part, ...]
    missing: Mapping[str, Mapping[str, str]]
    out: Mapping[str, str]

    @property
    def whole(self) -> bool:
        return len(self.parts) < 2

    @property
    def line(self) -> str:
        """That it was split, in one line."""
        if self.whole:
            return (
                f"not split: {self.parts[0].candidate.label} takes it whole"
                if self.parts
                else ("not split: it has no nodes")
            )
        shares = ", ".join(f"{part.candidate.label} ({_nodes(part.nodes)})" for part in self.parts)
        return f"split into {len(self.parts)} parts, none of the devices taking it whole: {shares}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "parts": [part.document() for part in self.parts],
            "missing": {device: dict(nodes) for device, nodes in self.missing.items()},
            "out": dict(self.out),
        }


class NotWhole(UnsupportedError):
    """No device takes a model whole; the places keep what each has said of it."""

    def __init__(
        self, message: str, places: Sequence[Place], *, nodes: Sequence[str], next_step: str
    ) -> None:
        super().__init__(message, nodes=nodes, next_step=next_step)
        self.places = tuple(places)


def plan(
    model: Any,
    *,
    devices: Sequence[str] = (),
    allow_emulated: bool = False,
    sizes: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Plan:
    """How a model is split over the devices (none named: every ready one), by what their backends
    say of its nodes, in as few parts as possible, and among these by predicted cost.

    Raises ModelError for what is no valid model, UsageError for a device that does not exist,
    UnavailableError when none is ready, and UnsupportedError, with the nodes, when a node runs
    nowhere.
    """
    source = Source(Model.of(model))
    with load_plugins() as registry:
        say("asking the devices")
        found, struck = devices_of(registry, devices, allow_emulated=allow_emulated)
        places = survey(registry, source, [d for d in found if d.id not in struck], say)
        say("planning")
        return make_plan(source, places, sizes or {}, struck)


def survey(
    registry: Registry,
    source: Source,
    devices: Sequence[Device],
    say: Callable[[str], None] = lambda text: None,
) -> list[Place]:
    """What each device says of the model's nodes."""
    found = []
    for device in devices:
        say(f"asking {device.id}")
        host = registry.host(device.backend)
        try:
            asked: Callable[[Model], Support] = functools.partial(host.supports, device)
            capable = capability(source, asked)
        finally:
            registry.keep(device.backend, host)
        choices = registry.registered(device.backend).spec.choices
        usual = next(
            (
                c
                for c in choices
                if c.precision == "float32"
                and not c.variant
                and (not c.kinds or device.kind in c.kinds)
            ),
            Choice(),
        )
        found.append(Place(Candidate(device, dict(usual.options)), usual.speed, capable))
    return found


def make_plan(
    source: Source,
    places: Sequence[Place],
    sizes: Mapping[str, int],
    out: Mapping[str, str] | None = None,
) -> Plan:
    """The plan over these places. Raises UnsupportedError with the nodes that none takes."""
    names = [node.name for node in source.nodes]
    missing = {
        p.candidate.device.id: {names[i]: why for i, why in sorted(p.capability.lacks.items())}
        for p in places
    }
    left = {p.candidate.device.id: p.capability.out for p in places if p.capability.out}
    usable = [p for p in places if not p.capability.out]
    able = [
        frozenset(d for d, p in enumerate(usable) if index not in p.capability.lacks)
        for index in range(len(names))
    ]
    nowhere = [index for index, devices in enumerate(able) if not devices]
    if nowhere:
        raise _nowhere(source, nowhere, usable, {**(out or {}), **left})
    costs = NodeCosts(source.graph, sizes)
    work = [costs.work(node) for node in source.nodes]
    kinds = [p.candidate.device.kind for p in usable]

    @functools.cache
    def cost(node: int, device: int) -> float:
        return work[node].seconds(kinds[device]) / usable[device].speed

    sizes_of = [{o: costs.bytes(o) for o in node.outputs if o} for node in source.nodes]

    @functools.cache
    def transfer(giver: int, reader: int, here: int, there: int) -> float:
        size = sum(sizes_of[giver].get(name, 0.0) for name in source.reads[reader])
        return _HANDOVER + costs.moved(size, kinds[here]) + costs.moved(size, kinds[there])

    segments = partition(Problem(source.before, able, cost, transfer))
    parts = []
    for segment in segments:
        takes, gives = source.crossing(segment.nodes)
        counts: dict[str, int] = {}
        for index in segment.nodes:
            operator = source.nodes[index].operator
            counts[operator] = counts.get(operator, 0) + 1
        handed = sum(costs.bytes(name) for name in takes if name in source.giver)
        given = handed + sum(costs.bytes(name) for name in gives)
        kind = kinds[segment.device]
        seconds = sum(cost(i, segment.device) for i in segment.nodes) + costs.moved(given, kind)
        parts.append(
            Part(
                usable[segment.device].candidate,
                segment.nodes,
                tuple(names[i] for i in segment.nodes),
                dict(sorted(counts.items(), key=lambda item: -item[1])),
                tuple(takes),
                tuple(gives),
                seconds,
                handed,
            )
        )
    return Plan(source, tuple(parts), missing, {**(out or {}), **left})


def refusal(
    registry: Registry,
    model: Model,
    devices: Sequence[Device],
    refused: Mapping[str, HalError],
) -> UnsupportedError | None:
    """The error for a model that none of these devices takes whole: what each lacks, and where that
    would run. `refused` has what compilers said, by device, after their backends had taken it. None
    when no device says which nodes it lacks."""
    source = Source(model)
    places = [
        without(source, place, refused[place.candidate.device.id])
        if place.candidate.device.id in refused
        else place
        for place in survey(registry, source, devices)
    ]
    lacking = [p for p in places if p.capability.lacks and not p.capability.out]
    if not lacking:
        return None
    try:
        found = make_plan(source, places, {})
    except UnsupportedError as error:
        return error
    if found.whole:  # refused for another reason
        return None
    at_fault = sorted({i for p in lacking for i in p.capability.lacks})
    lacks = "; ".join(_lacks(source, place) for place in lacking)
    where = ", then ".join(f"{_nodes(p.nodes)} on {p.candidate.device.id}" for p in found.parts)
    return NotWhole(
        f"no ready device takes this model whole: {lacks}. Split, it would run as {where}",
        places,
        nodes=[source.nodes[i].name for i in at_fault],
        next_step="hal route MODEL --split shows it; hal.load(..., split=True) and hal run --split "
        "run it",
    )


def without(
    source: Source, place: Place, error: HalError, among: Iterable[int] | None = None
) -> Place:
    """The place without the nodes that its compiler has refused: those that it names, or those of
    the operators that it speaks of, or where it speaks of none all of these."""
    given = set(range(len(source.nodes)) if among is None else among)
    fault = given & set().union(*map(source.owners, getattr(error, "nodes", ())))
    if not fault:
        words = set(re.findall(r"\w+", str(error)))
        fault = {i for i in given if source.nodes[i].op_type in words}
    lacks = {**place.capability.lacks, **dict.fromkeys(fault or given, str(error))}
    return dataclasses.replace(place, capability=Capability(lacks, place.capability.out))


def by_reason(nodes: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of nodes by why a device does not take them."""
    found: dict[str, list[str]] = {}
    for name, why in nodes.items():
        found.setdefault(why, []).append(name)
    return found


def _lacks(source: Source, place: Place) -> str:
    lacks = {source.nodes[i].name: why for i, why in sorted(place.capability.lacks.items())}
    reasons = list(by_reason(lacks).items())
    listed = "; ".join(f"{listed_names(names)} ({why})" for why, names in reasons[:_SHOWN])
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return f"{place.candidate.device.id} lacks {listed}{more}"


def listed_names(names: Sequence[str]) -> str:
    """Names for a line, the first few where there are many."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _nowhere(
    source: Source, nodes: Sequence[int], places: Sequence[Place], out: Mapping[str, str]
) -> UnsupportedError:
    listed = []
    for index in nodes[:_SHOWN]:
        reasons = "; ".join(f"{p.candidate.device.id}: {p.capability.lacks[index]}" for p in places)
        listed.append(f"{source.nodes[index].name!r} ({reasons})")
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    others = "; ".join(f"{device}: {why}" for device, why in out.items())
    return UnsupportedError(
        f"no ready device takes {', '.join(listed)}{more}"
        + (f". Without a part: {others}" if others else ""),
        nodes=[source.nodes[i].name for i in nodes],
        next_step="hal devices --all, or a backend that has these operators",
    )


def _nodes(names: Sequence[str]) -> str:
    return f"{len(names)} nodes" if len(names) != 1 else "1 node"
