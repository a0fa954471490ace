"""One call of an operator, with its data: what a kernel is given."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
from onnx import helper

from hal import MapValue, Model, OptionalValue, SequenceValue, Tensor, Value
from hal.contract import Operator, contract
from hal_conformance.contract.draft import main_constraint
from hal_conformance.contract.protos import tensor_proto, type_proto
from hal_conformance.model_facts import type_string

__all__ = ["Call", "Outputs", "Step", "steps_of"]

Outputs = tuple[Value | None, ...]
"""The results of a call by position, None for an output left out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A node's operator and attributes, its inputs by position, and the types of its outputs."""

    operator: Operator
    opsets: Mapping[str, int]
    ir_version: int
    attributes: Mapping[str, onnx.AttributeProto]
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    """The type string of each output, "" for one that is left out."""
    constants: frozenset[int] = frozenset()
    """Inputs, by position, that are initializers."""
    captured: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """What the node's subgraphs read of the graph around them, by name."""

    def attribute(self, name: str) -> Any:
        """The attribute's value, text as str; its default where the node does not have it."""
        proto = self.attributes.get(name)
        if proto is None:
            known = self.operator.attribute(name)
            return known.default if known else None
        value = helper.get_attribute_value(proto)
        return value.decode() if isinstance(value, bytes) else value

    def setting(self, name: str, value: Any) -> Call:
        """The call with another value of an attribute; None: without it."""
        known = dict(self.attributes)
        known.pop(name, None)
        if value is not None:
            attribute = self.operator.attribute(name)
            kind = getattr(onnx.AttributeProto, attribute.type) if attribute else None
            known[name] = helper.make_attribute(name, value, attr_type=kind)
        return dataclasses.replace(self, attributes=known)

    def place(self, name: str) -> int | None:
        """The position of the formal input of that name; None where the call has none."""
        for i, parameter in enumerate(self.operator.inputs):
            if parameter.name == name:
                return i if i < len(self.inputs) and self.inputs[i] is not None else None
        return None

    def tensor(self, position: int) -> Tensor | None:
        """The input at a position, where it is a tensor."""
        if position >= len(self.inputs):
            return None
        value = self.inputs[position]
        return value if isinstance(value, Tensor) else None

    def tensors(self) -> Iterator[tuple[int, Tensor]]:
        """The inputs that are tensors, with their positions."""
        for i, value in enumerate(self.inputs):
            if isinstance(value, Tensor):
                yield i, value

    def parts(self, positions: Iterable[int] | None = None) -> Iterator[Tensor]:
        """The tensors of all inputs, or of those at these positions; of sequences their items."""
        for i, value in enumerate(self.inputs):
            if positions is None or i in positions:
                if isinstance(value, Tensor):
                    yield value
                elif isinstance(value, SequenceValue):
                    yield from (item for item in value.items if isinstance(item, Tensor))

    def feeding(self, position: int, value: Value | None) -> Call:
        """The call with another input; None: without it."""
        inputs = list(self.inputs)
        inputs[position] = value
        return dataclasses.replace(self, inputs=tuple(inputs))

    @functools.cached_property
    def type(self) -> str:
        """The type that a kernel is written for: that of the operator's data."""
        constraint = main_constraint(self.operator)
        if constraint is None:
            return ""
        types = [v.type if v is not None else None for v in self.inputs]
        bound = self.operator.bind(types, list(self.outputs))
        return next(iter(bound.get(constraint.name, ())), "")

    @property
    def data(self) -> frozenset[int]:
        """The inputs, by position, that are of that type by the operator's signature."""
        constraint = main_constraint(self.operator)
        formal = [self.operator.input(i) for i in range(len(self.inputs))]
        return frozenset(
            i for i, p in enumerate(formal) if p and constraint and p.type == constraint.name
        )

    @functools.cached_property
    def key(self) -> bytes:
        """The same for calls that must have the same results."""
        digest = hashlib.blake2b(digest_size=16)
        head = (self.operator.id, sorted(self.opsets.items()), self.outputs, sorted(self.constants))
        digest.update(repr(head).encode())
        for name in sorted(self.attributes):
            digest.update(self.attributes[name].SerializeToString(deterministic=True))
        for value in (*self.inputs, *(self.captured[n] for n in sorted(self.captured))):
            _feed(digest, value)
        return digest.digest()

    def model(self) -> tuple[Model, dict[str, Value]]:
        """A model of this one node, and what it is fed."""
        named = {
            f"x{i}" if f"x{i}" not in self.captured else f"input{i}": (i, value)
            for i, value in enumerate(self.inputs)
            if value is not None
        }
        positions = {i: name for name, (i, _) in named.items()}
        inputs, initializers, fed = [], [], dict(self.captured)
        for name, (i, value) in named.items():
            if i in self.constants and isinstance(value, Tensor):
                initializers.append(tensor_proto(name, value))
            else:
                fed[name] = value
        for name, value in fed.items():
            shape = value.shape if isinstance(value, Tensor) else None
            inputs.append(helper.make_value_info(name, type_proto(value.type, shape)))
        names = [f"y{i}" if type_ else "" for i, type_ in enumerate(self.outputs)]
        outputs = [
            helper.make_value_info(name, type_proto(type_))
            for name, type_ in zip(names, self.outputs, strict=True)
            if name
        ]
        domain = self.operator.domain if self.operator.domain != "ai.onnx" else ""
        node = helper.make_node(
            self.operator.name,
            [positions.get(i, "") for i in range(len(self.inputs))],
            names,
            name=self.operator.name,
            domain=domain,
        )
        node.attribute.extend(self.attributes[name] for name in sorted(self.attributes))
        model = helper.make_model(
            helper.make_graph([node], "call", inputs, outputs, initializers),
            opset_imports=[helper.make_opsetid(d, v) for d, v in self.opsets.items()],
            ir_version=self.ir_version,
        )
        return Model(model.SerializeToString()), fed


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A node of a model, with the names of its values."""

    operator: Operator
    node: onnx.NodeProto
    types: tuple[str, ...]
    captured: tuple[str, ...]
    opsets: Mapping[str, int]
    ir_version: int

    def call(self, values: Mapping[str, Value], constants: frozenset[str]) -> Call:
        """The call of this node on the values so far."""
        names = list(self.node.input)
        return Call(
            operator=self.operator,
            opsets=self.opsets,
            ir_version=self.ir_version,
            attributes={a.name: a for a in self.node.attribute},
            inputs=tuple(values[name] if name else None for name in names),
            outputs=self.types,
            constants=frozenset(i for i, name in enumerate(names) if name in constants),
            captured={name: values[name] for name in self.captured if name in values},
        )


def steps_of(model: onnx.ModelProto) -> tuple[Step, ...] | None:
    """The nodes of a model in order; None for one that cannot be run node by node: it has
    functions of its own, operators that the contract does not know, or values of unknown types."""
    graph = model.graph
    if model.functions or graph.sparse_initializer:
        return None
    opsets = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
    if len(graph.node) > 1:
        model = onnx.shape_inference.infer_shapes(model)
        graph = model.graph
    types = {v.name: type_string(v.type) for v in (*graph.value_info, *graph.output)}
    steps = []
    for node in graph.node:
        domain = node.domain if node.domain != "ai.onnx" else ""
        operator = contract().resolve(domain, node.op_type, opsets.get(domain, 0))
        outputs = tuple(types.get(name, "") if name else "" for name in node.output)
        known = all(t for t, name in zip(outputs, node.output, strict=True) if name)
        if operator is None or not known:
            return None
        read = tuple(dict.fromkeys(_read_by_subgraphs(node)))
        steps.append(Step(operator, node, outputs, read, opsets, model.ir_version))
    return tuple(steps)


def _read_by_subgraphs(node: onnx.NodeProto) -> Iterator[str]:
    for attribute in node.attribute:
        for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            for inner in graph.node:
                yield from inner.input
                yield from _read_by_subgraphs(inner)
            yield from (output.name for output in graph.output)


def _feed(digest: Any, value: Value | None) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{value.type}{value.shape}".encode() + value.data.tobytes())
    elif isinstance(value, SequenceValue):
        digest.update(f"{value.type}{len(value.items)}".encode())
        for item in value.items:
            _feed(digest, item)
    elif isinstance(value, OptionalValue):
        digest.update(value.type.encode())
        _feed(digest, value.value)
    elif isinstance(value, MapValue):
        digest.update(value.type.encode())
        _feed(digest, value.keys)
        _feed(digest, value.values)
    else:
        digest.update(b"absent")
