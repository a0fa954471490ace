"""One-node models, written with onnx's helpers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Union

import numpy as np
import onnx
import onnx.parser
from onnx import helper

from hal import ElementType, OptionalValue, SequenceValue, Tensor, Value
from hal.contract import CONTRIBUTED_DOMAIN, DEFAULT_DOMAIN, Operator, contract
from hal_conformance.contract.draft import Draft
from hal_conformance.contract.numbers import narrow, widen, widened_type

__all__ = ["Dim", "composed_model", "model_of", "tensor_proto", "type_proto", "widened_value"]

Dim = Union[int, str, None]

_CONTRIBUTED_OPSET = 17
"""What models with operators of com.microsoft import of ai.onnx, unless a type needs a newer IR."""


def model_of(
    operator: Operator,
    draft: Draft,
    output_dims: Sequence[Sequence[Dim] | None],
    *,
    widened: bool = False,
) -> onnx.ModelProto:
    """The model of a draft: at the lowest opset and IR version that admit it.

    `output_dims` are those of each tensor output, None for an unknown rank. `widened`: with real
    numbers as double, complex ones as complex128, and initializers as inputs, for the reference.
    """
    first = draft.runs[0].inputs
    names = ["" if value is None else f"x{i}" for i, value in enumerate(first)]
    inputs, initializers = [], []
    for i, value in enumerate(first):
        if value is None:
            continue
        if i in draft.constants and not widened and isinstance(value, Tensor):
            initializers.append(tensor_proto(names[i], value))
            continue
        type_ = widened_value(value).type if widened else value.type
        inputs.append(helper.make_value_info(names[i], type_proto(type_, _input_dims(draft, i))))
    given = ["" if not type_ else f"y{i}" for i, type_ in enumerate(draft.outputs)]
    outputs = []
    for name, type_, dims in zip(given, draft.outputs, output_dims, strict=True):
        if name:
            shown = _widened_string(type_) if widened else type_
            outputs.append(helper.make_value_info(name, type_proto(shown, dims)))
    domain = "" if operator.domain == DEFAULT_DOMAIN else operator.domain
    passed = names[: len(names) - draft.captured]
    node = helper.make_node(operator.name, passed, given, name=operator.name, domain=domain)
    node.attribute.extend(
        _attribute(operator, name, value) for name, value in sorted(draft.attributes.items())
    )
    nodes = [node]
    if draft.twice and not widened:
        second = onnx.NodeProto()
        second.CopyFrom(node)
        second.name = f"{operator.name}_2"
        del second.output[:]
        second.output.extend(name.replace("y", "z") for name in given)
        nodes.append(second)
        for output in list(outputs):
            copy = onnx.ValueInfoProto()
            copy.CopyFrom(output)
            copy.name = output.name.replace("y", "z")
            outputs.append(copy)
    graph = helper.make_graph(nodes, "case", inputs, outputs, initializers)
    opsets = {domain: max(draft.opset, operator.since_version) if not domain else 0}
    if domain:
        opsets = {domain: operator.since_version, "": draft.opset or _companion(operator)}
    if domain == CONTRIBUTED_DOMAIN:
        opsets[""] = draft.opset or _CONTRIBUTED_OPSET
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(d, v) for d, v in opsets.items()],
        ir_version=contract().ir_version(opsets),
        producer_name="hal",
    )
    return model


def composed_model(draft: Draft, *, widened: bool) -> onnx.ModelProto:
    """The model of a draft's composition, for the reference evaluator, at the newest opset."""
    body = f"composed (float x) => (float y) {{ {draft.composition} }}"
    graph = onnx.parser.parse_graph(body)
    values = [(f"x{i}", v) for i, v in enumerate(draft.runs[0].inputs) if v is not None]
    given = [(f"y{i}", t) for i, t in enumerate(draft.outputs) if t]
    del graph.input[:], graph.output[:]
    for name, value in values:
        type_ = widened_value(value).type if widened else value.type
        graph.input.append(helper.make_value_info(name, type_proto(type_)))
    for name, type_ in given:
        shown = _widened_string(type_) if widened else type_
        graph.output.append(helper.make_value_info(name, type_proto(shown)))
    newest = contract().newest_opset()
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", newest)])


def type_proto(type_: str, dims: Sequence[Dim] | None = None) -> onnx.TypeProto:
    """The TypeProto of a type string; `dims` are those of a tensor."""
    kind, _, rest = type_.partition("(")
    inner = rest[:-1]
    if kind == "tensor":
        return helper.make_tensor_type_proto(int(ElementType.from_onnx_name(inner)), dims)
    if kind == "seq":
        return helper.make_sequence_type_proto(type_proto(inner))
    if kind == "optional":
        return helper.make_optional_type_proto(type_proto(inner))
    key, _, value = inner.partition(",")
    return helper.make_map_type_proto(
        int(ElementType.from_onnx_name(key)), type_proto(value.strip(), ())
    )


def tensor_proto(name: str, tensor: Tensor) -> onnx.TensorProto:
    """A TensorProto of a tensor's bytes."""
    proto = onnx.TensorProto(name=name, data_type=int(tensor.element_type), dims=tensor.shape)
    if tensor.element_type is ElementType.STRING:
        proto.string_data.extend(s.encode() for s in tensor.bits().ravel().tolist())
    else:
        proto.raw_data = tensor.data.tobytes()
    return proto


def widened_value(value: Value) -> Value:
    """The value with every tensor in the type in which the reference computes."""
    if isinstance(value, Tensor):
        wide = widened_type(value.element_type)
        return value if wide is value.element_type else narrow(widen(value), wide)
    type_ = _widened_string(value.type)
    if isinstance(value, SequenceValue):
        return SequenceValue(type_, tuple(widened_value(v) for v in value.items))
    if isinstance(value, OptionalValue):
        return OptionalValue(type_, None if value.value is None else widened_value(value.value))
    return value


def _widened_string(type_: str) -> str:
    kind, _, rest = type_.partition("(")
    if kind == "map":
        return type_
    if kind == "tensor":
        return f"tensor({widened_type(ElementType.from_onnx_name(rest[:-1])).onnx_name})"
    return f"{kind}({_widened_string(rest[:-1])})"


def _input_dims(draft: Draft, position: int) -> list[Dim] | None:
    shapes = [
        value.shape for run in draft.runs if isinstance(value := run.inputs[position], Tensor)
    ]
    return symbolic(shapes, f"x{position}", always=draft.dynamic) if shapes else None


def symbolic(shapes: Sequence[tuple[int, ...]], name: str, *, always: bool) -> list[Dim] | None:
    """Dimensions of a value that has each of these shapes; None where the ranks differ."""
    if len({len(shape) for shape in shapes}) != 1:
        return None
    return [
        extents[0] if len(set(extents)) == 1 and not always else f"{name}_{axis}"
        for axis, extents in enumerate(zip(*shapes, strict=True))
    ]


def _attribute(operator: Operator, name: str, value: Any) -> onnx.AttributeProto:
    known = operator.attribute(name)
    kind = getattr(onnx.AttributeProto, known.type) if known is not None else None
    if isinstance(value, Tensor):
        value = tensor_proto(name, value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return helper.make_attribute(name, value, attr_type=kind)


def _companion(operator: Operator) -> int:
    """The newest opset of ai.onnx that asks for no newer IR than the operator's own domain does."""
    table = contract()
    ir = table.ir_version({operator.domain: operator.since_version})
    opsets: Iterator[int] = iter(range(table.newest_opset(), 0, -1))
    return next(o for o in opsets if table.ir_version({"": o}) <= ir)
