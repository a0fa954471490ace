"""A model as a row of nodes, any stretch of which can be cut out as a model of its own."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import onnx

from hal import Model, Tensor, Value
from hal.graph import ModelGraph, read_model
from hal_conformance.contract.protos import tensor_proto, type_proto
from hal_conformance.model_facts import name_nodes

__all__ = ["Parts"]

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike"}
)  # fmt: skip
_INITIALIZERS_ARE_NO_INPUTS = 4
"""The IR version since which that is so."""
_SHAPE_LIKE = 64
"""Elements of a weight that may say a shape; larger ones are not needed to infer shapes."""


class Parts:
    """The nodes of a model's main graph in topological order, each with a name of its own.

    `fed` names the graph inputs that a run is given: any other that has an initializer is a weight.
    Raises ModelError for what is no valid model.
    """

    def __init__(self, model: Model, fed: Collection[str]) -> None:
        read_model(model)  # untrusted: checked whole before protobuf and an engine see it
        proto = onnx.ModelProto.FromString(model.data)
        name_nodes(proto)
        self.model = Model(proto.SerializeToString(), model.folder)
        self.graph: ModelGraph = read_model(self.model)
        by_name = {node.name: node for node in proto.graph.node}
        self.nodes = [by_name[node.name] for node in self.graph.graph.nodes]
        self._proto = proto
        self._constants = {
            node.output[0]: node
            for node in self.nodes
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx")
        }
        main = self.graph.graph
        self.constants = {i for i, n in enumerate(self.nodes) if {*n.output} & {*self._constants}}
        self._held = {*main.initializers, *main.sparse_initializers, *self._constants}
        self._infos = {i.name: i for i in (*proto.graph.input, *proto.graph.value_info)}
        self._fed = frozenset(fed)
        self.outputs = [i.name for i in main.outputs]
        self._reads = [tuple(dict.fromkeys(_reads(node))) for node in self.nodes]
        self._last: dict[str, int] = {}
        for position, names in enumerate(self._reads):
            self._last.update(dict.fromkeys(names, position))
        self._last.update(dict.fromkeys(self.outputs, len(self.nodes)))

    def operators(self, nodes: Iterable[int]) -> tuple[str, ...]:
        """The operators of some nodes, by their keys in the contract."""
        return tuple(self.graph.graph.nodes[i].operator for i in nodes)

    def gives(self, position: int) -> tuple[str, ...]:
        """What a node computes that another node or the user reads."""
        node = self.nodes[position]
        if node.output and node.output[0] in self._constants:
            return ()
        return tuple(o for o in node.output if o and self._last.get(o, -1) > position)

    def inputs(self, nodes: Sequence[int]) -> list[str]:
        """The values that a stretch of nodes reads from before it, weights left out."""
        made = {o for i in nodes for o in self.nodes[i].output}
        read = dict.fromkeys(name for i in nodes for name in self._reads[i])
        return [n for n in read if n not in made and (n not in self._held or n in self._fed)]

    def results(self, nodes: Sequence[int]) -> list[str]:
        """The values that a stretch of nodes gives to whoever comes after it."""
        end = nodes[-1] + 1 if nodes else 0
        return [o for i in nodes for o in self.gives(i) if self._last[o] >= end]

    def needed(self, nodes: Sequence[int], results: Sequence[str]) -> list[int]:
        """Those of a stretch of nodes that `results` depend on."""
        wanted = set(results)
        kept = []
        for i in reversed(nodes):
            if wanted & set(self.nodes[i].output):
                kept.append(i)
                wanted |= set(self._reads[i])
        return kept[::-1]

    def cut(
        self, nodes: Sequence[int], given: Mapping[str, Value], results: Mapping[str, str]
    ) -> Model:
        """Some nodes as a model of their own, their weights inside.

        `given` has a value for each of `inputs(nodes)`, for its type and shape; a dimension that
        the whole model leaves open stays open. `results` names the outputs, with their types.
        """
        model = onnx.ModelProto()
        for field in ("opset_import", "functions"):
            getattr(model, field).extend(getattr(self._proto, field))
        model.ir_version = max(self._proto.ir_version, _INITIALIZERS_ARE_NO_INPUTS)
        graph = model.graph
        graph.name = "cut"
        chosen = [self.nodes[i] for i in nodes]
        made = {o for node in chosen for o in node.output}
        read = dict.fromkeys(name for i in nodes for name in self._reads[i])
        graph.node.extend(
            self._constants[n] for n in read if n in self._constants and n not in made
        )
        graph.node.extend(chosen)
        main = self.graph.graph
        for name in read:
            if name in main.initializers and name not in given:
                graph.initializer.append(tensor_proto(name, main.initializers[name]))
        graph.sparse_initializer.extend(
            s for s in self._proto.graph.sparse_initializer if s.values.name in read
        )
        for number, (name, value) in enumerate(given.items()):
            graph.input.append(self._input(name, value, number))
        for name, type_ in results.items():
            info = graph.output.add()
            info.name = name
            if type_:
                info.type.CopyFrom(type_proto(type_))
        return Model(model.SerializeToString())

    def random(self) -> frozenset[str]:
        """The values that depend on a draw: no two engines draw the same."""
        found: set[str] = set()
        for position, node in enumerate(self.nodes):
            training = node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2])
            if node.op_type in _RANDOM or training or found & set(self._reads[position]):
                found |= set(node.output)
        return frozenset(found)

    def without(self, nodes: Collection[int], types: Mapping[str, onnx.TypeProto]) -> Model | None:
        """The model without some nodes: what they give is an input, what they read an output.
        `types` as of `types()`. None where a type is not known or nothing is left to ask."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        graph = proto.graph
        kept = [i for i in range(len(self.nodes)) if i not in nodes]
        gone = {o for i in nodes for o in self.nodes[i].output if o}
        read = dict.fromkeys(n for i in kept for n in self._reads[i])
        wanted = [n for n in read if n in gone]
        if any(n not in types for n in wanted):
            return None
        graph.ClearField("node")
        graph.node.extend(self.nodes[i] for i in kept)
        graph.input.extend(onnx.ValueInfoProto(name=n, type=types[n]) for n in wanted)
        outputs = {i.name: i for i in graph.output if i.name not in gone}
        made = {o for i in kept for o in self.nodes[i].output}
        for name in dict.fromkeys(n for i in sorted(nodes) for n in self._reads[i] if n in made):
            if name not in outputs and name in types:
                outputs[name] = onnx.ValueInfoProto(name=name, type=types[name])
        graph.ClearField("output")
        graph.output.extend(outputs.values())
        if not outputs or not set(kept) - self.constants:
            return None
        return Model(proto.SerializeToString(), self.model.folder)

    def types(self, inputs: Mapping[str, Value]) -> dict[str, onnx.TypeProto]:
        """The types of values as far as ONNX's shape inference knows them for these inputs.
        Weights that lie outside the file are not looked at."""
        proto = onnx.ModelProto(ir_version=self._proto.ir_version)
        proto.opset_import.extend(self._proto.opset_import)
        proto.functions.extend(self._proto.functions)
        graph, main = proto.graph, self._proto.graph
        graph.name = main.name
        for field in ("node", "input", "output", "value_info"):
            getattr(graph, field).extend(getattr(main, field))
        for tensor in main.initializer:
            if math.prod(tensor.dims) <= _SHAPE_LIKE:
                graph.initializer.append(tensor)
            else:
                graph.initializer.add(
                    name=tensor.name, data_type=tensor.data_type, dims=tensor.dims
                )
        for info in graph.input:
            value = inputs.get(info.name)
            if isinstance(value, Tensor):
                info.type.CopyFrom(type_proto(value.type, value.shape))
        try:
            inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        except Exception:  # noqa: BLE001 (any of several: types are then not known)
            return {}
        infos = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
        return {i.name: i.type for i in infos if i.type.WhichOneof("value")}

    def sizes(self, inputs: Mapping[str, Value]) -> dict[str, int]:
        """Bytes of the values in the middle, where their types are known."""
        found = {}
        for name, type_ in self.types(inputs).items():
            tensor = type_.tensor_type
            if tensor.elem_type and tensor.HasField("shape"):
                dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
                if min(dims, default=0) >= 0:
                    found[name] = 8 * math.prod(dims)  # at most: few types are wider
        return found

    def alike(self, position: int, types: Mapping[str, onnx.TypeProto]) -> object:
        """What two nodes have in common that a device takes or refuses together: the operator, its
        attributes, and the type and rank of what it reads; None where a type is not known."""
        node = self.nodes[position]
        read = []
        for name in node.input:
            tensor = self.graph.graph.initializers.get(name)
            if tensor is not None:
                read.append((tensor.type, len(tensor.shape)))
            elif name in types and types[name].HasField("tensor_type"):
                own = types[name].tensor_type
                read.append((str(own.elem_type), len(own.shape.dim)))
            elif name:
                return None
            else:
                read.append(("", 0))
        attributes = sorted(a.SerializeToString() for a in node.attribute)
        return (node.domain, node.op_type, tuple(read), tuple(attributes))

    def _input(self, name: str, value: Value, number: int) -> onnx.ValueInfoProto:
        info = onnx.ValueInfoProto(name=name)
        if not isinstance(value, Tensor):
            info.type.CopyFrom(type_proto(value.type))
            return info
        known = self._infos.get(name)
        dims: list[int | str | None] = list(value.shape)
        if self._open:
            stated = known.type.tensor_type.shape.dim if known else ()
            if len(stated) == len(dims):
                dims = [d.dim_value if d.HasField("dim_value") else f"d{number}_{axis}"
                        for axis, d in enumerate(stated)]  # fmt: skip
            else:
                dims = [f"d{number}_{axis}" for axis in range(len(dims))]
        info.type.CopyFrom(type_proto(value.type, dims))
        return info

    @property
    def _open(self) -> bool:
        """Whether the model leaves a dimension of its inputs open."""
        held = self.graph.graph.initializers
        return any(
            info.shape is None or not all(isinstance(d, int) for d in info.shape)
            for info in self.graph.graph.inputs
            if info.name not in held
        )


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads of the graph around it, the nodes of its subgraphs too."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            inner = {i.name for i in graph.input} | {t.name for t in graph.initializer}
            inner |= {o for n in graph.node for o in n.output}
            for one in graph.node:
                yield from (name for name in _reads(one) if name not in inner)
            yield from (o.name for o in graph.output if o.name not in inner)
