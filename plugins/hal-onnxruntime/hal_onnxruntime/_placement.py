"""The runtime's own record of which provider each node was given to, by the model's node names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hal.graph import Graph, Node, read_model
from hal.model import Model
from hal.placement import Evidence, NodePlacement, Placement
from hal_onnxruntime import _compat

__all__ = ["Record", "all_nodes", "assignment", "placed"]

Record = tuple[str, str, str]
"""A node that the runtime assigned: its name, its operator, the provider."""


def assignment(session: Any) -> tuple[Record, ...]:
    """What a session has recorded; empty for an onnxruntime that keeps no record (before 1.24)."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return ()
    return tuple(
        (node.name, node.op_type, part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    )


def placed(
    model: Model, records: Iterable[Record], device: str, devices: Mapping[str, str]
) -> Placement:
    """The placement of a model that runs on `device`. `devices` gives a device id by provider.

    A node under its own name is where the record says. A record under another name is a body that
    was inlined or a node that an optimizer made: it stands for the node that its name tells of, the
    calls of the function in its name or, where it tells of none, for every node without a record;
    if such records differ, the one that is not on `device` counts. Nodes that nothing stands for
    were folded. With no record at all the model was folded whole, and the evidence is SOLE: nothing
    else was there to run it.
    """
    graph = read_model(model)
    nodes = (*all_nodes(graph.graph), *(n for f in graph.functions.values() for n in f.nodes))
    own: dict[str, str] = {}
    foreign: list[tuple[str, str]] = []
    known = {node.name for node in nodes}
    for name, operator, provider in records:
        place = devices.get(provider, provider)
        origin = name if name in known else _compat.origin(name, known)
        if origin:
            own[origin] = _worse(own.get(origin, ""), place, device)
        if name not in known:
            foreign.append((name or operator, place))
    evidence = Evidence.ASSIGNED if own or foreign else Evidence.SOLE
    found = []
    used = {name for name, _ in foreign if _compat.origin(name, known)}
    for node in nodes:
        place = own.get(node.name, "")
        if not place and node.op_type != "Constant":
            for name, other in foreign:
                if _stands_for(name, node, known):
                    place = _worse(place, other, device)
                    used.add(name)
        found.append(NodePlacement(node.name, place, evidence))
    # What the runtime added by itself and runs elsewhere is a fallback too.
    found += [
        NodePlacement(f"{name} (added by onnxruntime)", place, evidence)
        for name, place in dict.fromkeys(foreign)
        if name not in used and place != device
    ]
    return Placement(tuple(found))


def all_nodes(graph: Graph) -> Iterator[Node]:
    """Every node of a graph and of the subgraphs in it."""
    for node in graph.nodes:
        yield node
        for value in node.attributes.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Graph):
                    yield from all_nodes(inner)


def _stands_for(name: str, node: Node, known: set[str]) -> bool:
    inlined = _compat.inlined_function(name)
    if inlined:
        return inlined == node.op_type or inlined.startswith(f"{node.op_type}_")
    return not _compat.origin(name, known)


def _worse(place: str, other: str, device: str) -> str:
    return other if place in ("", device) else place
