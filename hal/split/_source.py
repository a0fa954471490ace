"""A model as something to cut: its nodes with names of their own, and models of some of them.

Models are written at the level of the wire format: a node, tensor or function is copied as it
stands, whatever it holds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping

from hal.errors import UnsupportedError
from hal.graph import Function, Graph, ModelGraph, Node, read_model
from hal.graph import _wire as wire
from hal.graph._decode import default_domain
from hal.kernels._graphs import live, subgraphs
from hal.model import Model

__all__ = ["Source"]

_OPSET, _GRAPH, _FUNCTION = 8, 7, 25  # field numbers in ModelProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _INFO, _SPARSE = 1, 5, 11, 12, 13, 15  # in GraphProto
_NAME_OF_NODE = 3
_INFERABLE = 1 << 30
"""Bytes of a model whose types onnx is asked for."""

Raw = memoryview


class Source:
    """A checked model, with every node of its main graph named. `nodes` are those that the outputs
    need, in topological order; `dead` names the others."""

    def __init__(self, model: Model, graph: ModelGraph | None = None) -> None:
        self.model, self.graph = _named(model, graph or read_model(model))
        main = self.graph.graph
        self.outputs = tuple(dict.fromkeys(info.name for info in main.outputs))
        self.nodes: tuple[Node, ...] = tuple(n for n, _ in live(main.nodes, self.outputs))
        names = {node.name for node in self.nodes}
        self.dead = tuple(node.name for node in main.nodes if node.name not in names)
        self.reads = [tuple(dict.fromkeys(outer_reads(node))) for node in self.nodes]
        self.giver = {o: i for i, node in enumerate(self.nodes) for o in node.outputs if o}
        self._readers: dict[str, list[int]] = {}
        for index, read in enumerate(self.reads):
            for name in read:
                self._readers.setdefault(name, []).append(index)
        self._given = {info.name for info in main.inputs}
        self._split_fields()

    @property
    def before(self) -> list[tuple[int, ...]]:
        """The nodes that each node reads from."""
        return [
            tuple(dict.fromkeys(self.giver[n] for n in read if n in self.giver))
            for read in self.reads
        ]

    def owners(self, name: str) -> set[int]:
        """The nodes that a name in a backend's report means: one of the main graph, or the one
        around a node of a subgraph or of a function's body."""
        return self._owners.get(name, set()) if name else set()

    def of_operator(self, operator: str) -> set[int]:
        """The nodes that are, or hold, an operator: "Softmax-13", "domain::Name", "domain::"."""
        key = operator.rpartition("-")[0] or operator if operator[-1:].isdigit() else operator
        return {
            index
            for index, node in enumerate(self.nodes)
            if any(inner.operator == key or _all_of(key, inner) for inner in self._within(node))
        }

    def crossing(self, nodes: Iterable[int]) -> tuple[list[str], list[str]]:
        """What a model of these nodes takes from outside (without the initializers that are no
        inputs of the graph), and what it gives: what other nodes or the model's outputs need."""
        inside = set(nodes)
        takes: dict[str, None] = {}
        gives: list[str] = []
        for index in sorted(inside):
            for name in self.reads[index]:
                if self.giver.get(name, -1) not in inside and (
                    name in self.giver or name in self._given
                ):
                    takes[name] = None
            for name in self.nodes[index].outputs:
                read = any(reader not in inside for reader in self._readers.get(name, ()))
                if name and (read or name in self.outputs):
                    gives.append(name)
        return list(takes), gives

    def part(self, nodes: Iterable[int]) -> Model:
        """A model of these nodes alone, with what they need of initializers, functions and operator
        sets. Raises UnsupportedError where the type of a value that it takes is not known."""
        chosen = sorted(set(nodes))
        takes, gives = self.crossing(chosen)
        used = {name for index in chosen for name in self.reads[index]}
        inside = {o for index in chosen for o in self.nodes[index].outputs}
        graph: list[bytes | memoryview] = []
        for index in chosen:
            graph += wire.copied(_NODE, wire.LENGTH, self._raw[self.nodes[index].name])
        graph += wire.copied(2, wire.LENGTH, memoryview(b"part"))
        for field, tensors in ((_INITIALIZER, self._tensors), (_SPARSE, self._sparse)):
            for name, raw in tensors.items():
                if name in used:
                    graph += wire.copied(field, wire.LENGTH, raw)
        for name in takes:
            graph += wire.copied(_INPUT, wire.LENGTH, self._info(name))
        for name in gives:
            known = self._infos.get(name) or self._inferred.get(name)
            untyped = memoryview(wire.field(1, name.encode()))
            graph += wire.copied(_OUTPUT, wire.LENGTH, known or untyped)
        for name, info in self._noted.items():
            if name in inside and name not in gives:
                graph += wire.copied(_INFO, wire.LENGTH, info)
        body = b"".join(graph)
        functions, domains = self._called(chosen)
        whole: list[bytes | memoryview] = []
        for number, kind, value in wire.fields(memoryview(self.model.data)):
            if number == _GRAPH:
                continue
            if number == _OPSET and _domain(wire.message(value)) not in domains:
                continue
            if number == _FUNCTION and _function_key(wire.message(value)) not in functions:
                continue
            whole += wire.copied(number, kind, value)
        whole += wire.copied(_GRAPH, wire.LENGTH, memoryview(body))
        return Model(b"".join(whole), self.model.folder)

    def _info(self, name: str) -> Raw:
        found = self._infos.get(name) or self._inferred.get(name)
        if found is None:
            raise UnsupportedError(
                f"the model cannot be cut at {name!r}: its type is not noted in the file",
                next_step="pip install onnx, which infers types, or note it in value_info",
            )
        return found

    @functools.cached_property
    def _inferred(self) -> Mapping[str, Raw]:
        """The types that the file does not note, where onnx is installed to infer them."""
        if len(self.model.data) > _INFERABLE:
            return {}
        try:
            import onnx
        except ImportError:
            return {}
        try:
            made = onnx.shape_inference.infer_shapes(self.model.data, data_prop=True)
            data = made.SerializeToString() if not isinstance(made, bytes) else made
        except Exception:  # noqa: BLE001 (onnx raises its own, protobuf's and RuntimeError)
            return {}
        return {
            _text(info, 1): info
            for field, _, value in wire.fields(_graph_of(memoryview(data)))
            if field == _INFO and _typed(info := wire.message(value))
        }

    @functools.cached_property
    def _owners(self) -> Mapping[str, set[int]]:
        found: dict[str, set[int]] = {}
        for index, node in enumerate(self.nodes):
            for inner in self._within(node):
                if inner.name:
                    found.setdefault(inner.name, set()).add(index)
        return found

    def _within(
        self, node: Node, seen: frozenset[tuple[str, str, str]] = frozenset()
    ) -> Iterator[Node]:
        """A node, those of its subgraphs, and those of the functions that they call."""
        yield node
        for graph in subgraphs(node):
            for inner in graph.nodes:
                yield from self._within(inner, seen)
        key = node.domain, node.op_type, node.overload
        function = self.graph.functions.get(key)
        if function is not None and key not in seen:
            for inner in function.nodes:
                yield from self._within(inner, seen | {key})

    def _called(self, nodes: Iterable[int]) -> tuple[set[tuple[str, str, str]], set[str]]:
        """The functions that these nodes call, and the domains that they and their bodies use."""
        functions: set[tuple[str, str, str]] = set()
        domains = {""}
        for index in nodes:
            for inner in self._within(self.nodes[index]):
                domains.add(inner.domain)
                key = inner.domain, inner.op_type, inner.overload
                function: Function | None = self.graph.functions.get(key)
                if function is not None:
                    functions.add(key)
                    domains.update(function.opset_import)
        return functions, domains

    def _split_fields(self) -> None:
        self._raw: dict[str, Raw] = {}
        self._tensors: dict[str, Raw] = {}
        self._sparse: dict[str, Raw] = {}
        self._infos: dict[str, Raw] = {}
        self._noted: dict[str, Raw] = {}
        for field, _, value in wire.fields(_graph_of(memoryview(self.model.data))):
            raw = wire.message(value) if not isinstance(value, int) else memoryview(b"")
            if field == _NODE:
                self._raw[_text(raw, _NAME_OF_NODE)] = raw
            elif field == _INITIALIZER:
                self._tensors[_text(raw, 8)] = raw
            elif field == _SPARSE:
                self._sparse[_text(_last(raw, 1), 8)] = raw
            elif field in (_INPUT, _OUTPUT, _INFO) and (_typed(raw) or field == _INPUT):
                name = _text(raw, 1)
                self._infos.setdefault(name, raw)
                if field == _INFO:
                    self._noted[name] = raw


def outer_reads(node: Node) -> Iterator[str]:
    """The values that a node takes from its graph: its inputs, and what its subgraphs capture."""
    yield from filter(None, node.inputs)
    for graph in subgraphs(node):
        yield from _free(graph)


def _free(graph: Graph) -> Iterator[str]:
    own = {info.name for info in graph.inputs} | {*graph.initializers, *graph.sparse_initializers}
    own.update(o for node in graph.nodes for o in node.outputs)
    for node in graph.nodes:
        yield from (name for name in outer_reads(node) if name not in own)
    yield from (info.name for info in graph.outputs if info.name not in own)


def _named(model: Model, graph: ModelGraph) -> tuple[Model, ModelGraph]:
    """The model with a name of its own for every node of the main graph; names that are unique
    stay."""
    nodes = graph.graph.nodes
    if len({node.name for node in nodes} - {""}) == len(nodes):
        return model, graph
    taken = {node.name for node in nodes}
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    body: list[bytes | memoryview] = []
    for field, kind, value in wire.fields(graph.graph.data):
        if field != _NODE:
            body += wire.copied(field, kind, value)
            continue
        raw = wire.message(value)
        name = _text(raw, _NAME_OF_NODE)
        if not name or name in seen:
            operator = _text(raw, 4)
            number = numbers.get(operator, 0)
            while f"{operator}_{number}" in taken:
                number += 1
            numbers[operator] = number + 1
            name = f"{operator}_{number}"
            taken.add(name)
            # The last of several is the one that counts.
            raw = memoryview(bytes(raw) + wire.field(_NAME_OF_NODE, name.encode()))
        seen.add(name)
        body += wire.copied(_NODE, wire.LENGTH, raw)
    whole: list[bytes | memoryview] = []
    for field, kind, value in wire.fields(memoryview(model.data)):
        if field != _GRAPH:
            whole += wire.copied(field, kind, value)
    whole += wire.copied(_GRAPH, wire.LENGTH, memoryview(b"".join(body)))
    made = Model(b"".join(whole), model.folder, model.external)
    return made, read_model(made)


def _graph_of(view: Raw) -> Raw:
    return _last(view, _GRAPH)


def _last(view: Raw, number: int) -> Raw:
    """The last field of this number: the one that counts."""
    found = memoryview(b"")
    for field, _, value in wire.fields(view):
        if field == number:
            found = wire.message(value)
    return found


def _text(view: Raw, number: int) -> str:
    return wire.text(_last(view, number))


def _typed(info: Raw) -> bool:
    """Whether a ValueInfoProto has a type with something in it."""
    return any(len(wire.message(value)) for _, _, value in wire.fields(_last(info, 2)))


def _domain(opset: Raw) -> str:
    return default_domain(_text(opset, 1))


def _function_key(function: Raw) -> tuple[str, str, str]:
    return default_domain(_text(function, 10)), _text(function, 1), _text(function, 13)


def _all_of(key: str, node: Node) -> bool:
    """Whether a key means a whole domain, the node's."""
    return key.endswith("::") and key[:-2] == node.domain and bool(node.domain)
