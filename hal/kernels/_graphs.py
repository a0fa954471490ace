"""Questions about graphs of `hal.graph`: names, nested graphs, which nodes are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hal.graph import AttributeValue, Graph, Node, Reference

__all__ = ["live", "node_name", "node_names", "resolved", "subgraphs"]


def node_name(node: Node) -> str:
    """A node's name in a placement: its own, else that of its first output."""
    return node.name or next((o for o in node.outputs if o), "")


def node_names(graph: Graph) -> Iterator[str]:
    """The name in placements of every node of a graph, nested graphs included."""
    for node in graph.nodes:
        yield node_name(node)
        for inner in subgraphs(node):
            yield from node_names(inner)


def subgraphs(node: Node) -> Iterator[Graph]:
    """The graphs in a node's attributes."""
    for value in node.attributes.values():
        if isinstance(value, Graph):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                if isinstance(item, Graph):
                    yield item


def reads(node: Node) -> Iterator[str]:
    yield from node.inputs
    for graph in subgraphs(node):
        yield from (o.name for o in graph.outputs)
        for inner in graph.nodes:
            yield from reads(inner)


def live(nodes: Sequence[Node], outputs: Sequence[str]) -> list[tuple[Node, tuple[bool, ...]]]:
    """The nodes that the outputs need, in order, with which of their outputs are used."""
    needed = set(outputs)
    live: list[tuple[Node, tuple[bool, ...]]] = []
    for node in reversed(nodes):
        used = tuple(bool(o) and o in needed for o in node.outputs)
        if any(used):
            needed.update(reads(node))
            live.append((node, used))
    return live[::-1]


def resolved(
    attributes: Mapping[str, AttributeValue], known: Mapping[str, AttributeValue]
) -> Iterator[tuple[str, AttributeValue]]:
    for name, value in attributes.items():
        if isinstance(value, Reference):
            if value.name in known:
                yield name, known[value.name]
        else:
            yield name, value
