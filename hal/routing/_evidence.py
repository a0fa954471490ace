"""What conformance runs found of a device's operators, for routing to strike what cannot work and
to foresee how long the rest takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hal.device import Device
from hal.graph import ModelGraph
from hal.routing._environment import machine
from hal.store import Store

__all__ = ["contradicted", "operator_times", "record_evidence", "record_times"]

Times = tuple[float, float, float]
"""Seconds of a run of one node, and the operations and the bytes that it takes."""


def record_evidence(device: Device, operators: Mapping[str, str]) -> bool:
    """Keep what a conformance run found: for each operator that it tried by itself, "" when a case
    passed, else the reason why none did. Later runs add to earlier ones of the same versions.
    Returns whether it is kept."""
    versions = dict(device.versions)
    with Store() as store:
        known = store.get("evidence", device.id)
        older = known.get("operators") if known and known.get("versions") == versions else None
        merged = {**(older if isinstance(older, dict) else {}), **operators}
        return store.put("evidence", device.id, {"versions": versions, "operators": merged})


def contradicted(store: Store, device: Device, graph: ModelGraph) -> str:
    """Why a model cannot work on a device by what was found of these very versions; "" if nothing
    speaks against it."""
    known = store.get("evidence", device.id)
    if known is None or known.get("versions") != dict(device.versions):
        return ""
    operators = known.get("operators")
    if not isinstance(operators, dict):
        return ""
    for node in graph.graph.nodes:
        if operators.get(node.operator):
            return f"{node.operator}: no case of it passed here ({operators[node.operator]})"
    return ""


def record_times(device: Device, operators: Mapping[str, Sequence[Times]]) -> bool:
    """Keep how long operators took on a device, by key: for each size the seconds of a run of a
    model of one such node, its operations and its bytes. Later runs replace earlier ones operator
    by operator, where the versions and the machine are the same. Returns whether it is kept."""
    facts = {"versions": dict(device.versions), "machine": machine()}
    with Store() as store:
        known = store.get("evidence", _times_key(device)) or {}
        same = all(known.get(name) == value for name, value in facts.items())
        older = known.get("times") if same else None
        merged = {
            **(older if isinstance(older, dict) else {}),
            **{key: [list(one) for one in sizes] for key, sizes in operators.items()},
        }
        document = {**facts, "times": merged}
        return store.put("evidence", _times_key(device), document, group="speed")


def operator_times(
    store: Store, device: Device, here: Mapping[str, str]
) -> dict[str, tuple[Times, ...]]:
    """What `record_times` kept of these very versions on this machine, by operator."""
    known = store.get("evidence", _times_key(device))
    if known is None or known.get("versions") != dict(device.versions):
        return {}
    if known.get("machine") != dict(here):
        return {}
    found: dict[str, tuple[Times, ...]] = {}
    try:
        for key, sizes in known["times"].items():
            found[str(key)] = tuple((float(s), float(o), float(b)) for s, o, b in sizes)
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}  # another version's document
    return found


def _times_key(device: Device) -> str:
    return f"speed|{device.id}"
