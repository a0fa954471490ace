"""HAL's values to what the evaluator computes with, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from hal import ElementType, MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.errors import ExecutionError, UnfedError

__all__ = ["to_python", "to_value"]


def to_python(value: Value) -> Any:
    """What the evaluator computes with: arrays, lists, dicts, and None for an empty optional."""
    if isinstance(value, Tensor):
        return value.numpy().copy()  # a kernel may write into its input
    if isinstance(value, SequenceValue):
        return [to_python(item) for item in value.items]
    if isinstance(value, OptionalValue):
        return None if value.value is None else to_python(value.value)
    if isinstance(value, MapValue):
        return dict(zip(value.keys.numpy().tolist(), value.values.numpy(), strict=True))
    raise UnfedError(f"the reference evaluator takes no {type(value).__name__}")


def to_value(result: Any, proto: Any, name: str) -> Value:
    """HAL's value of a result. Its kind and dtype are the result's own; the declared type says only
    what Python cannot: the type of an empty sequence, and that something is an optional."""
    declared = proto.WhichOneof("value")
    if declared == "optional_type":
        element = proto.optional_type.elem_type
        result = _unboxed(result, element)
        inner = None if result is None else to_value(result, element, name)
        return OptionalValue(_type_string(proto), inner)
    if isinstance(result, list):
        element = proto.sequence_type.elem_type
        items = tuple(to_value(item, element, name) for item in result)
        if declared == "sequence_type":
            return SequenceValue(_type_string(proto), items)
        return SequenceValue(f"seq({items[0].type})" if items else "seq()", items)
    if isinstance(result, dict):
        keys = _tensor(np.asarray(list(result)), name)
        values = _tensor(np.asarray(list(result.values())), name)
        return MapValue(f"map({keys.element_type.onnx_name},{values.type})", keys, values)
    return _tensor(result, name)


def _unboxed(result: Any, element: Any) -> Any:
    """What an optional holds. The evaluator's Optional puts it in a list of one; Identity, If and
    Loop hand on the bare value."""
    if not isinstance(result, list) or len(result) != 1:
        return result
    bare = element.WhichOneof("value") == "sequence_type" and isinstance(result[0], np.ndarray)
    return result if bare else result[0]


def _tensor(result: Any, name: str) -> Tensor:
    if not isinstance(result, (np.ndarray, np.generic)):
        raise ExecutionError(f"output {name!r} is a {type(result).__name__}, no ONNX value")
    array = np.asarray(result)
    # An object array counts as strings: one of numbers would become their text.
    objects = array.ravel().tolist() if array.dtype.kind == "O" else []
    if stray := [x for x in objects if not isinstance(x, (str, bytes))]:
        raise ExecutionError(f"output {name!r} is an array of {type(stray[0]).__name__} objects")
    try:
        return Tensor.from_numpy(array)
    except TypeError as error:
        raise ExecutionError(f"output {name!r}: {error}") from None


def _type_string(proto: Any) -> str:
    """The ONNX type string of a TypeProto, e.g. "optional(seq(tensor(float)))"."""
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        return f"tensor({ElementType(proto.tensor_type.elem_type).onnx_name})"
    if kind == "map_type":
        key = ElementType(proto.map_type.key_type).onnx_name
        return f"map({key},{_type_string(proto.map_type.value_type)})"
    if kind == "sequence_type":
        return f"seq({_type_string(proto.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({_type_string(proto.optional_type.elem_type)})"
    return "undefined"
