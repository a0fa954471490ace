"""Where the nodes went, by what the compiled model says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hal.graph import Graph, Node
from hal.placement import Evidence, NodePlacement, Placement

__all__ = ["all_nodes", "layers", "placed"]

_NO_WORK = frozenset({"Input", "Output", "Const", "Reorder", "Convert"})
"""Layers that hold, move or convert values and may come from no node of the model."""


def layers(runtime_model: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The layers that a compiled model executes: type, and the names of the operations in it."""
    found = []
    for operation in runtime_model.get_ops():
        info = operation.get_rt_info()
        kind, names = (_text(info, key) for key in ("layerType", "originalLayersNames"))
        found.append((kind, tuple(name for name in names.split(",") if name)))
    return tuple(found)


def placed(
    graph: Graph, executed: tuple[tuple[str, tuple[str, ...]], ...], device: str
) -> Placement:
    """The placement of a graph on `device`, the only one that its compiled model has.

    OpenVINO calls an operation by the ONNX node's name, or by that of its output. A node is on the
    device when a layer that works names it; if layers with names of the compiler's own making work
    too, they stand for the nodes that no layer names. Others were folded. The nodes of a subgraph
    share the fate of the node that holds it.
    """
    working: set[str] = set()
    constant: set[str] = set()
    for kind, names in executed:
        (constant if kind == "Const" else working).update(names)
    known = {name for node in graph.nodes for name in _names(node)}
    anonymous = any(
        kind not in _NO_WORK and not known.intersection(names) for kind, names in executed
    )
    found: list[NodePlacement] = []
    for node in graph.nodes:
        own = _names(node)
        runs = not working.isdisjoint(own) or (anonymous and constant.isdisjoint(own))
        place = device if runs and node.op_type != "Constant" else ""
        inner = [n for g in _subgraphs(node) for n in all_nodes(g)]
        found += [NodePlacement(n.name, place, Evidence.ASSIGNED) for n in (node, *inner)]
    return Placement(tuple(found))


def all_nodes(graph: Graph) -> Iterator[Node]:
    """Every node of a graph and of the subgraphs in it."""
    for node in graph.nodes:
        yield node
        for inner in _subgraphs(node):
            yield from all_nodes(inner)


def _subgraphs(node: Node) -> Iterator[Graph]:
    for value in node.attributes.values():
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Graph):
                yield inner


def _names(node: Node) -> set[str]:
    return {name for name in (node.name, *node.outputs) if name}


def _text(info: Any, key: str) -> str:
    return str(info[key].value) if key in info else ""
