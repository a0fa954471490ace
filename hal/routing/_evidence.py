"""What conformance runs found of a device's operators, for routing to strike what cannot work."""

from __future__ import annotations

from collections.abc import Mapping

from hal.device import Device
from hal.graph import ModelGraph
from hal.store import Store

__all__ = ["contradicted", "record_evidence"]


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
