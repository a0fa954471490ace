"""Checks of a decoded model: names given once, uses defined, no cycle; sorts the nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from hal.errors import ModelError
from hal.graph.ir import AttributeValue, Function, Graph, ModelGraph, Node

__all__ = ["checked"]


def checked(model: ModelGraph) -> ModelGraph:
    """The model with the nodes of every graph and function in topological order.

    Raises ModelError for a name that is given twice, a reference to nothing, or a cycle.
    """
    graph, free = _graph(model.graph)
    for name, reader in free.items():
        raise ModelError(f"{reader} reads {name!r}, which nothing gives")
    functions = {key: _function(function) for key, function in model.functions.items()}
    return dataclasses.replace(model, graph=graph, functions=functions)


def _function(function: Function) -> Function:
    what = f"function {function.domain}::{function.name}"
    given = _unique(what, function.inputs)
    nodes, free = _sorted(what, function.nodes, given)
    free.update({o: what for o in function.outputs if o and o not in given})
    for name, reader in free.items():
        raise ModelError(f"{reader} reads {name!r}, which nothing gives")
    return dataclasses.replace(function, nodes=nodes)


def _graph(graph: Graph) -> tuple[Graph, dict[str, str]]:
    what = f"graph {graph.name!r}"
    given = _unique(what, [v.name for v in graph.inputs])
    _unique(what, [v.name for v in graph.outputs if v.name], allow_repeats=True)
    for name in (*graph.initializers, *graph.sparse_initializers):
        if name in graph.initializers and name in graph.sparse_initializers:
            raise ModelError(f"{what}: initializer {name!r} appears twice")
        given[name] = None
    nodes, free = _sorted(what, graph.nodes, given)
    for output in graph.outputs:
        if not output.name:
            raise ModelError(f"{what}: an output has no name")
        if output.name not in given:
            free.setdefault(output.name, f"the output of {what}")
    return dataclasses.replace(graph, nodes=nodes), free


def _unique(what: str, names: Iterable[str], allow_repeats: bool = False) -> dict[str, None]:
    found: dict[str, None] = {}
    for name in names:
        if not name:
            raise ModelError(f"{what}: an input has no name")
        if name in found and not allow_repeats:
            raise ModelError(f"{what}: the name {name!r} is given twice")
        found[name] = None
    return found


def _sorted(
    what: str, nodes: tuple[Node, ...], given: dict[str, None]
) -> tuple[tuple[Node, ...], dict[str, str]]:
    """The nodes in order, and the names they read from outside with who reads them; what the
    nodes give is added to `given`."""
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.outputs:
            if not name:
                continue
            if name in producer or name in given:
                raise ModelError(f"{node.label} gives {name!r}, which is given already")
            producer[name] = index
    free: dict[str, str] = {}
    rebuilt: list[Node] = []
    needs: list[set[int]] = []
    for node in nodes:
        node, captured = _with_sorted_subgraphs(node)
        rebuilt.append(node)
        before: set[int] = set()
        for name in (*node.inputs, *captured):
            if name in producer:
                before.add(producer[name])
            elif name and name not in given:
                free.setdefault(name, captured.get(name, node.label))
        needs.append(before)
    given.update(dict.fromkeys(producer))
    order = _order(what, rebuilt, needs)
    return tuple(rebuilt[i] for i in order), free


def _order(what: str, nodes: list[Node], needs: list[set[int]]) -> Iterable[int]:
    if all(not before or max(before) < index for index, before in enumerate(needs)):
        return range(len(nodes))
    readers: list[list[int]] = [[] for _ in nodes]
    waiting = [len(before) for before in needs]
    for index, before in enumerate(needs):
        for producer in before:
            readers[producer].append(index)
    ready = [i for i, count in enumerate(waiting) if not count][::-1]
    order: list[int] = []
    while ready:
        index = ready.pop()
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(order) < len(nodes):
        stuck = next(node for i, node in enumerate(nodes) if waiting[i])
        raise ModelError(f"{what}: {stuck.label} depends on its own output (a cycle)")
    return order


def _with_sorted_subgraphs(node: Node) -> tuple[Node, dict[str, str]]:
    captured: dict[str, str] = {}
    changed: dict[str, AttributeValue] = {}
    for key, value in node.attributes.items():
        if isinstance(value, Graph):
            changed[key], free = _graph(value)
            captured.update(free)
        elif isinstance(value, tuple) and value and isinstance(value[0], Graph):
            graphs = []
            for item in value:
                if isinstance(item, Graph):
                    graph, free = _graph(item)
                    graphs.append(graph)
                    captured.update(free)
            changed[key] = tuple(graphs)
    if not changed:
        return node, captured
    attributes: Mapping[str, AttributeValue] = {**node.attributes, **changed}
    return dataclasses.replace(node, attributes=attributes), captured
