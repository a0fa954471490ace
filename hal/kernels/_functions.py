"""Bodies of operators that the standard defines by other operators, from the onnx package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hal.contract import Operator
from hal.graph import Dim, Function, Graph, SparseTensor, TypeInfo, read_function
from hal.tensor import Tensor
from hal.types import ElementType

__all__ = ["NEEDS_ONNX", "schema_function"]

NEEDS_ONNX = "install onnx in this environment to inline its function body"


def schema_function(
    operator: Operator,
    domain: str,
    opset: int,
    attributes: Mapping[str, Any],
    input_types: Sequence[str],
    input_shapes: Sequence[tuple[Dim, ...] | None],
    outputs: Sequence[bool],
) -> Function | str:
    """The function body of an operator for a node, or why there is none.

    `outputs` says which outputs are wanted. The body of the greatest version up to `opset` is
    taken, else the oldest: a body imports its own operator sets, so any means the same.
    """
    if not operator.function:
        return ""
    try:
        import onnx.defs
    except ImportError:
        return NEEDS_ONNX
    try:
        schema = onnx.defs.get_schema(operator.name, operator.since_version, domain)
    except onnx.defs.SchemaError:
        return f"onnx {onnx.__version__} has no {operator.id}, so its function body is not at hand"
    if schema.since_version != operator.since_version:
        return f"onnx {onnx.__version__} has no {operator.id}, so its function body is not at hand"
    version = _greatest(schema.function_opset_versions, opset)
    if version:
        return read_function(schema.get_function_with_opset_version(version))
    version = _greatest(schema.context_dependent_function_opset_versions, opset)
    if not version:
        return ""
    node = onnx.helper.make_node(
        operator.name,
        [f"i{i}" if type_ else "" for i, type_ in enumerate(input_types)],
        [f"o{i}" if wanted else "" for i, wanted in enumerate(outputs)],
        domain=domain,
    )
    for name, value in attributes.items():
        if isinstance(value, (SparseTensor, TypeInfo)):
            return f"its function body depends on the attribute {name!r}"
        kind = schema.attributes[name].type if name in schema.attributes else None
        proto = onnx.helper.make_attribute(name, _plain(value), attr_type=_kind(kind))
        node.attribute.append(proto)
    types = [
        _type_proto(type_, shape).SerializeToString()
        for type_, shape in zip(input_types, input_shapes, strict=True)
    ]
    try:
        data = schema.get_context_dependent_function_with_opset_version(
            version, node.SerializeToString(), types
        )
    except RuntimeError as error:  # how onnx's C++ says that it cannot build this one
        return f"onnx gives no function body for it: {error}"
    return read_function(data) if data else "onnx gives no function body for it without its shapes"


def _greatest(versions: Sequence[int], opset: int) -> int:
    return max((v for v in versions if v <= opset), default=min(versions, default=0))


def _kind(kind: Any) -> int | None:
    return None if kind is None else int(kind.value)


def _plain(value: Any) -> Any:
    """The value as onnx.helper takes it."""
    import onnx

    if isinstance(value, Tensor):
        if value.type == "tensor(string)":
            return onnx.numpy_helper.from_array(value.bits())
        proto = onnx.TensorProto(data_type=int(value.element_type), dims=value.shape)
        proto.raw_data = np.frombuffer(value.data, dtype=np.uint8).tobytes()
        return proto
    if isinstance(value, Graph):
        return onnx.GraphProto.FromString(bytes(value.data))
    return list(value) if isinstance(value, tuple) else value


def _type_proto(type_: str, shape: tuple[Dim, ...] | None) -> Any:
    import onnx

    proto = onnx.TypeProto()
    _fill_type(proto, type_.replace(" ", ""))
    if shape is not None and type_.startswith("tensor("):
        proto.tensor_type.shape.SetInParent()
        for size in shape:
            dim = proto.tensor_type.shape.dim.add()
            if isinstance(size, int):
                dim.dim_value = size
    return proto


def _fill_type(proto: Any, type_: str) -> None:
    head, _, rest = type_.partition("(")
    inner = rest[:-1]
    if head == "tensor":
        proto.tensor_type.elem_type = int(ElementType.from_onnx_name(inner))
    elif head == "seq":
        _fill_type(proto.sequence_type.elem_type, inner)
    elif head == "optional":
        _fill_type(proto.optional_type.elem_type, inner)
