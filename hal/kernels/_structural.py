"""The operators that are the base's own over any array type: sequences, optionals, constants.

Control flow is in `_control`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hal.backend import UnsupportedNode
from hal.errors import ModelError
from hal.graph import SparseTensor, TypeInfo
from hal.kernels import _control, _fold
from hal.kernels._arrays import Arrays
from hal.kernels._calls import StructuralCall, emit
from hal.kernels._gradient import gradient
from hal.kernels._program import Value
from hal.tensor import Tensor
from hal.types import ElementType

__all__ = ["STRUCTURAL"]

Outputs = Sequence["Value | None"]


def _constant(call: StructuralCall) -> Outputs:
    given = call.attributes
    if len(given) != 1:
        raise ModelError(f"{call.node.label}: {len(given)} attributes where one gives the value")
    name, value = next(iter(given.items()))
    tensor: Tensor
    if isinstance(value, Tensor):
        tensor = value
    elif isinstance(value, SparseTensor):
        tensor = _fold.dense(value)
    elif name.startswith("value_float"):
        tensor = Tensor.from_numpy(np.array(value, dtype=np.float32))
    elif name.startswith("value_int"):
        tensor = Tensor.from_numpy(np.array(value, dtype=np.int64))
    elif name.startswith("value_string"):
        tensor = Tensor.from_numpy(np.array(value, dtype=object))
    else:
        raise ModelError(f"{call.node.label}: the attribute {name!r} gives no value")
    reason = call.lowering.unsupported_types([tensor.type])
    if reason:
        call.lowering.problems.append(
            UnsupportedNode(call.context.origin_of(call.node), f"Constant-{call.version}", reason)
        )
    return [Value(tensor.type, tensor.shape, tensor)]


def _identity(call: StructuralCall) -> Outputs:
    value = call.inputs[0]
    if value is not None and not value.constant:
        call.lowering.kept.add(call.context.origin_of(call.node))
    return [value]


def _shape(call: StructuralCall) -> Outputs:
    start = call.integer("start", 0)
    end = call.integer("end", None)
    dims = call.lowering.arrays.shape

    def shape(x: Any) -> Any:
        return np.array(dims(x)[start:end], dtype=np.int64)

    known = call.inputs[0].shape if call.inputs[0] is not None else None
    if known is not None and all(isinstance(d, int) for d in known):
        found = np.array(known[start:end], dtype=np.int64)
        return [_literal(found)]
    return emit(call, shape, ["tensor(int64)"], host_result=True)


def _size(call: StructuralCall) -> Outputs:
    dims = call.lowering.arrays.shape
    return emit(
        call,
        lambda x: np.array(math.prod(dims(x)), dtype=np.int64),
        ["tensor(int64)"],
        host_result=True,
    )


def _literal(array: Any) -> Value:
    tensor = Tensor.from_numpy(array)
    return Value(tensor.type, tensor.shape, tensor)


def _type(call: StructuralCall, index: int) -> str:
    value = call.inputs[index] if index < len(call.inputs) else None
    return value.type if value is not None else ""


def _item_type(type_: str) -> str:
    return type_[type_.index("(") + 1 : -1] if type_.startswith(("seq(", "optional(")) else ""


def _seq(type_: str) -> str:
    return f"seq({type_})" if type_ else ""


def _sequence_empty(call: StructuralCall) -> Outputs:
    number = call.integer("dtype", 1)
    try:
        element_type = ElementType(number)
    except ValueError:
        raise ModelError(f"{call.node.label}: element type {number} is unknown") from None
    return [Value(f"seq(tensor({element_type.onnx_name}))", literal=[])]


def _sequence_construct(call: StructuralCall) -> Outputs:
    return emit(call, lambda *items: list(items), [_seq(_type(call, 0))])


def _position(position: Any, length: int, extra: int = 0) -> int:
    index = int(position.item())
    if not -length <= index < length + extra:
        raise IndexError(f"position {index} in a sequence of {length}")
    return index + length if index < 0 else index


def _sequence_at(call: StructuralCall) -> Outputs:
    def sequence_at(items: list[Any], position: Any) -> Any:
        return items[_position(position, len(items))]

    return emit(call, sequence_at, [_item_type(_type(call, 0))], host=(1,))


def _sequence_insert(call: StructuralCall) -> Outputs:
    def sequence_insert(items: list[Any], item: Any, position: Any = None) -> list[Any]:
        at = len(items) if position is None else _position(position, len(items), extra=1)
        return [*items[:at], item, *items[at:]]

    return emit(call, sequence_insert, [_type(call, 0)], host=(2,))


def _sequence_erase(call: StructuralCall) -> Outputs:
    def sequence_erase(items: list[Any], position: Any = None) -> list[Any]:
        at = len(items) - 1 if position is None else _position(position, len(items))
        return [*items[:at], *items[at + 1 :]]

    return emit(call, sequence_erase, [_type(call, 0)], host=(1,))


def _sequence_length(call: StructuralCall) -> Outputs:
    return emit(
        call,
        lambda items: np.array(len(items), dtype=np.int64),
        ["tensor(int64)"],
        host_result=True,
    )


def _concat_from_sequence(call: StructuralCall) -> Outputs:
    axis, arrays = call.integer("axis", 0), call.lowering.arrays
    join = arrays.stack if call.integer("new_axis", 0) else arrays.concat
    return emit(call, lambda items: join(items, axis), [_item_type(_type(call, 0))])


def _split_to_sequence(call: StructuralCall) -> Outputs:
    axis = call.integer("axis", 0)
    keep = bool(call.integer("keepdims", 1))
    arrays: Arrays = call.lowering.arrays

    def split_to_sequence(x: Any, split: Any = None) -> list[Any]:
        shape = arrays.shape(x)
        if not -len(shape) <= axis < len(shape):
            raise IndexError(f"axis {axis} of an array of rank {len(shape)}")
        at = axis % len(shape)
        size = shape[at]
        if split is None:
            if not keep:
                return [arrays.take(x, i, at) for i in range(size)]
            sizes = [1] * size
        elif split.ndim == 0:
            part = int(split)
            if part <= 0:
                raise ValueError(f"a split of {part}")
            sizes = [min(part, size - start) for start in range(0, size, part)]
        else:
            sizes = [int(s) for s in split]
            if sum(sizes) != size or min(sizes, default=0) < 0:
                raise ValueError(f"splits {sizes} of {size}")
        parts, start = [], 0
        for part in sizes:
            parts.append(arrays.slice(x, start, start + part, at))
            start += part
        return parts

    return emit(call, split_to_sequence, [_seq(_type(call, 0))], host=(1,))


def _optional(call: StructuralCall) -> Outputs:
    given = call.attributes.get("type")
    inner = given.type if isinstance(given, TypeInfo) else _type(call, 0)
    type_ = f"optional({inner})"
    if not call.inputs or call.inputs[0] is None:
        return [Value(type_, literal=None)]
    return emit(call, lambda x: x, [type_])


def _optional_get_element(call: StructuralCall) -> Outputs:
    def optional_get_element(x: Any) -> Any:
        if x is None:
            raise ValueError("the optional holds nothing")
        return x

    type_ = _type(call, 0)
    inner = _item_type(type_) if type_.startswith("optional(") else type_
    return emit(call, optional_get_element, [inner])


def _optional_has_element(call: StructuralCall) -> Outputs:
    if not call.inputs or call.inputs[0] is None:
        return [_literal(np.array(False))]
    return emit(call, lambda x: np.array(x is not None), ["tensor(bool)"], host_result=True)


STRUCTURAL: Mapping[tuple[str, str], Callable[[StructuralCall], Outputs]] = {
    ("", "Constant"): _constant,
    ("", "Identity"): _identity,
    ("", "Shape"): _shape,
    ("", "Size"): _size,
    ("", "SequenceEmpty"): _sequence_empty,
    ("", "SequenceConstruct"): _sequence_construct,
    ("", "SequenceAt"): _sequence_at,
    ("", "SequenceInsert"): _sequence_insert,
    ("", "SequenceErase"): _sequence_erase,
    ("", "SequenceLength"): _sequence_length,
    ("", "ConcatFromSequence"): _concat_from_sequence,
    ("", "SplitToSequence"): _split_to_sequence,
    ("", "Optional"): _optional,
    ("", "OptionalGetElement"): _optional_get_element,
    ("", "OptionalHasElement"): _optional_has_element,
    ("", "If"): _control.if_,
    ("", "Loop"): _control.loop,
    ("", "Scan"): _control.scan,
    ("", "SequenceMap"): _control.sequence_map,
    ("ai.onnx.preview.training", "Gradient"): gradient,
}
"""By domain and operator; every version of each."""
