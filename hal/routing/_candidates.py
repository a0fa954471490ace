"""Which candidates there are for a model, and which of them take no part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from hal.backend import Choice
from hal.device import Device
from hal.errors import HalError, UnavailableError
from hal.graph import ModelGraph
from hal.model import Model
from hal.plugins import Registry, State
from hal.routing._candidate import Candidate
from hal.routing._evidence import contradicted
from hal.routing._variants import changes_nothing, impossible
from hal.store import Store

__all__ = ["Entry", "devices_of", "entries_of"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A candidate with what its backend says of it, and why it takes no part ("" if it does)."""

    candidate: Candidate
    precision: str
    speed: float
    seconds: float
    struck: str = ""
    goal: str = ""


def devices_of(
    registry: Registry, named: Sequence[str], *, allow_emulated: bool
) -> tuple[list[Device], dict[str, str]]:
    """The devices that a route is between: those that are named, or every ready one; and why some
    take no part, by id. Raises UnavailableError when nothing is ready, and as
    `Registry.find_device` for a name."""
    if named:
        devices = [registry.find_device(name) for name in named]
    else:
        statuses = registry.probe(keep=True).values()
        devices = [
            device
            for status in statuses
            if status.state is State.READY
            for device in status.devices
            if not device.unavailable
        ]
    if not devices:
        raise UnavailableError("no device is ready", next_step="hal devices")
    struck = {}
    for device in devices:
        if device.emulated and not allow_emulated:
            struck[device.id] = "emulated: takes part with --allow-emulated"
        elif device.remote and device.id not in named:
            struck[device.id] = "on another machine: takes part when it is named"
        elif device.slow and not device.emulated and device.id not in named:
            struck[device.id] = "slow: takes part when it is named"
    return devices, struck


def entries_of(
    registry: Registry,
    devices: Iterable[Device],
    struck: dict[str, str],
    model: Model,
    graph: ModelGraph,
    store: Store,
    *,
    inexact: bool,
    calibrated: bool,
    goal: str,
) -> list[Entry]:
    """Every candidate on these devices. `inexact` admits those that compute in another type,
    `calibrated` those that need inputs of the user's own, `goal` is that of the policy."""
    found: list[Entry] = []
    for device in devices:
        spec = registry.backends[device.backend].spec
        reason = struck.get(device.id) or _refusal(registry, device, model, graph, store)
        choices = [c for c in spec.choices if not c.kinds or device.kind in c.kinds]
        for choice in choices or [Choice()]:
            why = reason
            if not why and choice.precision != "float32" and not inexact:
                what = choice.variant or f"computes in {choice.precision}"
                why = f"{what}: takes part with a budget of error (--accuracy)"
            if not why and choice.goal not in ("", goal):
                why = f"for {choice.goal}: takes part with --policy {choice.goal}"
            if not why and choice.variant:
                why = impossible(choice.variant, calibrated=calibrated) or changes_nothing(
                    choice.variant, graph.graph
                )
            candidate = Candidate(device, dict(choice.options), choice.variant)
            found.append(
                Entry(candidate, choice.precision, choice.speed, choice.seconds, why, choice.goal)
            )
    return found


def _refusal(
    registry: Registry, device: Device, model: Model, graph: ModelGraph, store: Store
) -> str:
    """Why a device cannot run a model: by its own word, or by what conformance found of it."""
    host = registry.host(device.backend)
    try:
        support = host.supports(device, model)
    except HalError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        registry.keep(device.backend, host)
    if support.supported:
        return contradicted(store, device, graph)
    first = support.unsupported[0]
    more = len(support.unsupported) - 1
    what = f"{first.operator}: {first.reason}" if first.operator else first.reason
    return what + (f" (and {more} other nodes)" if more else "")
